//! External Secrets' functions for PKCS#12 stores.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{Any, OctetString};
use der::{Decode as _, Encode as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use memchr::memmem;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, Pkcs12Archive, PrivateKeyChain,
};
use pkcs12::kdf::{Pkcs12KeyType, derive_key_utf8};
use pkcs12::{AuthenticatedSafe, Pfx};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::crypto::SLOW;
use super::keys::PrivateKey;
use super::{Context, Fault, Func, Ran, Ty, f, text, utf8};
use crate::go::pem;
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("pkcs12key", &[Ty::Str], |ctx, args| key(ctx, "", text(args, 0))),
    f("pkcs12keyPass", &[Ty::Str, Ty::Str], |ctx, args| {
        key(ctx, &utf8(args, 0), text(args, 1))
    }),
    f("pkcs12cert", &[Ty::Str], |ctx, args| {
        certificates(ctx, "", text(args, 0))
    }),
    f("pkcs12certPass", &[Ty::Str, Ty::Str], |ctx, args| {
        certificates(ctx, &utf8(args, 0), text(args, 1))
    }),
    f("pemToPkcs12", &[Ty::Str, Ty::Str], |ctx, args| {
        store(ctx, args, "", false)
    }),
    f("pemToPkcs12Pass", &[Ty::Str, Ty::Str, Ty::Str], |ctx, args| {
        store(ctx, args, &utf8(args, 2), false)
    }),
    f("fullPemToPkcs12", &[Ty::Str, Ty::Str], |ctx, args| {
        store(ctx, args, "", true)
    }),
    f("fullPemToPkcs12Pass", &[Ty::Str, Ty::Str, Ty::Str], |ctx, args| {
        store(ctx, args, &utf8(args, 2), true)
    }),
    f("pemTruststoreToPKCS12", &[Ty::Str], |ctx, args| {
        trust_store(ctx, args, "")
    }),
    f("pemTruststoreToPKCS12Pass", &[Ty::Str, Ty::Str], |ctx, args| {
        trust_store(ctx, args, &utf8(args, 1))
    }),
];

/// Iterations of the key derivation, as in the "modern" stores that External Secrets writes.
const ROUNDS: u32 = 2048;

/// The DER object identifiers of password-based encryption: PBES2, and the arc of PKCS#12's own algorithms.
const SEALED: [&[u8]; 2] = [
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01",
];

/// The object identifier of scrypt, which may need a gigabyte. External Secrets does not support it.
const SCRYPT: &[u8] = b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b";

/// Reads the key and the certificates. The first certificate is that of the key.
fn open(ctx: &mut Context, password: &str, store: &[u8]) -> Result<(PrivateKey, Vec<Vec<u8>>), Fault> {
    if memmem::find(store, SCRYPT).is_some() {
        return Err("pkcs12: a key derivation that is not supported".into());
    }
    // Each part and each key may require a million iterations.
    let sealed: usize = SEALED.iter().map(|id| memmem::find_iter(store, id).count()).sum();
    ctx.slow((SLOW / 4).saturating_mul(1 + sealed as u64))?;
    let archive = Pkcs12Archive::from_pkcs12(store, password).map_err(|_| Fault::from("unable to decode pkcs12"))?;
    let [key] = archive.keys.as_slice() else {
        return Err("pkcs12: expected exactly one private key".into());
    };
    let key = PrivateKey::pkcs8(key.key.as_der()).ok_or("unable to parse private key type")?;
    let certificates: Vec<Vec<u8>> = archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect();
    if certificates.is_empty() {
        return Err("pkcs12: certificate missing".into());
    }
    Ok((key, certificates))
}

fn key(ctx: &mut Context, password: &str, store: &[u8]) -> Ran {
    let (key, _) = open(ctx, password, store)?;
    let der = key.to_pkcs8().ok_or("unable to encode the private key")?;
    ctx.text(pem::of("PRIVATE KEY", &der))
}

fn certificates(ctx: &mut Context, password: &str, store: &[u8]) -> Ran {
    let (_, certificates) = open(ctx, password, store)?;
    ctx.text(super::pem::ordered_pem(&certificates))
}

/// Parses the certificates of `input`. As in External Secrets, other text between or after them is an error.
fn authorities(ctx: &mut Context, input: &[u8]) -> Result<Vec<Certificate>, Fault> {
    let mut rest = input;
    let mut all = Vec::new();
    while !rest.is_empty() {
        ctx.work(1 + rest.len() as u64 / 256)?;
        let (block, after) = pem::decode(rest);
        rest = after;
        all.push(certificate(&block.ok_or("failed to decode PEM block")?.bytes)?);
    }
    Ok(all)
}

fn certificate(der: &[u8]) -> Result<Certificate, Fault> {
    if !super::pem::is_certificate(der) {
        return Err("failed to parse certificate".into());
    }
    Certificate::from_der(der).map_err(|_| Fault::from("failed to parse certificate"))
}

fn store(ctx: &mut Context, args: &[Val], password: &str, full: bool) -> Ran {
    let (leaf, rest) = pem::decode(text(args, 0));
    let leaf = leaf.ok_or("failed to decode PEM block")?;
    let id = Sha1::digest(&leaf.bytes);
    let mut chain = vec![certificate(&leaf.bytes)?];
    if full {
        chain.extend(authorities(ctx, rest)?);
    }
    let key = pem::decode(text(args, 1)).0.ok_or("failed to decode PEM block")?;
    let key = PrivateKey::any(&key.bytes).ok_or("unable to parse private key type")?;
    let der = key.to_pkcs8().ok_or("unable to encode the private key")?;
    let key = p12_keystore::PrivateKey::from_der(&der).map_err(|_| Fault::from("unable to encode the private key"))?;
    let mut store = KeyStore::new();
    let entry = PrivateKeyChain::new(id.as_slice(), key, chain);
    store.add_entry("1", KeyStoreEntry::PrivateKeyChain(entry));
    let sealed = seal(ctx, &store, password)?;
    ctx.text(STANDARD.encode(sealed))
}

fn trust_store(ctx: &mut Context, args: &[Val], password: &str) -> Ran {
    let mut store = KeyStore::new();
    for (i, certificate) in authorities(ctx, text(args, 0))?.into_iter().enumerate() {
        // Aliases must be unique. External Secrets uses the subjects.
        let mut alias = certificate.subject().to_owned();
        if store.entry(&alias).is_some() {
            alias = format!("{alias} ({i})");
        }
        store.add_entry(&alias, KeyStoreEntry::Certificate(certificate));
    }
    let sealed = seal(ctx, &store, password)?;
    let sealed = first_part(&sealed, password).ok_or("unable to encode pkcs12")?;
    ctx.text(STANDARD.encode(sealed))
}

fn seal(ctx: &mut Context, store: &KeyStore, password: &str) -> Result<Vec<u8>, Fault> {
    ctx.slow(SLOW / 4)?;
    store
        .writer(password)
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ROUNDS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(ROUNDS)
        .write()
        .map_err(|_| Fault::from("unable to encode pkcs12"))
}

/// Removes the part for keys, which the library writes even if there are none. Go reads a trust store only if it has
/// certificates and no other part.
fn first_part(sealed: &[u8], password: &str) -> Option<Vec<u8>> {
    let mut pfx = Pfx::from_der(sealed).ok()?;
    let content = pfx.auth_safe.content.decode_as::<OctetString>().ok()?;
    let mut parts = AuthenticatedSafe::from_der(content.as_bytes()).ok()?;
    parts.truncate(1);
    let content = parts.to_der().ok()?;
    let mac = pfx.mac_data.as_mut()?;
    let salt = mac.mac_salt.as_bytes();
    let key = derive_key_utf8::<Sha256>(password, salt, Pkcs12KeyType::Mac, mac.iterations, 32).ok()?;
    let code = Hmac::<Sha256>::new_from_slice(&key).ok()?.chain_update(&content);
    mac.mac.digest = OctetString::new(code.finalize().into_bytes().as_slice()).ok()?;
    pfx.auth_safe.content = Any::encode_from(&OctetString::new(content).ok()?).ok()?;
    pfx.to_der().ok()
}
