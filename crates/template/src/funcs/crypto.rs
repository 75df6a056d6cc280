//! sprig's functions for hashes, password hashes and AES, and External Secrets' `rsaDecrypt`.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};

use super::keys::PrivateKey;
use super::{Context, Fault, Func, Ran, Ty, any, f, text, utf8};
use crate::go::pem;
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("sha1sum", &[Ty::Str], |ctx, args| {
        hashed(ctx, args, |bytes| hex(&Sha1::digest(bytes)))
    }),
    f("sha256sum", &[Ty::Str], |ctx, args| {
        hashed(ctx, args, |bytes| hex(&Sha256::digest(bytes)))
    }),
    f("sha512sum", &[Ty::Str], |ctx, args| {
        hashed(ctx, args, |bytes| hex(&Sha512::digest(bytes)))
    }),
    f("adler32sum", &[Ty::Str], |ctx, args| {
        hashed(ctx, args, |bytes| {
            let mut sum = adler2::Adler32::new();
            sum.write_slice(bytes);
            sum.checksum().to_string()
        })
    }),
    f("bcrypt", &[Ty::Str], |ctx, args| {
        let out = bcrypt_hash(ctx, text(args, 0))?;
        ctx.text(out)
    }),
    f("htpasswd", &[Ty::Str, Ty::Str, Ty::HashAlgorithm], htpasswd),
    f(
        "derivePassword",
        &[Ty::Uint32, Ty::Str, Ty::Str, Ty::Str, Ty::Str],
        derive_password,
    ),
    f("encryptAES", &[Ty::Str, Ty::Str], encrypt_aes),
    f("decryptAES", &[Ty::Str, Ty::Str], decrypt_aes),
    f("rsaDecrypt", &[Ty::Str, Ty::Str, Ty::Str, Ty::Str], rsa_decrypt),
];

/// The work of a slow hash. The budget of a rendering allows about ten.
pub(super) const SLOW: u64 = crate::limits::MAX_WORK / 10;

fn hashed(ctx: &mut Context, args: &[Val], hash: fn(&[u8]) -> String) -> Ran {
    ctx.work(1 + text(args, 0).len() as u64 / 64)?;
    ctx.text(hash(text(args, 0)))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn bcrypt_hash(ctx: &mut Context, password: &[u8]) -> Result<String, Fault> {
    ctx.slow(SLOW)?;
    if password.len() > 72 {
        // As in sprig, the result is the error's text.
        return Ok("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned());
    }
    let parts = ::bcrypt::hash_with_result(password, 10).map_err(|_| Fault::from("bcrypt failed"))?;
    Ok(parts.format_for_version(::bcrypt::Version::TwoA))
}

fn htpasswd(ctx: &mut Context, args: &[Val]) -> Ran {
    let (user, password) = (text(args, 0), text(args, 1));
    if user.contains(&b':') {
        return ctx.text([b"invalid username: ", user].concat());
    }
    let hash = if text(args, 2) == b"sha" {
        format!("{{SHA}}{}", STANDARD.encode(Sha1::digest(password)))
    } else {
        bcrypt_hash(ctx, password)?
    };
    ctx.text([user, b":", hash.as_bytes()].concat())
}

/// The Master Password algorithm in the version before 3, as in sprig.
fn derive_password(ctx: &mut Context, args: &[Val]) -> Ran {
    const SCOPE: &[u8] = b"com.lyndir.masterpassword";
    let kind = utf8(args, 1);
    let Some(templates) = password_templates(&kind) else {
        return ctx.text([b"cannot find password template ", text(args, 1)].concat());
    };
    ctx.slow(SLOW * 2)?;
    let counter = match any(args, 0) {
        Val::Uint64(counter) => counter as u32,
        _ => 0,
    };
    let (password, user, site) = (text(args, 2), text(args, 3), text(args, 4));
    let salt = [SCOPE, &(user.len() as u32).to_be_bytes(), user].concat();
    let parameters = ::scrypt::Params::new(15, 8, 2).map_err(|_| Fault::from("scrypt failed"))?;
    let mut key = [0_u8; 64];
    ::scrypt::scrypt(password, &salt, &parameters, &mut key).map_err(|_| Fault::from("scrypt failed"))?;
    let mut mac = hmac::Hmac::<Sha256>::new_from_slice(&key).map_err(|_| Fault::from("HMAC failed"))?;
    mac.update(SCOPE);
    mac.update(&(site.len() as u32).to_be_bytes());
    mac.update(site);
    mac.update(&counter.to_be_bytes());
    let seed = mac.finalize().into_bytes();
    let template = templates[usize::from(seed[0]) % templates.len()];
    let mut out = Vec::with_capacity(template.len());
    for (class, byte) in template.bytes().zip(&seed[1..]) {
        let set = password_characters(class);
        out.push(set[usize::from(*byte) % set.len()]);
    }
    ctx.text(out)
}

fn password_templates(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        "long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        "medium" => &["CvcnoCvc", "CvcCvcno"],
        "short" => &["Cvcn"],
        "basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        "pin" => &["nnnn"],
        _ => return None,
    })
}

fn password_characters(class: u8) -> &'static [u8] {
    match class {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'A' => b"AEIOUBCDFGHJKLMNPQRSTVWXYZ",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

/// The first 32 bytes of the password, filled with zeros.
fn aes_key(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let length = password.len().min(32);
    key[..length].copy_from_slice(&password[..length]);
    key
}

fn encrypt_aes(ctx: &mut Context, args: &[Val]) -> Ran {
    let plain = text(args, 1);
    if plain.is_empty() {
        return Ok(Val::str(""));
    }
    ctx.reserve(plain.len().saturating_mul(2))?;
    let iv: [u8; 16] = rand::random();
    let sealed =
        cbc::Encryptor::<Aes256>::new(&aes_key(text(args, 0)).into(), &iv.into()).encrypt_padded_vec::<Pkcs7>(plain);
    ctx.text(STANDARD.encode([iv.as_slice(), &sealed].concat()))
}

fn decrypt_aes(ctx: &mut Context, args: &[Val]) -> Ran {
    if text(args, 1).is_empty() {
        return Ok(Val::str(""));
    }
    ctx.reserve(text(args, 1).len())?;
    let bytes = crate::go::base64::decode(text(args, 1)).map_err(|_| Fault::from("illegal base64 data"))?;
    let Some((iv, sealed)) = bytes.split_first_chunk::<16>() else {
        return Err("runtime error: slice bounds out of range".into());
    };
    let plain = cbc::Decryptor::<Aes256>::new(&aes_key(text(args, 0)).into(), &(*iv).into())
        .decrypt_padded_vec::<NoPadding>(sealed)
        .map_err(|_| Fault::from("crypto/cipher: input not full blocks"))?;
    // As in sprig, the padding's length is not checked against its bytes.
    let padding = usize::from(*plain.last().ok_or("runtime error: index out of range")?);
    match plain.len().checked_sub(padding) {
        Some(length) => ctx.text(&plain[..length]),
        None => Err("runtime error: slice bounds out of range".into()),
    }
}

fn rsa_decrypt(ctx: &mut Context, args: &[Val]) -> Ran {
    match text(args, 0) {
        b"None" => return Ok(any(args, 2)),
        b"RSA-OAEP" => {}
        _ => return Err("decryption scheme is not supported".into()),
    }
    ctx.slow(SLOW / 4)?;
    let block = pem::decode(text(args, 3)).0.ok_or("failed to decode PEM block")?;
    let Some(PrivateKey::Rsa(key)) = PrivateKey::any(&block.bytes) else {
        return Err("could not parse RSA private key".into());
    };
    let sealed = text(args, 2);
    let mut rng = rand::rng();
    let opened = match text(args, 1) {
        b"SHA1" => key.oaep_decrypt_with_rng::<Sha1, _>(&mut rng, sealed),
        b"SHA512" => key.oaep_decrypt_with_rng::<Sha512, _>(&mut rng, sealed),
        _ => key.oaep_decrypt_with_rng::<Sha256, _>(&mut rng, sealed),
    };
    ctx.text(opened.map_err(|_| Fault::from("error decrypting data with RSA"))?)
}
