//! The arguments of `export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sidevault_sops::SealTo;

use crate::secrets::output_file::OutputFile;
use crate::server::Connection;

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Items as the Connect API has them, with the contents of their files
    Json,
    /// An env file, one line for each field
    Dotenv,
    /// Kubernetes Secrets, one for each item
    K8s,
    /// The JSON that Bitwarden and Vaultwarden import
    Bitwarden,
    /// 1Password's export, with files
    #[value(name = "1pux")]
    OnePux,
    /// A tree of files that SOPS encrypts for age recipients, one for each item, as a directory source reads it
    Sops,
}

/// The objects of `--to k8s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KubernetesForm {
    /// Secrets, with the values
    Secrets,
    /// ExternalSecrets that make the same Secrets, without values
    ExternalSecrets,
}

/// The store that ExternalSecrets refer to.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreReference {
    /// The name of the store that the ExternalSecrets refer to
    #[arg(long, value_name = "NAME", default_value = "onepassword-cluster-store")]
    pub(crate) store: String,
    /// The kind of that store
    #[arg(long, value_name = "KIND", default_value = "ClusterSecretStore", value_parser = ["ClusterSecretStore", "SecretStore"])]
    pub(crate) store_kind: String,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The name or id of a vault; may be given more than once
    #[arg(long = "vault", value_name = "VAULT", required = true)]
    pub(crate) vaults: Vec<String>,
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) to: ExportFormat,
    /// The file to write, with mode 0600; it appears whole or not at all. With --to sops, the directory
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Replace the file if it exists; with --to sops, files of the same names in the directory
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Write the values without encryption
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// Write without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// With --to sops: an age recipient (age1…) or an SSH public key that can decrypt the files; may be given more than once
    #[arg(long = "age-recipient", value_name = "RECIPIENT", required_if_eq("to", "sops"))]
    pub(crate) age_recipients: Vec<SealTo>,
    /// With --to k8s: Secrets, or ExternalSecrets that make them
    #[arg(long = "as", value_enum, value_name = "OBJECTS", default_value = "secrets")]
    pub(crate) form: KubernetesForm,
    /// With --to k8s: the namespace of the objects
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) store: StoreReference,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl Export {
    /// The file to write.
    pub(crate) fn file(&self) -> OutputFile {
        OutputFile {
            path: self.out.clone(),
            mode: 0o600,
            force: self.force,
        }
    }
}
