use sidevault_store::StoreError;

/// Why sync could not start.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A local vault has the name of another source's vault.
    #[error("vault \"{vault}\" belongs to {owner}, so {claimant} can't have it: rename one of them")]
    VaultTaken {
        /// The vault's name.
        vault: String,
        /// The source that has it.
        owner: String,
        /// The source that is configured to have it.
        claimant: String,
    },
    /// A local vault would be made on a disk that does not outlive the Pod or container.
    #[error(
        "the local vault \"{vault}\" is not made, because the data directory is on {disk}: the vault would be lost with it. Mount a persistent volume, or give --allow-ephemeral to make the vault anyway"
    )]
    Ephemeral {
        /// The vault's name.
        vault: String,
        /// The kind of disk that the data directory is on.
        disk: String,
    },
    /// The writer ended before it answered. The command may have been carried out.
    #[error("the writer ended before it answered, so the command may or may not have been carried out")]
    Stopped,
}
