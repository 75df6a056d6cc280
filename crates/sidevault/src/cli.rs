//! The command line.

#[cfg(feature = "server")]
mod administration;
#[cfg(feature = "server")]
mod backup;
#[cfg(feature = "exchange")]
mod exchange;
#[cfg(feature = "exchange")]
mod export;
#[cfg(feature = "server")]
mod items;
#[cfg(feature = "server")]
mod keys;
#[cfg(feature = "exchange")]
mod migrate;
#[cfg(feature = "operator")]
mod operator;
#[cfg(feature = "server")]
mod secrets;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod status;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::exit::exit_status_help;

#[cfg(feature = "server")]
pub(crate) use administration::{Doctor, Place, Store, Token, TokenCreate, Vault};
#[cfg(feature = "server")]
pub(crate) use backup::{Backup, BackupCommand, FromBackup, Restore};
#[cfg(feature = "exchange")]
pub(crate) use exchange::{Import, Reading, Verify};
#[cfg(feature = "exchange")]
pub(crate) use export::{Export, ExportFormat, KubernetesForm, StoreReference};
#[cfg(feature = "server")]
pub(crate) use items::{InVault, Item, ItemCommand, ItemCreate, ItemEdit, ItemList, ItemUses};
#[cfg(feature = "server")]
pub(crate) use keys::{BackupKeys, Keys, RestoreKeys, Rotate, RotateIssuer, RotateRoot};
#[cfg(feature = "exchange")]
pub(crate) use migrate::{Migrate, MigrateCommand, MigrateK8s};
#[cfg(feature = "operator")]
pub(crate) use operator::{Operator, without_ignored};
#[cfg(feature = "server")]
pub(crate) use secrets::{Document, DocumentCommand, Inject, Output, Read, Run};
#[cfg(feature = "server")]
pub(crate) use server::{Directory, Init, Quickstart, Sops, Source, Sync};
#[cfg(feature = "server")]
pub(crate) use status::Status;

/// A self-hosted server that speaks the 1Password Connect API.
#[derive(Debug, Parser)]
#[command(
    name = "sidevault",
    version,
    arg_required_else_help = true,
    after_long_help = exit_status_help(),
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run api and sync in one process, with a token ready to use
    ///
    /// The first run makes keys, a store, a token and a sample item, and prints where they are and how to read the item.
    /// A later run continues with them.
    ///
    /// Environment: XDG_DATA_HOME (~/.local/share), SIDEVAULT_PASSPHRASE_FILE, SIDEVAULT_REVOKED_FILE,
    /// SIDEVAULT_LOW_DISK_MB, SIDEVAULT_HEALTH_DETAILS, SIDEVAULT_UI (true), the variables for age keys, OP_LOG_LEVEL (warn) and
    /// SIDEVAULT_LOG_FORMAT. docs/configuration.md explains them.
    #[cfg(feature = "server")]
    #[command(after_help = QUICKSTART_EXAMPLES)]
    Quickstart(Quickstart),
    /// Make the keys of a new server: 1password-credentials.json and issuer.json
    #[cfg(feature = "server")]
    Init(Init),
    /// Run the api: serves reads, sends writes to sync
    ///
    /// Environment, as Connect's: OP_SESSION (/home/opuser/.op/1password-credentials.json), XDG_DATA_HOME (/home/opuser),
    /// OP_HTTP_PORT (8080), OP_HTTPS_PORT (8443), OP_LOG_LEVEL (info), OP_BUS_PORT (11220), OP_BUS_PEERS, OP_SYNC_TIMEOUT
    /// (10s), OP_MAX_INLINE_FILE_SIZE_KB (100), OP_TLS_CERT_FILE, OP_TLS_KEY_FILE, OP_TLS_USE_LETSENCRYPT and OP_TLS_DOMAIN.
    ///
    /// Sidevault's own: SIDEVAULT_STORE, SIDEVAULT_STORE_CONNECTIONS (5), SIDEVAULT_REPLICA, SIDEVAULT_PASSPHRASE_FILE,
    /// SIDEVAULT_REVOKED_FILE, SIDEVAULT_HEALTH_DETAILS (false), SIDEVAULT_UI (false), SIDEVAULT_ACME_DIRECTORY, SIDEVAULT_ACME_CA_FILE and
    /// SIDEVAULT_LOG_FORMAT=json|human. docs/configuration.md explains all of them.
    #[cfg(feature = "server")]
    #[command(version)]
    Api,
    /// Run sync: reads the sources, and makes all writes
    ///
    /// Environment, as Connect's: OP_SESSION (/home/opuser/.op/1password-credentials.json), XDG_DATA_HOME (/home/opuser),
    /// OP_HTTP_PORT (8081), OP_LOG_LEVEL (info), OP_BUS_PORT and OP_BUS_PEERS (localhost:11220).
    ///
    /// As SOPS': SOPS_AGE_KEY has age keys, SOPS_AGE_KEY_FILE names a file of them, SOPS_AGE_KEY_CMD prints them,
    /// SOPS_AGE_SSH_PRIVATE_KEY_FILE and SOPS_AGE_SSH_PRIVATE_KEY_CMD give an SSH key, and sops/age/keys.txt in
    /// XDG_CONFIG_HOME (~/.config) and the keys in ~/.ssh are read, too. SOPS_AGE_RECIPIENTS has the keys that new files are encrypted to.
    ///
    /// Sidevault's own: SIDEVAULT_STORE, SIDEVAULT_SYNC_CONFIG, SIDEVAULT_PASSPHRASE_FILE, SIDEVAULT_AGE_PASSPHRASE_FILE,
    /// SIDEVAULT_LOW_DISK_MB, SIDEVAULT_HEALTH_DETAILS (false) and SIDEVAULT_LOG_FORMAT=json|human. The variables of the AWS tools are for
    /// backups in buckets. docs/configuration.md explains all of them.
    #[cfg(feature = "server")]
    #[command(version)]
    Sync(Sync),
    /// Run the operator: external-secrets.io resources become Kubernetes Secrets
    ///
    /// A drop-in for External Secrets' onepassword provider. The operator connects to the API server that KUBECONFIG names, or
    /// in a Pod to that of its cluster. POD_NAMESPACE and POD_NAME name the Pod for the Lease and for events.
    #[cfg(feature = "operator")]
    #[command(version)]
    Operator(Box<Operator>),
    /// Make, list, revoke and read access tokens
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Token(Token),
    /// Show the server's keys, and replace them while it serves
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Keys(Keys),
    /// Make, list, rename and delete local vaults
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Vault(Vault),
    /// Look at a directory before sync serves it
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Source(Source),
    /// Check the files that SOPS encrypts
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Sops(Sops),
    /// Make, check, migrate and move the database that holds everything
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Store(Store),
    /// Copy the store into a file while it is served, or check such a file
    ///
    /// The rows in a backup are sealed, as they are in the store: keep the credentials file in another place, because without it
    /// a backup can't be read. Directory vaults are in the backup too, but need none: their files are the original.
    ///
    /// Environment, as the AWS tools': AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL and others
    /// for s3://BUCKET/PREFIX. docs/configuration.md explains all of them.
    #[cfg(feature = "server")]
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(Backup),
    /// Make the store from a backup
    ///
    /// sync must be stopped; the api may run. Every row of the backup is decrypted before anything is changed, and the command
    /// says which changes of the present store the backup has not.
    #[cfg(feature = "server")]
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(Restore),
    /// Write the items of vaults in the format of another program
    ///
    /// The items and files are read from a Connect server, and those that the token may read are written. What the format can't hold is
    /// named on standard error. Archived items, earlier versions and one-time codes are not part of an export.
    #[cfg(feature = "exchange")]
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Export),
    /// Move secrets from where they are into a vault
    #[cfg(feature = "exchange")]
    Migrate(Migrate),
    /// Bring in what another program exported
    ///
    /// Reads 1PUX of 1Password, JSON and ZIP of Bitwarden and Vaultwarden, KDBX of KeePass, CSV of browsers, JSON of `op`, Connect, Vault,
    /// Doppler and Infisical, password stores of passage, and directories of .env files, SOPS files and Secrets. The format is
    /// recognised by the content. Titles, times and states stay, and ids that have Connect's form, so that references to 1Password's
    /// items go on working. The command prints a plan, asks on a terminal, imports, and then compares every item and file with what the
    /// store has. A second run makes nothing twice, and goes on where a killed one ended.
    ///
    /// Run it where sync runs: it needs the data directory and the server's keys.
    #[cfg(feature = "exchange")]
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Import),
    /// Compare an export with what a Connect server returns
    ///
    /// Compares every item, field, tag, time and file, by its digest. The exit status is 7 if something differs or is missing. No value
    /// is printed.
    #[cfg(feature = "exchange")]
    Verify(Verify),
    /// Read and change items through a Connect server
    ///
    /// OP_CONNECT_HOST and OP_CONNECT_TOKEN (or the file that SIDEVAULT_TOKEN_FILE names) choose the server and the token.
    /// Without these variables, the commands ask the last `sidevault quickstart` that ran without --data and --ephemeral.
    #[cfg(feature = "server")]
    Item(Item),
    /// Print the value of a secret reference: op://VAULT/ITEM/[SECTION/]FIELD
    #[cfg(feature = "server")]
    Read(Read),
    /// Run a command with the values of secret references in its environment
    ///
    /// Every variable whose value is a secret reference, in the environment and in the env files, is replaced by the value before the
    /// command starts. If one of them has no value, the command does not start. The values are masked in the command's output.
    #[cfg(feature = "server")]
    Run(Run),
    /// Replace the secret references in a template by their values
    #[cfg(feature = "server")]
    Inject(Inject),
    /// Print the content of a document or of an item's file
    #[cfg(feature = "server")]
    Document(Document),
    /// Understand the command line of 1Password's `op`, for programs that call it
    ///
    /// `sidevault op read REF` does what `op read REF` does with a Connect server, with the same output and the same errors. It is the
    /// same if the program is called `op`, by a symbolic link. This is an independent implementation, and not 1Password's program.
    #[cfg(feature = "server")]
    #[command(disable_help_flag = true)]
    Op {
        /// The command line, as `op` takes it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Show whether the stores, ExternalSecrets and PushSecrets of a cluster are ready
    ///
    /// `kubectl` reads the cluster that KUBECONFIG names, with your rights. The exit status is 7 if something is not ready. As a plugin of
    /// kubectl, this is `kubectl sidevault status`: kubectl finds this program by the name kubectl-sidevault on the PATH.
    #[cfg(feature = "server")]
    Status(Status),
    /// Find out what is wrong with a server, and what to do about it
    ///
    /// Checks keys, data directory, store, tokens, ports, api and sync. The exit status is 7 if there is a fault, such as a
    /// source with files that can't be served. Warnings do not count.
    #[cfg(feature = "server")]
    Doctor(Doctor),
    /// Print a shell's completion script
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands
    #[command(after_help = "Example: sidevault man | man -l -")]
    Man {
        /// Write one page for each command into this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[cfg(feature = "server")]
const QUICKSTART_EXAMPLES: &str = "\
Examples:
  sidevault quickstart
  sidevault quickstart --dir secrets --age-key-file age-key.txt
  sidevault quickstart --dir git=secrets      # the vault of the files at the top is named git
  sidevault quickstart --ephemeral --json     # for scripts; docs/ci-mode.md";

#[cfg(feature = "server")]
const BACKUP_EXAMPLES: &str = "\
Examples:
  sidevault backup --to /backups/ --keep 7d,4w,12m
  sidevault backup --to - --age-recipient age1... > backup.sqlite.age
  sidevault backup verify /backups";

#[cfg(feature = "exchange")]
const EXPORT_EXAMPLES: &str = "\
Examples:
  sidevault export --vault apps --to 1pux --plaintext -o apps.1pux
  sidevault export --vault apps --to sops --age-recipient age1... -o tree
  sidevault export --vault apps --vault ci --to bitwarden --plaintext -o bitwarden.json
  sidevault export --vault apps --to k8s --as external-secrets -n apps -o external-secrets.yaml";

#[cfg(feature = "server")]
const RESTORE_EXAMPLES: &str = "\
Examples:
  sidevault restore /backups --replace
  sidevault restore /backups --at 2026-11-30T11:59:59Z --replace     # with a continuous backup
  sidevault restore backup.sqlite.age --age-key-file age-key.txt --data /home/opuser/.op/data";

#[cfg(feature = "exchange")]
const IMPORT_EXAMPLES: &str = "\
Examples:
  sidevault import export.1pux --plan
  sidevault import export.1pux --vault-map Private=people --tag from-1password
  sidevault import bitwarden.json --folders tags --vault-map Bitwarden=apps
  op item list --format json | op item get - --format json | sidevault import -
  sidevault verify export.1pux --vault-map Private=people --tag from-1password";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  sidevault completion bash > /etc/bash_completion.d/sidevault
  sidevault completion zsh > \"${fpath[1]}/_sidevault\"
  sidevault completion fish > ~/.config/fish/completions/sidevault.fish";

/// An age recipient on the command line.
#[cfg(feature = "server")]
fn age_recipient(text: &str) -> Result<age::x25519::Recipient, &'static str> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
