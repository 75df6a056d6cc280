//! sync: the only process that writes to the store.
//!
//! [`start`] opens the store for writing and starts these tasks, which run until [`Running::stop`]: the writer (`queue`),
//! which commits many commands with one `fsync`; one task for each directory source (`directory`); and one task for each
//! connection of an api or an administrator's command (`link`). The first two run only in the process that leads (`leader`).

mod admin_socket;
pub mod backup;
mod config;
mod directory;
mod disk;
mod error;
mod execute;
mod git;
mod leader;
mod link;
mod low_disk;
mod metrics;
mod offline;
mod queue;
mod status;
mod sync;
mod vault_ids;

pub use admin_socket::ADMIN_SOCKET;
pub use config::{Config, ConfigError, DirectorySource, VaultMapping};
pub use directory::{
    DirectoryFile, DirectoryItem, DirectoryOnce, Encrypted, LeftOut, LeftOutBy, Preview, PreviewItem, Recognized,
    Selection, SharedTitle, Suspect, TitleRule, preview,
};
pub use disk::{Disk, disk_of};
pub use error::SyncError;
pub use git::{GitSource, HookAnswer, Hooks};
pub use low_disk::LowDisk;
pub use metrics::Metrics;
pub use offline::Offline;
pub use queue::{Queue, QueueClosed};
pub use status::Status;
pub use sync::{Options, Running, start};
