//! The arguments of `keys`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Place;
use crate::duration::parse;
use crate::recovery::Sharing;

/// The commands of `keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Show which keys are in use, how old they are, and what an old key still opens
    ///
    /// Prints fingerprints and ids, never a key. Keys that are wrapped under the old root key only are named: then sync has not
    /// run yet with the credentials file that has both.
    Status {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace a key: docs/keys.md
    #[command(subcommand)]
    Rotate(Rotate),
    /// Write an encrypted copy of the credentials file, to keep in another place
    ///
    /// Who has an age key of a recipient, or enough shares, can make the files again with `keys restore`, or with age alone. The
    /// copy of locked credentials is locked with the same passphrase.
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupKeys),
    /// Make the files again from an encrypted copy, with an age key or shares
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreKeys),
}

/// Arguments of `keys backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupKeys {
    /// The encrypted file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// An age recipient (age1…) who can decrypt the copy; may be given more than once
    #[arg(long = "recipient", value_name = "RECIPIENT", value_parser = super::age_recipient, required_unless_present = "shares")]
    pub(crate) recipients: Vec<age::x25519::Recipient>,
    /// Print N shares, of which any K together decrypt the copy
    #[arg(long, value_name = "K/N")]
    pub(crate) shares: Option<Sharing>,
    /// Copy this issuer file, too. Without it, tokens can't be made after a restore until `keys rotate issuer` has replaced the issuer
    #[arg(long, value_name = "FILE")]
    pub(crate) issuer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Arguments of `keys restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreKeys {
    /// The encrypted copy
    #[arg(value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The directory for the files
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// A file with the age key of a recipient [default: the file that SOPS_AGE_KEY_FILE names]
    #[arg(long, value_name = "FILE", conflicts_with = "shares")]
    pub(crate) age_key_file: Option<PathBuf>,
    /// A file with shares, one a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) shares: Option<PathBuf>,
}

/// The commands of `keys rotate`.
#[derive(Debug, Subcommand)]
pub(crate) enum Rotate {
    /// Replace the root key, and with it the key of the bus
    ///
    /// Writes a credentials file with a new root key and the old one. Give it to api and sync, in any order: both work with
    /// either file. sync wraps the store's keys anew when it starts with the new file. Then `--finish` writes the file without
    /// the old root key.
    #[command(after_help = ROOT_EXAMPLES)]
    Root(RotateRoot),
    /// Replace the issuer, which signs tokens
    ///
    /// Writes a new issuer file, and a credentials file that accepts its tokens, and those of the old issuer until a date. Give
    /// the credentials to the api before you make tokens with the new issuer. The old issuer file is not needed.
    #[command(after_help = ISSUER_EXAMPLES)]
    Issuer(RotateIssuer),
    /// Replace the data keys, which seal the rows of the store
    ///
    /// Each vault gets a new data key, which seals from now on. sync then seals every row of the store anew, in small steps between
    /// other writes, and deletes the old data keys when no row needs them. This command waits until that is done. If it is stopped,
    /// or sync is killed, sync goes on by itself. No file changes.
    #[command(after_help = DATA_EXAMPLES)]
    Data {
        #[command(flatten)]
        place: Place,
    },
}

/// Arguments of `keys rotate root`.
#[derive(Debug, Args)]
pub(crate) struct RotateRoot {
    /// The new credentials file to write; it is locked if the present one is
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Leave the old root key out. Refused while a key in the store is wrapped under the old one only
    #[arg(long)]
    pub(crate) finish: bool,
    /// With --finish: do not look into the store, because it is elsewhere, and `keys status` there says that the old root key
    /// may go
    #[arg(long, requires = "finish")]
    pub(crate) unchecked: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Arguments of `keys rotate issuer`.
#[derive(Debug, Args)]
pub(crate) struct RotateIssuer {
    /// The new credentials file to write; it is locked if the present one is
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The new issuer file to write
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "finish",
        conflicts_with = "finish"
    )]
    pub(crate) issuer_out: Option<PathBuf>,
    /// For how long tokens of the old issuer are accepted; 0 if its file has leaked
    #[arg(long, default_value = "30d", value_parser = parse, value_name = "DURATION", conflicts_with = "finish")]
    pub(crate) old_until: Duration,
    /// Leave old issuers out: their tokens are not accepted any more, whatever the date
    #[arg(long)]
    pub(crate) finish: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

const ROOT_EXAMPLES: &str = "\
Examples:
  sidevault keys rotate root --session keys/1password-credentials.json --out keys/both.json
  sidevault keys rotate root --session keys/both.json --finish --out keys/new.json";

const DATA_EXAMPLES: &str = "\
Examples:
  sidevault keys rotate data --session keys/1password-credentials.json
  sidevault keys status";

const ISSUER_EXAMPLES: &str = "\
Examples:
  sidevault keys rotate issuer --session keys/1password-credentials.json --out keys/new.json --issuer-out keys/new-issuer.json
  sidevault keys rotate issuer --session keys/new.json --finish --out keys/newest.json";

const BACKUP_EXAMPLES: &str = "\
Examples:
  sidevault keys backup --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p --out recovery.age
  sidevault keys backup --shares 3/5 --issuer keys/issuer.json --out recovery.age";

const RESTORE_EXAMPLES: &str = "\
Examples:
  sidevault keys restore recovery.age --age-key-file age-key.txt --out keys
  sidevault keys restore recovery.age --shares - --out keys";
