//! Brings the tree of one branch or tag of a Git remote into a directory, and follows it; makes commits and pushes them. Knows
//! nothing of vaults.
//!
//! The protocol and the format of packs are gitoxide's (`gix-protocol`, `gix-pack`); the connections are this crate's, so that
//! they have time limits, need no certificate bundle, and read no configuration of Git.

mod auth;
mod checkout;
mod commit;
mod error;
mod fetch;
mod http;
mod mirror;
mod objects;
mod programs;
mod push;
mod remote;
mod session;
mod sign;
mod streams;
mod verify;
pub mod webhook;

pub use auth::Auth;
pub use checkout::Limits;
pub use commit::Committer;
pub use error::GitError;
pub use mirror::{Change, Checked, Commit, Mirror, Pushed, Settings};
pub use remote::Remote;
pub use sign::check_signer;
