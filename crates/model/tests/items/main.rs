//! Items after POST, PUT and PATCH: the checks of Connect's behaviour that need no server.
//!
//! "Check N" in a comment is row N of `tests/CONFORMANCE.md`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod create;
mod echo;
mod fixture;
mod patch;
mod replace;
