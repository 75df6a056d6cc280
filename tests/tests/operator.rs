//! The operator on a real API server, beside the real External Secrets controller.
#![allow(clippy::expect_used, missing_docs)]

#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/parity.rs"]
mod parity;
#[path = "operator/world.rs"]
mod world;
