use sidevault_store::StoreError;

/// Why sync could not start.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two sources want the same vault.
    #[error("vault \"{vault}\" belongs to {owner}, so {claimant} can't have it: rename one of them")]
    VaultTaken {
        /// The vault's name.
        vault: String,
        /// Who has it.
        owner: String,
        /// Who wants it.
        claimant: String,
    },
    /// A local vault would be lost with the Pod.
    #[error(
        "won't make the local vault \"{vault}\" on {disk}: it would be gone with it. Mount a persistent volume, or say --allow-ephemeral if that is what you want"
    )]
    Ephemeral {
        /// The vault's name.
        vault: String,
        /// What the data directory is on.
        disk: String,
    },
    /// The writer ended before it answered.
    #[error("the writer ended before it answered; nothing is known of the command")]
    Stopped,
}
