//! Moves items between Sidevault and other programs.
//!
//! [`import`] has one reader for each format. A reader turns a file into plain vaults and items, and knows nothing of the server
//! they go to. [`export`] has one writer for each format. Nothing here opens a network connection, writes to a disk or asks a person:
//! the commands do that.

pub mod compare;
pub mod export;
pub mod import;
pub mod kubernetes;
pub mod plan;
