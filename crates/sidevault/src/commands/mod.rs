//! One module for each command.

#[cfg(feature = "server")]
pub(crate) mod api;
#[cfg(feature = "server")]
pub(crate) mod backup;
pub(crate) mod completion;
#[cfg(feature = "server")]
pub(crate) mod doctor;
#[cfg(feature = "server")]
pub(crate) mod init;
#[cfg(feature = "server")]
pub(crate) mod item;
pub(crate) mod man;
#[cfg(feature = "operator")]
pub(crate) mod operator;
#[cfg(feature = "server")]
pub(crate) mod quickstart;
#[cfg(feature = "server")]
pub(crate) mod restore;
#[cfg(feature = "server")]
pub(crate) mod store;
#[cfg(feature = "server")]
pub(crate) mod sync;
#[cfg(feature = "server")]
pub(crate) mod token;
#[cfg(feature = "server")]
pub(crate) mod vault;
