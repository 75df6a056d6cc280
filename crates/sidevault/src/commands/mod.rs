//! One module a command.

pub(crate) mod api;
pub(crate) mod completion;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod item;
pub(crate) mod operator;
pub(crate) mod quickstart;
pub(crate) mod sync;
pub(crate) mod token;
pub(crate) mod vault;
