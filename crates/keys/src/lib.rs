//! The keys of a Sidevault server: credentials, key hierarchy, sealing, and access tokens.
//!
//! `sidevault init` writes two files, which hold all long-lived secrets:
//!
//! * `1password-credentials.json` ([`Credentials`]), which `OP_SESSION` names, is for the *server*: the root key, the public keys
//!   that verify tokens, and the key that computes ids from names.
//! * `issuer.json` ([`Issuer`]) is for the *administrator*: the private key that signs tokens. The server does not have it, so
//!   someone who breaks into the server can't issue tokens.
//!
//! ```text
//! root key --HKDF-SHA-256--> KeyEncryptionKey --wraps--> DataKey  (AES-256-GCM: seals rows)
//!                        |                    `-wraps--> IndexKey (HMAC-SHA-256: finds rows by a sealed value)
//!                        `-> BusKeys (pre-shared keys between api and sync)
//! id key   --HMAC-SHA-256--> ids of vaults, items and files whose source has no ids
//! ```
//!
//! No key implements `Display`, `Debug` does not show key material, and every key is wiped from memory when it is dropped.

mod credentials;
mod credentials_error;
mod credentials_file;
mod derive;
mod es256;
mod harden;
mod id_key;
mod index_key;
mod issuer;
mod key_encryption_key;
mod length_prefix;
mod lock;
mod new_file;
mod passphrase;
mod public_key;
mod revocation_list;
mod seal;
mod secret;
mod session;
mod token;
mod verifier;

pub use credentials::{BusKeys, Credentials};
pub use credentials_error::CredentialsError;
pub use harden::harden_process;
pub use id_key::IdKey;
pub use index_key::IndexKey;
pub use issuer::{IssueError, Issuer, TokenSpec};
pub use key_encryption_key::{KeyEncryptionKey, UnwrapError, WrappedKind};
pub use new_file::{write_all_new, write_new};
pub use passphrase::Passphrase;
pub use revocation_list::{MAX_REVOCATION_LIST_LEN, RevocationList, RevocationListFault, canonical_jti};
pub use seal::{DataKey, KeyId, OVERHEAD, OpenError, sealed_key_id};
pub use token::{MAX_TOKEN_LEN, Token, TokenError};
pub use verifier::Verifier;
