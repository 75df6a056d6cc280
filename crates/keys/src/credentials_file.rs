//! The format of `1password-credentials.json`, and how it is told from files that people mistake for it.
//!
//! ```json
//! {"format":"sidevault-credentials/1","deviceUuid":"…","root":"…","idKey":"…","verifiers":[{"kid":"…","x":"…","y":"…"}]}
//! ```
//!
//! A locked file has `"locked":{"kdf":"argon2id","m":65536,"t":3,"p":1,"salt":"…","nonce":"…","ciphertext":"…"}` in place of `root`
//! and `idKey`. While a root key or an issuer is replaced, `"oldRoots":["…"]` has the root key before (in a locked file it is in
//! `ciphertext`), and the old issuer's verifier has `"until":1767225600000`, in Unix milliseconds. Unknown members are ignored, so that a later version can add members.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::CredentialsError;
use crate::lock::Locked;
use crate::public_key::VerificationKey;
use crate::secret::Secret;

pub(crate) const CREDENTIALS_FORMAT: &str = "sidevault-credentials/1";
pub(crate) const ISSUER_FORMAT: &str = "sidevault-issuer/1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialsFile {
    pub(crate) format: String,
    pub(crate) device_uuid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<Secret>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) old_roots: Vec<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id_key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) locked: Option<Locked>,
    pub(crate) verifiers: Vec<VerificationKey>,
}

/// The members that show which program wrote the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Origin {
    format: Option<String>,
    version: Option<IgnoredAny>,
    enc_credentials: Option<IgnoredAny>,
}

/// Checks that `json` has the format `wanted`. The error says what the file is instead.
pub(crate) fn expect_format(json: &str, wanted: &str, what: &'static str) -> Result<(), CredentialsError> {
    let origin: Origin = serde_json::from_str(json).map_err(|error| CredentialsError::json(what, &error))?;
    let kind = |format: &str| format.rsplit_once('/').map(|(kind, _)| kind.to_owned());
    match origin.format {
        Some(format) if format == wanted => Ok(()),
        Some(format) if kind(&format) == kind(wanted) => Err(CredentialsError::NewerFormat { what }),
        Some(format) if format.starts_with("sidevault-") => Err(CredentialsError::OtherFile),
        _ if origin.enc_credentials.is_some() || origin.version.is_some() => Err(CredentialsError::OnePassword),
        _ => Err(CredentialsError::NotOurs { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(json: &str) -> Result<(), CredentialsError> {
        expect_format(json, CREDENTIALS_FORMAT, "the file")
    }

    #[test]
    fn files_are_recognised_by_their_members() {
        assert!(verdict(r#"{"format":"sidevault-credentials/1"}"#).is_ok());
        assert!(matches!(
            verdict(r#"{"format":"sidevault-credentials/2"}"#),
            Err(CredentialsError::NewerFormat { .. })
        ));
        assert!(matches!(
            verdict(r#"{"format":"sidevault-issuer/1"}"#),
            Err(CredentialsError::OtherFile)
        ));
        let genuine = r#"{"verifier":{"salt":"a"},"encCredentials":{"kid":"b"},"version":"2","deviceUuid":"c"}"#;
        assert!(matches!(verdict(genuine), Err(CredentialsError::OnePassword)));
        assert!(matches!(
            verdict(r#"{"type":"service_account"}"#),
            Err(CredentialsError::NotOurs { .. })
        ));
        assert!(matches!(
            verdict(r#"{"format":"sidevault-cred"#),
            Err(CredentialsError::Truncated { .. })
        ));
        assert!(matches!(
            verdict(r#"{"format":}"#),
            Err(CredentialsError::NotJson { .. })
        ));
    }
}
