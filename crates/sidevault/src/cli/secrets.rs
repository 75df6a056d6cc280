//! The arguments of `read`, `run`, `inject` and `document`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::secrets::output_file::{OutputFile, parse_mode};
use crate::server::Connection;

/// Where a secret is written.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Write to this file instead of standard output; it appears whole or not at all
    #[arg(short, long, value_name = "FILE")]
    out_file: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(short, long)]
    force: bool,
    /// The permissions of the file
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = parse_mode)]
    file_mode: u32,
}

impl Output {
    /// The file, if one is named.
    pub(crate) fn file(&self) -> Option<OutputFile> {
        self.out_file.clone().map(|path| OutputFile {
            path,
            mode: self.file_mode,
            force: self.force,
        })
    }
}

/// Arguments of `read`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidevault read op://secrets/postgres-database/password
  sidevault read 'op://secrets/web/code?attribute=otp'
  sidevault read -o id_ed25519 'op://secrets/deploy/private key?ssh-format=openssh'")]
pub(crate) struct Read {
    /// The secret reference
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
    /// Print no line break after the value
    #[arg(short, long)]
    pub(crate) no_newline: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  DB_PASSWORD=op://secrets/postgres-database/password sidevault run -- ./server
  sidevault run --env-file .env -- docker compose up
The exit status is the command's; 128 and the signal's number if a signal ended it; 127 if the
command does not exist, 126 if it can't be started.")]
pub(crate) struct Run {
    /// A file with NAME=value lines; may be given more than once, and a later file wins
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// Don't look for the values in the command's output
    #[arg(long)]
    pub(crate) no_masking: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Arguments of `inject`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echo 'password: op://secrets/postgres-database/password' | sidevault inject
  sidevault inject -i config.yaml.tpl -o config.yaml
Templates:
  op://VAULT/ITEM/FIELD        up to the first character that is none of letters, digits, -_./?=&
  {{ op://VAULT/ITEM/FIELD }}  names may have spaces
  op://$ENV/ITEM/FIELD         a variable; ${ENV:-dev} has a default
  {{ \"op://text\" }}            this text, and no reference")]
pub(crate) struct Inject {
    /// The template, instead of standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) in_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Arguments of `document`.
#[derive(Debug, Args)]
pub(crate) struct Document {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: DocumentCommand,
}

/// The commands of `document`.
#[derive(Debug, Subcommand)]
pub(crate) enum DocumentCommand {
    /// Print the content of a document
    #[command(after_help = "Example: sidevault document get tls --vault secrets --file tls.crt")]
    Get {
        /// The item's title or id
        item: String,
        #[command(flatten)]
        vault: super::items::InVault,
        /// The name or id of the file, if the item has several
        #[arg(long, value_name = "NAME")]
        file: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}
