//! Every key of a Sidevault server, and what is done with them.
//!
//! Two files hold all the long-lived secrets, both written by `sidevault init`:
//!
//! * [`Credentials`] (`1password-credentials.json`, what `OP_SESSION` names) is what a *server* needs: the root key,
//!   the public keys that verify tokens, and the key that turns names into ids.
//! * [`Issuer`] (`issuer.json`) is what an *administrator* needs: the private key that signs tokens. A server never
//!   sees it, so a server that is broken into cannot mint tokens.
//!
//! ```text
//! root key --HKDF-SHA-256--> KeyEncryptionKey --wraps--> DataKey  (AES-256-GCM: seals rows)
//!                        |                    `-wraps--> IndexKey (HMAC-SHA-256: finds rows by a sealed value)
//!                        `-> BusKey (pre-shared key between api and sync)
//! id key   --HMAC-SHA-256--> ids of vaults, items and files that have no id of their own
//! ```
//!
//! No key implements `Display`, `Debug` never shows key material, and every key is wiped from memory on drop.

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

pub use credentials::{BusKey, Credentials};
pub use credentials_error::CredentialsError;
pub use harden::harden_process;
pub use id_key::IdKey;
pub use index_key::IndexKey;
pub use issuer::{IssueError, Issuer, TokenSpec};
pub use key_encryption_key::{KeyEncryptionKey, UnwrapError};
pub use new_file::write_new;
pub use passphrase::Passphrase;
pub use revocation_list::{MAX_REVOCATION_LIST_LEN, RevocationList, RevocationListFault, canonical_jti};
pub use seal::{DataKey, KeyId, OVERHEAD, OpenError, sealed_key_id};
pub use token::{MAX_TOKEN_LEN, Token, TokenError};
pub use verifier::Verifier;
