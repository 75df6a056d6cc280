//! The arguments of `migrate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StoreReference;
use crate::server::Connection;

/// Arguments of `migrate`.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(subcommand)]
    pub(crate) command: MigrateCommand,
}

/// The commands of `migrate`.
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Make items of Kubernetes Secrets, and print the ExternalSecrets that make the same Secrets
    ///
    /// The Secrets are those of a namespace, which kubectl reads, or those of a file. A file may be encrypted with SOPS. An item that is
    /// there already with the same values is used as it is, so the command can be run again. If an item of the same title has other
    /// values, nothing is changed.
    #[command(after_help = EXAMPLES)]
    K8s(MigrateK8s),
}

const EXAMPLES: &str = "\
Examples:
  sidevault migrate k8s -n database --vault apps > external-secrets.yaml
  sidevault migrate k8s -f legacy-secret.sops.yaml --age-key-file age-key.txt --vault apps | kubectl apply -f -
  kubectl get secret -n database db -o yaml | sidevault migrate k8s -f - --vault apps";

/// Arguments of `migrate k8s`.
#[derive(Debug, Args)]
pub(crate) struct MigrateK8s {
    /// Read the Secrets of this namespace with kubectl, from the cluster that KUBECONFIG chooses
    #[arg(
        short,
        long,
        value_name = "NAMESPACE",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    pub(crate) namespace: Option<String>,
    /// Read the Secrets of this file, YAML or JSON; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Only the Secret with this name; may be given more than once
    #[arg(long = "name", value_name = "SECRET")]
    pub(crate) names: Vec<String>,
    /// The name or id of the vault that gets the items
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: String,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// The age keys for a file that SOPS encrypted [default: SOPS_AGE_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) age_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) store: StoreReference,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
