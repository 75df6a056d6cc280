//! The arguments of `backup` and `restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sidevault_model::Timestamp;
use sidevault_sync::backup::{Recipient, Retention};

use super::Place;

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Backup {
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
    /// Where to: a directory or s3://BUCKET/PREFIX, which gets a file sidevault-TIME-CHANGE.sqlite; the path of a new file; or - for
    /// standard output
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) to: Option<PathBuf>,
    /// Encrypt the backup so that this age key can decrypt it (age1...); may be given more than once
    #[arg(long = "age-recipient", value_name = "RECIPIENT")]
    pub(crate) recipients: Vec<Recipient>,
    /// Then delete older backups in the directory or bucket: keep the newest of each of the last 7 days, 4 weeks and 12 months, for
    /// example
    #[arg(long, value_name = "7d,4w,12m")]
    pub(crate) keep: Option<Retention>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// The commands of `backup`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Check a backup: compare it with its manifest, and decrypt every row
    ///
    /// Without the credentials file, the rows are compared but not decrypted.
    Verify {
        #[command(flatten)]
        from: FromBackup,
        #[command(flatten)]
        place: Place,
    },
    /// List the backups in a directory or bucket, oldest first
    List {
        /// The directory, or s3://BUCKET/PREFIX
        #[arg(value_name = "PATH")]
        from: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

/// Which backup to read.
#[derive(Debug, Args)]
pub(crate) struct FromBackup {
    /// The backup, or a directory or s3://BUCKET/PREFIX: then the newest backup in it, with what was backed up continuously since
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The state at this time, such as 2026-11-30T12:00:00Z: the newest one that has no later change
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) at: Option<Timestamp>,
    /// If a segment of a continuous backup is missing or damaged, take the state before it instead of refusing
    #[arg(long)]
    pub(crate) last_good: bool,
    /// The age keys for an encrypted backup [default: SOPS_AGE_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) age_key_file: Option<PathBuf>,
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("expected a time with its zone, such as 2026-11-30T12:00:00Z")
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) from: FromBackup,
    /// Move a store that is there already aside, instead of refusing
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}
