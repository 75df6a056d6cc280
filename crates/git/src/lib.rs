//! Brings the tree of one branch or tag of a Git remote into a directory, and follows it. Knows nothing of vaults.
//!
//! The protocol and the format of packs are gitoxide's (`gix-protocol`, `gix-pack`); the connections are this crate's, so that
//! they have time limits, need no certificate bundle, and read no configuration of Git.

mod auth;
mod checkout;
mod error;
mod fetch;
mod http;
mod mirror;
mod objects;
mod programs;
mod remote;
mod session;
mod streams;
mod verify;
pub mod webhook;

pub use auth::Auth;
pub use checkout::Limits;
pub use error::GitError;
pub use mirror::{Checked, Commit, Mirror, Settings};
pub use remote::Remote;
