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
//! Answers are the types of `sidevault-model`, read leniently: members and words that a newer server adds do no harm.
//! Requests go over HTTP/1.1, or HTTP/2 where TLS agrees on it; names resolve without the C library, so that a
//! statically linked program can use it in an empty container. Redirects are not followed: a token goes to the host it
//! was given for and to no other.
//!
//! [`Client::versions`], [`Client::item_version`], [`Client::restore`] and [`Client::events`] are Sidevault's
//! own and "not found" elsewhere.

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
mod retry;
mod sse;
#[cfg(test)]
mod testing;
mod tls;
mod token;
mod transport;
mod vaults;
mod versions;

pub use activity::ActivityPage;
pub use builder::ClientBuilder;
pub use client::Client;
pub use error::{ClientError, Kind};
pub use events::{Event, EventKind, Events};
pub use files::FileContent;
pub use filter::Filter;
pub use sidevault_model as model;
pub use versions::ItemVersion;
