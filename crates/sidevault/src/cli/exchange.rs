//! The arguments of `import` and `verify`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sidevault_exchange::import::{Format, Groups};
use sidevault_exchange::plan::OnConflict;

use super::Place;
use crate::server::Connection;

/// Where items of an export go.
#[derive(Debug, Args)]
pub(crate) struct Mapping {
    /// The vault for the items of one of the export's vaults, by names or ids; may be given more than once
    #[arg(long = "vault-map", value_name = "OLD=NEW", value_parser = parse_rename)]
    pub(crate) renames: Vec<(String, String)>,
    /// A tag that every item gets besides its own; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
}

fn parse_rename(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("must be OLD=NEW"),
    }
}

/// How an export is read.
#[derive(Debug, Args)]
pub(crate) struct Reading {
    /// The export: a file, a directory, or `-` for standard input
    #[arg(value_name = "EXPORT")]
    pub(crate) file: PathBuf,
    /// The format that the export has to be in [default: it is recognised by its content]
    #[arg(long = "from", value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<ImportFormat>,
    /// What the folders and collections of the export become
    #[arg(long, value_enum, value_name = "WHAT", default_value = "vaults")]
    pub(crate) folders: Folders,
    /// A file with the password of an encrypted export; without it, the command asks on a terminal
    #[arg(long, value_name = "FILE", env = "SIDEVAULT_IMPORT_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The key file of a KeePass database
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Age keys for files that SOPS encrypted, besides those that sops finds, and for a password store; may be given more than once
    #[arg(long = "age-key-file", value_name = "FILE")]
    pub(crate) age_key_files: Vec<PathBuf>,
}

/// The formats of exports.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ImportFormat {
    /// 1Password's export
    #[value(name = "1pux")]
    OnePux,
    /// Bitwarden's or Vaultwarden's JSON or ZIP
    Bitwarden,
    /// A KeePass database (KDBX)
    Keepass,
    /// CSV of a browser or password manager
    Csv,
    /// Items as op, Connect's API and `sidevault export --to json` write them
    Connect,
    /// JSON of Vault's KV store, Doppler or Infisical
    Secrets,
    /// The directory of passage, or of gopass with age
    Pass,
    /// .env files, SOPS files, manifests of Secrets and other files
    Files,
}

impl From<ImportFormat> for Format {
    fn from(format: ImportFormat) -> Self {
        match format {
            ImportFormat::OnePux => Self::OnePux,
            ImportFormat::Bitwarden => Self::Bitwarden,
            ImportFormat::Keepass => Self::Keepass,
            ImportFormat::Csv => Self::Csv,
            ImportFormat::Connect => Self::Connect,
            ImportFormat::Secrets => Self::Secrets,
            ImportFormat::Pass => Self::Pass,
            ImportFormat::Files => Self::Files,
        }
    }
}

/// What folders and collections become.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Folders {
    /// A vault for each
    Vaults,
    /// A tag for each; all items go into one vault
    Tags,
}

impl From<Folders> for Groups {
    fn from(folders: Folders) -> Self {
        match folders {
            Folders::Vaults => Self::Vaults,
            Folders::Tags => Self::Tags,
        }
    }
}

/// What to do with an item that the server has with other content.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ConflictPolicy {
    /// Leave the server's item as it is
    Skip,
    /// Replace the server's item; its content of now goes into its history
    Update,
    /// Make a second item with another id
    Copy,
}

impl From<ConflictPolicy> for OnConflict {
    fn from(policy: ConflictPolicy) -> Self {
        match policy {
            ConflictPolicy::Skip => Self::Skip,
            ConflictPolicy::Update => Self::Update,
            ConflictPolicy::Copy => Self::Copy,
        }
    }
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) mapping: Mapping,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// What to do with an item that the server has with other content
    #[arg(long, value_enum, value_name = "POLICY", default_value = "skip")]
    pub(crate) on_conflict: ConflictPolicy,
    /// Import without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Make vaults even on a disk that is lost with the Pod
    #[arg(long)]
    pub(crate) allow_ephemeral: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// Compare only the items that belong into this vault of the server, by its name or id
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: Option<String>,
    #[command(flatten)]
    pub(crate) mapping: Mapping,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
