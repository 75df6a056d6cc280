//! Typed async client for any server that speaks the 1Password Connect API: Sidevault, or 1Password's own.
//!
//! ```no_run
//! # async fn example() -> Result<(), sidevault_client::ClientError> {
//! use sidevault_client::Client;
//!
//! let client = Client::from_env()?; // OP_CONNECT_HOST and OP_CONNECT_TOKEN
//! let item = client.resolve("Homelab", "Wi-Fi").await?;
//! let password = item.fields.iter().find(|field| field.id == "password");
//! # let _ = password; Ok(())
//! # }
//! ```
//!
//! Answers are parsed into the types of `sidevault-model`. Members and enum values that a newer server adds are
//! ignored. Requests use HTTP/1.1, or HTTP/2 if TLS negotiates it. Host names are resolved without the C library, so
//! that a statically linked program works in an empty container. Redirects are not followed, so that the token is sent
//! to no host but the given one.
//!
//! [`Client::versions`], [`Client::item_version`], [`Client::restore`] and [`Client::events`] exist in Sidevault only;
//! other servers answer them with 404. [`Client::resolve_references`] works with all.

mod activity;
mod builder;
mod client;
mod error;
mod events;
mod files;
mod filter;
mod health;
mod items;
mod lookup;
mod references;
mod sse;
#[cfg(test)]
mod testing;
mod tls;
mod token;
mod transport;
mod unreachable;
mod vaults;
mod versions;

pub use activity::ActivityPage;
pub use builder::ClientBuilder;
pub use client::Client;
pub use error::{ClientError, Kind};
pub use events::{Event, EventKind, Events};
pub use files::{FileContent, ResumePoint};
pub use filter::Filter;
pub use references::{ReferenceError, ReferenceResult, Secret};
pub use sidevault_model as model;
pub use unreachable::{Unreachable, UnreachableReason};
pub use versions::ItemVersion;
