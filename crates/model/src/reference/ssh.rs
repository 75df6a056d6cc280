//! Converts private keys in PKCS#8, as they are stored, to OpenSSH's format (openssh-key-v1): Ed25519 and RSA, which are the
//! kinds that 1Password makes.

use curve25519_dalek::EdwardsPoint;
use data_encoding::BASE64;
use sha2::{Digest as _, Sha512};

const PKCS8: (&str, &str) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
const PKCS1: (&str, &str) = ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----");
const OPENSSH: (&str, &str) = (
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "-----END OPENSSH PRIVATE KEY-----",
);

/// 1.3.101.112, RFC 8410.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// 1.2.840.113549.1.1.1, RFC 8017.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The private key in OpenSSH's format, without a passphrase. A key in that format is returned as it is.
///
/// # Errors
/// Why it can't be converted. The text quotes nothing of the key.
pub(super) fn to_openssh(pem: &str) -> Result<String, &'static str> {
    let pem = pem.trim();
    if pem.starts_with(OPENSSH.0) {
        return Ok(format!("{pem}\n"));
    }
    let key = if let Some(der) = decode(pem, PKCS8) {
        pkcs8(&der?).ok_or("it is neither an Ed25519 nor an RSA key")??
    } else if let Some(der) = decode(pem, PKCS1) {
        rsa(&der?).ok_or("it is not a valid RSA key")?
    } else {
        return Err("it is not a private key in PEM (PKCS#8)");
    };
    Ok(encode(&key))
}

/// The public part, and the fields of the private part, each in SSH's encoding (RFC 4253, section 5).
struct Key {
    public: Vec<u8>,
    private: Vec<u8>,
}

fn decode(pem: &str, (begin, end): (&str, &str)) -> Option<Result<Vec<u8>, &'static str>> {
    let base64 = pem.strip_prefix(begin)?.strip_suffix(end)?;
    let base64: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some(BASE64.decode(base64.as_bytes()).map_err(|_| "its base64 is damaged"))
}

/// None: another kind of key, or no valid structure.
fn pkcs8(der: &[u8]) -> Option<Result<Key, &'static str>> {
    let (body, _) = element(der, SEQUENCE)?;
    let (_, rest) = element(body, INTEGER)?;
    let (algorithm, rest) = element(rest, SEQUENCE)?;
    let (oid, _) = element(algorithm, OID)?;
    let (key, _) = element(rest, OCTET_STRING)?;
    match oid {
        ED25519 => {
            let (seed, _) = element(key, OCTET_STRING)?;
            Some(ed25519(seed).ok_or("it is not a valid Ed25519 key"))
        }
        RSA => Some(rsa(key).ok_or("it is not a valid RSA key")),
        _ => None,
    }
}

fn ed25519(seed: &[u8]) -> Option<Key> {
    let seed: [u8; 32] = seed.try_into().ok()?;
    // RFC 8032, section 5.1.5.
    let hash = Sha512::digest(seed);
    let mut scalar = [0; 32];
    scalar.copy_from_slice(&hash[..32]);
    let point = EdwardsPoint::mul_base_clamped(scalar).compress().to_bytes();
    let mut public = string(b"ssh-ed25519");
    public.extend(string(&point));
    let mut private = public.clone();
    private.extend(string(&[seed, point].concat()));
    Some(Key { public, private })
}

/// RFC 8017, appendix A.1.2.
fn rsa(der: &[u8]) -> Option<Key> {
    let (mut rest, _) = element(der, SEQUENCE)?;
    let mut numbers = Vec::new();
    while let Some((number, after)) = element(rest, INTEGER) {
        numbers.push(number);
        rest = after;
    }
    let &[_version, n, e, d, p, q, _dp, _dq, qinv] = &numbers[..] else {
        return None;
    };
    let name = string(b"ssh-rsa");
    let join = |numbers: &[&[u8]]| {
        numbers
            .iter()
            .fold(name.clone(), |text, number| [text, string(number)].concat())
    };
    // An INTEGER in DER has the form of SSH's mpint.
    Some(Key {
        public: join(&[e, n]),
        private: join(&[n, e, d, qinv, p, q]),
    })
}

/// The content of the DER element with this tag at the start of `der`, and the bytes behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first().filter(|_| found == tag)?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    // No key is as large as 4 GiB.
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    [&length.to_be_bytes(), bytes].concat()
}

/// openssh-key-v1, as OpenSSH's PROTOCOL.key describes it, with one key and without encryption.
fn encode(key: &Key) -> String {
    // Two equal numbers by which OpenSSH notices a wrong passphrase. They are no secret.
    let hash = Sha512::digest(&key.public);
    let check = &hash[..4];
    let mut private = [check, check, &key.private, &string(b"")].concat();
    private.extend((1..).take((8 - private.len() % 8) % 8));
    let mut bytes = b"openssh-key-v1\0".to_vec();
    for part in [&b"none"[..], b"none", b""] {
        bytes.extend(string(part));
    }
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(string(&key.public));
    bytes.extend(string(&private));
    let base64 = BASE64.encode(&bytes);
    let lines: Vec<&str> = (0..base64.len())
        .step_by(70)
        .map(|at| &base64[at..base64.len().min(at + 70)])
        .collect();
    format!("{}\n{}\n{}\n", OPENSSH.0, lines.join("\n"), OPENSSH.1)
}
