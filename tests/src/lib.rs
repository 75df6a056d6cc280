//! The fixtures of the black-box tests. `tests/README.md` says which one to take.

pub mod authority;
pub mod cluster;
pub mod forge;
pub mod git;
pub(crate) mod herd;
pub mod history;
pub mod hostile;
pub mod http2;
pub mod https;
pub mod ledger;
pub mod markers;
pub mod onepux;
pub mod pages;
pub mod pair;
pub mod pebble;
pub mod postgres;
pub mod proxy;
pub mod s3;
pub mod sops;
pub mod stop;
pub mod tools;
pub mod volume;
pub mod wire;
