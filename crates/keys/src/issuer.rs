//! The administrator's key, which signs access tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey as _;
use serde::{Deserialize, Serialize};
use sidevault_model::{Access, Timestamp, VaultId, ids};
use zeroize::Zeroizing;

use crate::credentials::to_secret_json;
use crate::credentials_file::{ISSUER_FORMAT, expect_format};
use crate::derive::{Label, derive};
use crate::public_key::VerificationKey;
use crate::secret::Secret;
use crate::token::{AUDIENCE, Claims, ISSUER, MAX_TOKEN_LEN, Token, VaultClaim};
use crate::{CredentialsError, IdKey, es256, session};

const WHAT: &str = "the issuer file";

/// The longest name of a token in characters.
const MAX_NAME: usize = 128;

/// The content of `issuer.json`: the key that signs access tokens (ES256), and the key that computes the ids of vaults. It can't
/// decrypt a store, but it can grant access to every vault, so keep it away from servers.
pub struct Issuer {
    key: SecretKey,
    public: VerificationKey,
    id_key: Secret,
}

/// The properties of a new token.
#[derive(Clone, Debug, Default)]
pub struct TokenSpec {
    /// The token's name: 1 to 128 characters, no control characters.
    pub name: String,
    /// The token's rights in each vault. A token without any vault is allowed.
    pub vaults: BTreeMap<VaultId, Access>,
    /// The vaults of `vaults` whose id was computed from a name, without a look whether the store has a vault of this name: see
    /// [`Token::by_name`].
    pub by_name: BTreeSet<VaultId>,
    /// When the token expires; `None`: never. Fractions of a second are cut off.
    pub expires_at: Option<Timestamp>,
    /// The token's id: 26 characters of `0-9a-z`. `None`: a random id.
    pub jti: Option<String>,
}

/// Why a token was not issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The name does not have 1 to 128 characters, or has control characters.
    #[error("a token's name has 1 to {MAX_NAME} characters and no control characters")]
    Name,
    /// A vault is listed with neither right.
    #[error("the token would have neither read nor write access to vault {0}")]
    NoAccess(VaultId),
    /// The token would have expired when it is issued, or would expire after the year 9999.
    #[error("the token would expire at {0}, which is in the past or after the year 9999")]
    Expiry(Timestamp),
    /// The id does not have 26 characters of `0-9a-z`.
    #[error("a token's id has 26 characters, each a-z or 0-9")]
    Jti,
    /// The token would be longer than a server accepts.
    #[error("the token would be longer than {MAX_TOKEN_LEN} bytes: spread its {0} vaults over several tokens")]
    TooManyVaults(usize),
    /// The key or the time can't be used.
    #[error("the token could not be signed")]
    Signing,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IssuerFile {
    format: String,
    kid: String,
    /// The private scalar. A JWK has the same name for it (RFC 7518, section 6.2.2).
    d: Secret,
    id_key: Secret,
}

impl Issuer {
    /// The issuer for [`Credentials::from_seed`](crate::Credentials::from_seed) with the same seed, for development only. Equal
    /// token specifications and times give equal tokens (RFC 6979).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::from_secret_seed(&Secret::from_bytes(seed))
    }

    pub(crate) fn from_secret_seed(seed: &Secret) -> Self {
        // One candidate in 2^32 is 0 or not below the group's order, so that it is no P-256 key. Then the next one is taken.
        let key = (0..=u8::MAX).find_map(|n| as_private_key(&derive(seed, Label::SeedIssuer(n))));
        let key = key.unwrap_or_else(|| unreachable!("256 failures in a row have a chance of 2^-8192"));
        Self::new(key, derive(seed, Label::SeedIdKey))
    }

    /// A new issuer with the id key of the one before it, so that tokens made by a vault's name open the same vault.
    pub(crate) fn generate(id_key: Secret) -> Self {
        let key = (0..=u8::MAX).find_map(|_| as_private_key(&Secret::random()));
        let key = key.unwrap_or_else(|| unreachable!("256 failures in a row have a chance of 2^-8192"));
        Self::new(key, id_key)
    }

    fn new(key: SecretKey, id_key: Secret) -> Self {
        es256::install();
        let public = VerificationKey::new(&key.public_key());
        Self { key, public, id_key }
    }

    /// Reads `issuer.json`.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let json = session::read(path, WHAT)?;
        let json = json.trim_start_matches('\u{feff}');
        expect_format(json, ISSUER_FORMAT, WHAT)?;
        let file: IssuerFile = serde_json::from_str(json).map_err(|error| CredentialsError::json(WHAT, &error))?;
        let key = as_private_key(&file.d).ok_or_else(|| CredentialsError::damaged(WHAT, "`d` is no P-256 key"))?;
        let issuer = Self::new(key, file.id_key);
        if issuer.public.kid != file.kid {
            return Err(CredentialsError::damaged(WHAT, "`kid` and `d` do not belong together"));
        }
        Ok(issuer)
    }

    /// The content of `issuer.json`.
    pub fn to_json(&self) -> Zeroizing<String> {
        let mut d = Secret::zero();
        let scalar = Zeroizing::new(self.key.to_bytes());
        d.as_mut_bytes().copy_from_slice(&scalar);
        to_secret_json(&IssuerFile {
            format: ISSUER_FORMAT.into(),
            kid: self.public.kid.clone(),
            d,
            id_key: self.id_key.clone(),
        })
    }

    /// The id of the signing key. Every token names it.
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// The key that computes ids from names. The credentials file has the same key.
    pub fn id_key(&self) -> IdKey {
        IdKey::new(self.id_key.clone())
    }

    pub(crate) fn verification_key(&self) -> VerificationKey {
        self.public.clone()
    }

    /// Signs a token. Returns the JWT and its content.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn issue(&self, spec: &TokenSpec, now: Timestamp) -> Result<(Zeroizing<String>, Token), IssueError> {
        let claims = self.claims(spec, now)?;
        let jwt = self.sign(&claims)?;
        if jwt.len() > MAX_TOKEN_LEN {
            return Err(IssueError::TooManyVaults(spec.vaults.len()));
        }
        let token = claims
            .into_token(self.public.kid.clone())
            .map_err(|_| IssueError::Signing)?;
        Ok((jwt, token))
    }

    fn claims(&self, spec: &TokenSpec, now: Timestamp) -> Result<Claims, IssueError> {
        let characters = spec.name.chars().count();
        if spec.name.trim().is_empty() || characters > MAX_NAME || spec.name.chars().any(char::is_control) {
            return Err(IssueError::Name);
        }
        if let Some((vault, _)) = spec.vaults.iter().find(|(_, access)| !access.read && !access.write) {
            return Err(IssueError::NoAccess(*vault));
        }
        let (iat, exp) = (now.as_seconds(), spec.expires_at.map(Timestamp::as_seconds));
        if let Some(at) = spec.expires_at
            && (at.as_seconds() <= iat || crate::token::at_second(at.as_seconds()).is_err())
        {
            return Err(IssueError::Expiry(at));
        }
        let jti = spec.jti.clone().unwrap_or_else(|| ids::from_bits(&rand::random()));
        if jti.len() != 26 || !jti.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
            return Err(IssueError::Jti);
        }
        Ok(Claims {
            iss: ISSUER,
            aud: [AUDIENCE],
            sub: self.public.kid.clone(),
            iat,
            nbf: None,
            exp,
            jti,
            name: spec.name.clone(),
            features: vec!["vaultaccess".to_owned()],
            vaults: spec
                .vaults
                .iter()
                .map(|(vault, access)| VaultClaim::new(vault, *access, spec.by_name.contains(vault)))
                .collect(),
        })
    }

    /// The claims as a JWT, signed by this issuer.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<Zeroizing<String>, IssueError> {
        let header = Header {
            kid: Some(self.public.kid.clone()),
            ..Header::new(Algorithm::ES256)
        };
        let der = self.key.to_pkcs8_der().map_err(|_| IssueError::Signing)?;
        let jwt = encode(&header, claims, &EncodingKey::from_ec_der(der.as_bytes()));
        jwt.map(Zeroizing::new).map_err(|_| IssueError::Signing)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("kid", &self.public.kid)
            .finish_non_exhaustive()
    }
}

fn as_private_key(scalar: &Secret) -> Option<SecretKey> {
    SecretKey::from_slice(scalar.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credentials, write_new};

    const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_999);

    fn spec(name: &str) -> TokenSpec {
        let vaults = BTreeMap::from([(VaultId::from_digest(&[1; 32]), Access::READ)]);
        TokenSpec {
            name: name.into(),
            vaults,
            ..TokenSpec::default()
        }
    }

    #[test]
    fn the_issuer_survives_its_file() {
        let (_, issuer) = Credentials::generate();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issuer.json");
        write_new(&path, issuer.to_json().as_bytes()).unwrap();
        let back = Issuer::load(&path).unwrap();
        assert_eq!(back.to_json(), issuer.to_json());
        assert_eq!(back.id_key().vault("home"), issuer.id_key().vault("home"));
    }

    #[test]
    fn the_two_files_agree_on_ids() {
        let (credentials, issuer) = Credentials::generate();
        assert_eq!(credentials.id_key().vault("home"), issuer.id_key().vault("home"));
    }

    #[test]
    fn other_and_damaged_files_are_refused_by_name() {
        let (credentials, issuer) = Credentials::generate();
        let (_, other) = Credentials::generate();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issuer.json");
        let load = |content: &str| {
            std::fs::write(&path, content).unwrap();
            Issuer::load(&path).unwrap_err().to_string()
        };
        assert!(load(&credentials.to_json(None)).contains("other of the two files"));
        assert!(load(&issuer.to_json().replace(issuer.kid(), other.kid())).contains("do not belong together"));
        let member = issuer.to_json().split("\"d\":\"").nth(1).unwrap()[..43].to_owned();
        assert!(load(&issuer.to_json().replace(&member, &"_".repeat(42))).contains("damaged"));
        assert!(load(&issuer.to_json().replace(&member, &"A".repeat(43))).contains("no P-256 key"));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Issuer::load(&path), Err(CredentialsError::Missing { .. })));
    }

    #[test]
    fn a_seeded_issuer_repeats_its_tokens() {
        let fixed = TokenSpec {
            jti: Some("d".repeat(26)),
            ..spec("dev")
        };
        let (a, token) = Issuer::from_seed(&[7; 32]).issue(&fixed, NOW).unwrap();
        let (b, _) = Issuer::from_seed(&[7; 32]).issue(&fixed, NOW).unwrap();
        assert_eq!(a, b);
        assert_eq!(token.issued_at.as_millis(), 1_750_000_000_000);
        assert!(
            a.starts_with("ey"),
            "a prefix of `ops_` would make it a service account token"
        );
        let verified = Credentials::from_seed(&[7; 32]).verifier().verify(&a, NOW).unwrap();
        assert_eq!(verified, token);
    }

    #[test]
    fn invalid_token_specifications_are_refused() {
        let (_, issuer) = Credentials::generate();
        let refusal = |spec: TokenSpec| issuer.issue(&spec, NOW).unwrap_err();
        for name in ["", " ", "a\nb", &"x".repeat(129)] {
            assert_eq!(refusal(spec(name)), IssueError::Name);
        }
        let vault = VaultId::from_digest(&[2; 32]);
        let nothing = BTreeMap::from([(vault, Access::default())]);
        assert_eq!(
            refusal(TokenSpec {
                vaults: nothing,
                ..spec("a")
            }),
            IssueError::NoAccess(vault)
        );
        for at in [NOW, Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX)] {
            assert_eq!(
                refusal(TokenSpec {
                    expires_at: Some(at),
                    ..spec("a")
                }),
                IssueError::Expiry(at)
            );
        }
        assert_eq!(
            refusal(TokenSpec {
                jti: Some("short".into()),
                ..spec("a")
            }),
            IssueError::Jti
        );
        let many = (0..500_u16).map(|n| {
            (
                VaultId::from_digest(&Secret::random().as_bytes().map(|b| b ^ n as u8)),
                Access::READ,
            )
        });
        assert_eq!(
            refusal(TokenSpec {
                vaults: many.collect(),
                ..spec("a")
            }),
            IssueError::TooManyVaults(500)
        );
    }
}
