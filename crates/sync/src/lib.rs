//! Sources to store: the only writer.
//!
//! [`start`] opens the store for writing and runs, until it is told to stop:
//! the writer's queue (`queue`), which commits many commands with one wait for the disk; one
//! task a directory source (`directory`); and one task a link to an api or an administrator's
//! command (`link`).

mod config;
mod directory;
mod disk;
mod error;
mod execute;
mod link;
mod metrics;
mod queue;
mod low_disk;
mod status;
mod sync;
mod vault_ids;

pub use config::{Config, ConfigError, DirectorySource, VaultMapping};
pub use disk::{Disk, disk_of};
pub use error::SyncError;
pub use metrics::Metrics;
pub use queue::{Queue, QueueClosed};
pub use low_disk::LowDisk;
pub use status::Status;
pub use sync::{ADMIN_SOCKET, Offline, Options, Running, start};
