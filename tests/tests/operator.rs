//! The operator on a real API server, beside the real External Secrets controller.
#![allow(clippy::expect_used, missing_docs)]

#[path = "operator/classes.rs"]
mod classes;
#[path = "operator/deletion.rs"]
mod deletion;
#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/front.rs"]
mod front;
#[path = "operator/lead.rs"]
mod lead;
#[path = "operator/parity.rs"]
mod parity;
#[path = "operator/poke.rs"]
mod poke;
#[path = "operator/push.rs"]
mod push;
#[path = "operator/refresh.rs"]
mod refresh;
#[path = "operator/rights.rs"]
mod rights;
#[path = "operator/secrecy.rs"]
mod secrecy;
#[path = "operator/seed.rs"]
mod seed;
#[path = "operator/templates.rs"]
mod templates;
#[path = "operator/versions.rs"]
mod versions;
#[path = "operator/world.rs"]
mod world;
