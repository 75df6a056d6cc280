//! sprig's functions that generate keys and certificates.

use std::rc::Rc;
use std::time::SystemTime;

use ::rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

use super::crypto::SLOW;
use super::keys::PrivateKey;
use super::{Cert, Context, Fault, Func, Ran, Ty, any, f, int, text, utf8};
use crate::go::pem;
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("genPrivateKey", &[Ty::Str], |ctx, args| match text(args, 0) {
        b"" | b"rsa" => {
            ctx.slow(SLOW * 4)?;
            key_pem(ctx, &generate_rsa(4096)?)
        }
        b"ecdsa" => {
            let key = loop {
                // All but one in 2^32 candidates are valid keys.
                if let Ok(key) = p256::SecretKey::from_slice(&rand::random::<[u8; 32]>()) {
                    break key;
                }
                ctx.work(1)?;
            };
            key_pem(ctx, &PrivateKey::P256(key))
        }
        b"ed25519" => key_pem(ctx, &PrivateKey::Ed25519(rand::random())),
        b"dsa" => Err("DSA keys are not supported".into()),
        kind => ctx.text([b"Unknown type ", kind].concat()),
    }),
    f("genCA", &[Ty::Str, Ty::Int], |ctx, args| {
        let key = new_key(ctx)?;
        authority(ctx, args, &key)
    }),
    f("genCAWithKey", &[Ty::Str, Ty::Int, Ty::Str], |ctx, args| {
        let key = PrivateKey::from_pem(text(args, 2))?;
        authority(ctx, args, &key)
    }),
    f(
        "genSelfSignedCert",
        &[Ty::Str, Ty::List, Ty::List, Ty::Int],
        |ctx, args| {
            let key = new_key(ctx)?;
            self_signed(ctx, args, &key)
        },
    ),
    f(
        "genSelfSignedCertWithKey",
        &[Ty::Str, Ty::List, Ty::List, Ty::Int, Ty::Str],
        |ctx, args| {
            let key = PrivateKey::from_pem(text(args, 4))?;
            self_signed(ctx, args, &key)
        },
    ),
    f(
        "genSignedCert",
        &[Ty::Str, Ty::List, Ty::List, Ty::Int, Ty::Cert],
        |ctx, args| {
            let key = new_key(ctx)?;
            signed(ctx, args, &key)
        },
    ),
    f(
        "genSignedCertWithKey",
        &[Ty::Str, Ty::List, Ty::List, Ty::Int, Ty::Cert, Ty::Str],
        |ctx, args| {
            let key = PrivateKey::from_pem(text(args, 5))?;
            signed(ctx, args, &key)
        },
    ),
    f("buildCustomCert", &[Ty::Str, Ty::Str], build_custom),
];

fn key_pem(ctx: &mut Context, key: &PrivateKey) -> Ran {
    ctx.text(key.to_traditional_pem().ok_or("failed to encode the private key")?)
}

fn generate_rsa(bits: usize) -> Result<PrivateKey, Fault> {
    rsa::PrivateKey::new(&mut rand::rng(), bits)
        .map(|key| PrivateKey::Rsa(Box::new(key)))
        .map_err(|_| Fault::from("error generating rsa key"))
}

fn new_key(ctx: &mut Context) -> Result<PrivateKey, Fault> {
    ctx.slow(SLOW)?;
    generate_rsa(2048)
}

/// Converts the key for rcgen. ring does not support P-521.
fn key_pair(key: &PrivateKey) -> Result<KeyPair, Fault> {
    let algorithm = match key {
        PrivateKey::Rsa(_) => &::rcgen::PKCS_RSA_SHA256,
        PrivateKey::P256(_) => &::rcgen::PKCS_ECDSA_P256_SHA256,
        PrivateKey::P384(_) => &::rcgen::PKCS_ECDSA_P384_SHA384,
        PrivateKey::Ed25519(_) => &::rcgen::PKCS_ED25519,
        PrivateKey::P521(_) => return Err("certificates with P-521 keys are not supported".into()),
    };
    let der = key.to_pkcs8().ok_or("failed to encode the private key")?;
    KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), algorithm)
        .map_err(|_| Fault::from("the private key cannot sign"))
}

fn params(ctx: &Context, name: &str, ips: &Val, names: &Val, days: i64) -> Result<CertificateParams, Fault> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let now = SystemTime::try_from(ctx.now).map_err(|_| Fault::from("the time is out of range"))?;
    let length = std::time::Duration::from_secs(days.unsigned_abs().min(3_000_000) * 86_400);
    let end = if days < 0 {
        now.checked_sub(length)
    } else {
        now.checked_add(length)
    };
    params.not_before = now.into();
    params.not_after = end.ok_or("the certificate would be valid for too long")?.into();
    params.serial_number = Some(SerialNumber::from_slice(&rand::random::<[u8; 16]>()));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    // As in Go, a certificate that is no authority says so and has no key identifier.
    params.is_ca = IsCa::NoCa;
    let mut no_authority = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0]);
    no_authority.set_criticality(true);
    params.custom_extensions = vec![no_authority];
    let mut sans = Vec::new();
    for name in strings(names, "error processing alternate dns name: an element is not a string")? {
        let name = name
            .try_into()
            .map_err(|_| Fault::from("an alternate dns name is not ASCII"))?;
        sans.push(SanType::DnsName(name));
    }
    for ip in strings(ips, "error parsing ip: an element is not a string")? {
        sans.push(SanType::IpAddress(
            ip.parse().map_err(|_| Fault::from("error parsing ip"))?,
        ));
    }
    params.subject_alt_names = sans;
    Ok(params)
}

fn strings(list: &Val, error: &'static str) -> Result<Vec<String>, Fault> {
    let Val::List(list) = list else { return Ok(Vec::new()) };
    list.items
        .iter()
        .map(|item| match item {
            Val::Str(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            _ => Err(error.into()),
        })
        .collect()
}

fn made(der: &[u8], key: &PrivateKey) -> Ran {
    Ok(Val::Cert(Rc::new(Cert {
        cert: pem::of("CERTIFICATE", der).into(),
        key: key.to_traditional_pem().ok_or("error pem-encoding key")?.into(),
    })))
}

fn failed(_: ::rcgen::Error) -> Fault {
    "error creating certificate".into()
}

fn authority(ctx: &mut Context, args: &[Val], key: &PrivateKey) -> Ran {
    ctx.slow(SLOW / 10)?;
    let mut params = params(ctx, &utf8(args, 0), &Val::Nil, &Val::Nil, int(args, 1))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.custom_extensions.clear();
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let cert = params.self_signed(&key_pair(key)?).map_err(failed)?;
    made(cert.der(), key)
}

fn self_signed(ctx: &mut Context, args: &[Val], key: &PrivateKey) -> Ran {
    ctx.slow(SLOW / 10)?;
    let params = params(ctx, &utf8(args, 0), &any(args, 1), &any(args, 2), int(args, 3))?;
    let cert = params.self_signed(&key_pair(key)?).map_err(failed)?;
    made(cert.der(), key)
}

fn signed(ctx: &mut Context, args: &[Val], key: &PrivateKey) -> Ran {
    ctx.slow(SLOW / 10)?;
    let Val::Cert(ca) = any(args, 4) else {
        return Err("unable to decode certificate".into());
    };
    let block = pem::decode(&ca.cert).0.ok_or("unable to decode certificate")?;
    let signer = key_pair(&PrivateKey::from_pem(&ca.key)?)?;
    let issuer = Issuer::from_ca_cert_der(&block.bytes.as_slice().into(), signer)
        .map_err(|_| Fault::from("error parsing certificate"))?;
    let mut params = params(ctx, &utf8(args, 0), &any(args, 1), &any(args, 2), int(args, 3))?;
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key_pair(key)?, &issuer).map_err(failed)?;
    made(cert.der(), key)
}

fn build_custom(_: &mut Context, args: &[Val]) -> Ran {
    let decode = |index: usize, error: &'static str| {
        crate::go::base64::decode(text(args, index)).map_err(|_| Fault::from(error))
    };
    let cert = decode(0, "unable to decode base64 certificate")?;
    let key = decode(1, "unable to decode base64 private key")?;
    let block = pem::decode(&cert).0.ok_or("unable to decode certificate")?;
    if !super::pem::is_certificate(&block.bytes) {
        return Err("error parsing certificate".into());
    }
    PrivateKey::from_pem(&key)?;
    Ok(Val::Cert(Rc::new(Cert {
        cert: cert.into(),
        key: key.into(),
    })))
}
