//! sync: the only process that writes to the store.
//!
//! [`start`] opens the store for writing and starts these tasks, which run until [`Running::stop`]: the writer (`queue`),
//! which commits many commands with one `fsync`; one task for each directory source (`directory`); and one task for each
//! connection of an api or an administrator's command (`link`).

mod config;
mod directory;
mod disk;
mod error;
mod execute;
mod link;
mod low_disk;
mod metrics;
mod queue;
mod status;
mod sync;
mod vault_ids;

pub use config::{Config, ConfigError, DirectorySource, VaultMapping};
pub use disk::{Disk, disk_of};
pub use error::SyncError;
pub use low_disk::LowDisk;
pub use metrics::Metrics;
pub use queue::{Queue, QueueClosed};
pub use status::Status;
pub use sync::{ADMIN_SOCKET, Offline, Options, Running, start};
