//! Vaults, items, fields, files, ids, filters, patches, password recipes, one-time passwords: pure rules, no I/O.
//!
//! Every function computes its result from its arguments: the caller passes time, randomness and ids. The types serialise to the
//! JSON of the Connect API (1.8.0 behaviour), so the store can seal that JSON and the api can send it as it is.
//!
//! These functions turn input into types that need no further checks: [`ItemInput::from_json`], [`patch::parse`],
//! [`Filter::parse`], [`Reference::parse`], [`ItemId::parse`], [`Access::parse`].

pub mod access;
pub mod activity;
pub mod category;
mod change;
mod commit;
mod compose;
mod date;
pub mod error;
pub mod field;
pub mod file;
pub mod filter;
pub mod health;
pub mod ids;
pub mod if_match;
pub mod input;
pub mod item;
mod json;
pub mod limits;
pub mod patch;
pub mod recipe;
pub mod reference;
pub mod remote_ref;
pub mod section;
mod text;
pub mod time;
pub mod totp;
pub mod tree_path;
pub mod url;
pub mod vault;
mod wire;

pub use access::Access;
pub use activity::ApiRequest;
pub use category::{Category, categorize};
pub use commit::Commit;
pub use error::{CONNECT_VERSION, ErrorBody, Invalid};
pub use field::{Field, FieldType, PasswordDetails, Purpose};
pub use file::File;
pub use filter::{Filter, InvalidFilter};
pub use health::{Dependency, DependencyStatus, ServerHealth, SourceProgress};
pub use ids::{FileId, InvalidId, ItemId, VaultId};
pub use if_match::{IfMatch, entity_tag};
pub use input::{Edit, FieldInput, ItemInput, SectionInput, UrlInput};
pub use item::{Item, State};
pub use recipe::{CharacterSet, Recipe};
pub use reference::Reference;
pub use section::{Section, SectionRef};
pub use text::printable;
pub use time::Timestamp;
pub use url::Url;
pub use vault::{Vault, VaultType};
