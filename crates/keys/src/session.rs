//! Reads the value of `OP_SESSION`: a path, the file's content, or the content encoded in base64 once or twice.
//!
//! Twice, because the values of a Kubernetes Secret are base64, and people put a value into the manifest that is encoded already,
//! or mistake `stringData` for `data`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::CredentialsError;

/// The longest content in bytes. A credentials file has about 400.
const MAX_LEN: usize = 64 * 1024;
const WHAT: &str = "the credentials file";

/// Padding is optional, since it gets lost in copying. Other characters than the alphabet's are an error, since they show damage.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The JSON that `session` names or holds.
pub(crate) fn resolve(session: &str) -> Result<Zeroizing<String>, CredentialsError> {
    let session = session.trim_start_matches('\u{feff}').trim();
    if session.is_empty() {
        return Err(CredentialsError::Empty);
    }
    if session.len() > MAX_LEN {
        return Err(CredentialsError::TooLong {
            what: "OP_SESSION",
            limit: MAX_LEN,
        });
    }
    if is_json(session) {
        return Ok(Zeroizing::new(session.to_owned()));
    }
    if let Some(path) = as_path(session) {
        return decode(&read(path, WHAT)?)?.ok_or(CredentialsError::NotOurs { what: WHAT });
    }
    decode(session)?.ok_or(CredentialsError::Unrecognized)
}

/// Reads a small text file.
pub(crate) fn read(path: &Path, what: &'static str) -> Result<Zeroizing<String>, CredentialsError> {
    // The buffer has its full size from the start: growing would leave copies of the secrets in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(MAX_LEN + 1));
    let file = File::open(path).map_err(|error| CredentialsError::reading(path, &error))?;
    let read = file.take(MAX_LEN as u64 + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length > MAX_LEN => Err(CredentialsError::TooLong { what, limit: MAX_LEN }),
        Ok(0) => Err(CredentialsError::Truncated { what }),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(CredentialsError::NotJson {
            what,
            line: 1,
            column: 1,
        }),
        Err(error) => Err(CredentialsError::reading(path, &error)),
    }
}

/// `session` as a path, if it is one. Only a path may be shown in a message: anything else could be the content.
pub(crate) fn as_path(session: &str) -> Option<&Path> {
    let path = Path::new(session);
    let looks_like_one = session.starts_with(['/', '.']) && session.len() <= 1024;
    (looks_like_one || (session.len() <= 255 && path.exists())).then_some(path)
}

fn is_json(text: &str) -> bool {
    text.starts_with('{')
}

/// Decodes base64 up to two times. `None` if the result is no JSON object.
fn decode(text: &str) -> Result<Option<Zeroizing<String>>, CredentialsError> {
    let mut text = Zeroizing::new(text.trim_start_matches('\u{feff}').trim().to_owned());
    for _ in 0..2 {
        if is_json(&text) {
            break;
        }
        if !starts_like_encoded_json(&text, 2) {
            return Ok(None);
        }
        let decoded = Zeroizing::new(
            BASE64
                .decode(url_alphabet(&text).as_bytes())
                .map_err(|_| CredentialsError::DamagedBase64)?,
        );
        let decoded = std::str::from_utf8(&decoded).map_err(|_| CredentialsError::DamagedBase64)?;
        text = Zeroizing::new(decoded.trim_start_matches('\u{feff}').trim().to_owned());
    }
    Ok(is_json(&text).then_some(text))
}

/// Whether the first characters decode, in at most `layers` steps, to the start of a JSON object. Only the start is looked at, so
/// that a value with damage further on is reported as damaged base64.
fn starts_like_encoded_json(text: &str, layers: u8) -> bool {
    let in_alphabet = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let start: Zeroizing<String> =
        Zeroizing::new(url_alphabet(text).chars().take(64).take_while(in_alphabet).collect());
    let whole_groups = &start[..start.len() / 4 * 4];
    let Ok(decoded) = BASE64.decode(whole_groups).map(Zeroizing::new) else {
        return false;
    };
    let decoded = Zeroizing::new(String::from_utf8_lossy(&decoded).into_owned());
    let decoded = decoded.trim_start_matches('\u{feff}').trim_start();
    let json = decoded
        .strip_prefix('{')
        .is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with('"'));
    json || (layers > 1 && starts_like_encoded_json(decoded, layers - 1))
}

/// The text in the URL-safe alphabet, without white space: the program `base64` adds line breaks.
fn url_alphabet(text: &str) -> Zeroizing<String> {
    let characters = text.chars().filter(|c| !c.is_ascii_whitespace()).map(|c| match c {
        '+' => '-',
        '/' => '_',
        other => other,
    });
    let mut mapped = Zeroizing::new(String::with_capacity(text.len()));
    mapped.extend(characters);
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    const JSON: &str = "{\"format\": \"sidevault-credentials/1\", \"x\": \"??>>~~\u{fc}\"}";

    #[test]
    fn every_encoding_gives_the_same_json() {
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            let once = engine.encode(format!("\n {JSON}\n"));
            let wrapped: Vec<&str> = once
                .as_bytes()
                .chunks(76)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            let wrapped = wrapped.join("\r\n");
            for session in [
                JSON,
                &once,
                &wrapped,
                &engine.encode(&once),
                &engine.encode(&wrapped),
                &format!(" {once}\n"),
            ] {
                assert_eq!(resolve(session).unwrap().as_str(), JSON);
            }
        }
    }

    #[test]
    fn a_file_may_hold_json_or_base64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        for content in [
            JSON.to_owned(),
            format!("\u{feff}{JSON}\n"),
            STANDARD.encode(JSON) + "\n",
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(resolve(path.to_str().unwrap()).unwrap().as_str(), JSON);
        }
    }

    #[test]
    fn faults_of_a_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let session = path.to_str().unwrap();
        assert!(matches!(resolve(session), Err(CredentialsError::Missing { .. })));
        assert!(matches!(
            resolve(folder.path().to_str().unwrap()),
            Err(CredentialsError::Directory { .. })
        ));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(resolve(session), Err(CredentialsError::Truncated { .. })));
        std::fs::write(&path, "hello").unwrap();
        assert!(matches!(resolve(session), Err(CredentialsError::NotOurs { .. })));
        std::fs::write(&path, [0xFF, 0xFE]).unwrap();
        assert!(matches!(resolve(session), Err(CredentialsError::NotJson { .. })));
        std::fs::write(&path, "x".repeat(MAX_LEN + 1)).unwrap();
        assert!(matches!(resolve(session), Err(CredentialsError::TooLong { .. })));
    }

    #[test]
    fn damaged_content_is_not_quoted() {
        let encoded = STANDARD.encode(JSON);
        let wrong_letter = encoded.replacen(&encoded[40..41], "!", 1);
        let one_short = &encoded[..encoded.len() / 4 * 4 - 3];
        assert!(matches!(resolve(&wrong_letter), Err(CredentialsError::DamagedBase64)));
        assert!(matches!(resolve(one_short), Err(CredentialsError::DamagedBase64)));
        let beheaded = &encoded[2..];
        let error = resolve(beheaded).unwrap_err();
        assert!(matches!(error, CredentialsError::Unrecognized));
        assert!(!error.to_string().contains(&beheaded[..12]));
        assert!(matches!(resolve(" \n"), Err(CredentialsError::Empty)));
    }

    #[test]
    fn a_file_that_may_not_be_read_is_named_with_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, JSON).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        let uid = rustix::process::geteuid();
        // Root can read every file.
        if !uid.is_root() {
            let error = resolve(path.to_str().unwrap()).unwrap_err().to_string();
            let expected = format!(
                "it belongs to uid {0} with mode 0000 and this process runs as uid {0}",
                uid.as_raw()
            );
            assert!(error.contains(&expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_session_is_judged_without_a_panic(session in "[ -~\\n]{0,200}") {
            let _ = resolve(&session);
        }
    }
}
