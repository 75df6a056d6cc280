//! What becomes of an item that a client posts, puts or patches: the checks of the Connect surface that need no server.
//!
//! "Check N" in the comments is the number in the project's list of things real clients rely on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod create;
mod echo;
mod patch;
mod replace;
mod world;
