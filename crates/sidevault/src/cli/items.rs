//! The arguments of `item`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::server::{Directory, directory};
use crate::fields::FieldText;
use crate::server::Connection;

/// The vault that the item is in.
#[derive(Debug, Args)]
pub(crate) struct InVault {
    /// The vault's name or id
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: String,
}

/// Arguments of `item`.
#[derive(Debug, Args)]
pub(crate) struct Item {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: ItemCommand,
}

/// The commands of `item`.
#[derive(Debug, Subcommand)]
pub(crate) enum ItemCommand {
    /// List a vault's items
    List(ItemList),
    /// Show an item, or one of its fields
    Get {
        /// The item's title or id
        item: String,
        #[command(flatten)]
        vault: InVault,
        /// Print the value of this field and nothing else: LABEL or SECTION.LABEL
        #[arg(long, value_name = "LABEL", conflicts_with = "json")]
        field: Option<String>,
        /// Print the current one-time password and nothing else
        #[arg(long, conflicts_with_all = ["json", "field"])]
        otp: bool,
        /// Show concealed values too
        #[arg(long)]
        reveal: bool,
        /// Show the item as it was in this version
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        /// Print JSON, with every value
        #[arg(long)]
        json: bool,
    },
    /// Make an item
    Create(ItemCreate),
    /// Change an item
    Edit(ItemEdit),
    /// Delete an item with its history, for good
    ///
    /// Asks for confirmation on a terminal; elsewhere --yes is needed.
    Delete {
        /// The item's title or id
        item: String,
        #[command(flatten)]
        vault: InVault,
        /// Delete without asking
        #[arg(long)]
        yes: bool,
    },
    /// List an item's versions
    History {
        /// The item's title or id
        item: String,
        #[command(flatten)]
        vault: InVault,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what uses an item: what breaks if its values change
    ///
    /// Names the ExternalSecrets that read the item, the Secrets made of it and the workloads that use these, the PushSecrets, the
    /// tokens that read it, and the files it comes from. The command never prints a value. kubectl reads the cluster, with the rights of
    /// KUBECONFIG. The exit status is 0 only if everything that was asked for could be looked at.
    #[command(after_help = USES_HELP)]
    Uses(ItemUses),
    /// Make a new version with the content of an earlier one
    Restore {
        /// The item's title or id
        item: String,
        #[command(flatten)]
        vault: InVault,
        /// The version whose content is wanted
        #[arg(long, value_name = "N")]
        version: u32,
    },
}

/// The syntax of `--field`, for `--help` and the manual page.
const FIELD_HELP: &str = "\
Fields:
  label=value              text; username, password and notesPlain get their purpose
  section.label=value      a field in a section; a dot in a name is written \\.
  label=-                  the value is read from standard input; on a terminal it is not shown
  label=@file              the value is the file's content; a value that begins with @: \\@
  label[type]=value        string, concealed, email, url, otp, date, month_year, phone, ...
  label[generate]=         a new value of 32 characters
  label[generate]=letters,digits,20
                           by this recipe: letters, digits, symbols, a length
  label[delete]=           edit only: removes the field
Other users of this machine can see values on the command line. They can't see those of `-`,
`@file` and --from-file.";

const USES_HELP: &str = "\
Examples:
  sidevault item uses apps/db
  sidevault item uses apps/db -n web --json
  kubectl port-forward -n external-secrets deploy/external-secrets 8090:8080 &
  sidevault item uses apps/db --operator http://localhost:8090 --operator-token-file <(kubectl create token me)
  sidevault item uses infra/plex/secret --no-cluster --dir ./cluster

A value in a Pod's environment changes when the Pod is started again; a value in a volume changes by itself.
The operator restarts workloads if it is told to (operator.1password.io/auto-restart).";

/// Arguments of `item uses`.
#[derive(Debug, Args)]
pub(crate) struct ItemUses {
    /// The item, as VAULT/ITEM: names or ids
    #[arg(value_name = "VAULT/ITEM")]
    pub(crate) item: String,
    /// Look at this namespace of the cluster only
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "no_cluster")]
    pub(crate) namespace: Option<String>,
    /// The context of KUBECONFIG that names the cluster [default: the current one]
    #[arg(long, value_name = "CONTEXT", conflicts_with = "no_cluster")]
    pub(crate) context: Option<String>,
    /// Also ask the operator which ExternalSecrets have read the item, at this address of its metrics
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "no_cluster",
        requires = "operator_token_file"
    )]
    pub(crate) operator: Option<String>,
    /// A file with a token of a Kubernetes account that may list all ExternalSecrets, which the operator asks for
    #[arg(long, value_name = "FILE", requires = "operator")]
    pub(crate) operator_token_file: Option<PathBuf>,
    /// Look at no cluster
    #[arg(long)]
    pub(crate) no_cluster: bool,
    /// Look for the item in the files of this directory, as a source reads them; may be given more than once. NAME is the vault of
    /// the files at its top
    #[arg(long = "dir", value_name = "[NAME=]DIR", value_parser = directory)]
    pub(crate) directories: Vec<Directory>,
    /// A file of age keys that open the files, besides those that `sops` finds; may be given more than once
    #[arg(long = "age-key-file", value_name = "FILE", requires = "directories")]
    pub(crate) age_key_files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `item list`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: sidevault item list --vault secrets --filter 'title sw \"db-\" and not tag eq \"old\"'"
)]
pub(crate) struct ItemList {
    #[command(flatten)]
    pub(crate) vault: InVault,
    /// Only items that have this tag; may be given more than once: items that have all of them
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Only items of this category: LOGIN, API_CREDENTIAL, ...
    #[arg(long)]
    pub(crate) category: Option<String>,
    /// Only items that this filter selects, as in the REST API's `filter`
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `item create`.
#[derive(Debug, Args)]
#[command(after_help = FIELD_HELP)]
pub(crate) struct ItemCreate {
    #[command(flatten)]
    pub(crate) vault: InVault,
    /// The item's title
    #[arg(long, required_unless_present = "from_file")]
    pub(crate) title: Option<String>,
    /// The item's category: LOGIN, PASSWORD, API_CREDENTIAL, DATABASE, SERVER, SECURE_NOTE, ... [default: LOGIN]
    #[arg(long)]
    pub(crate) category: Option<String>,
    /// A tag; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A web address; may be given more than once
    #[arg(long = "url", value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// A field; may be given more than once
    #[arg(long = "field", value_name = "LABEL=VALUE")]
    pub(crate) fields: Vec<FieldText>,
    /// An item as JSON, to which the other arguments add; `-` reads it from standard input. The JSON of `op item get
    /// --format json` is understood, too
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,
    /// Print the new item as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `item edit`.
#[derive(Debug, Args)]
#[command(after_help = FIELD_HELP)]
pub(crate) struct ItemEdit {
    /// The item's title or id
    pub(crate) item: String,
    #[command(flatten)]
    pub(crate) vault: InVault,
    /// The new title
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// The new category: LOGIN, PASSWORD, API_CREDENTIAL, DATABASE, SERVER, SECURE_NOTE, ...
    #[arg(long)]
    pub(crate) category: Option<String>,
    /// A tag; may be given more than once. These tags replace all earlier ones
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A web address; may be given more than once. These addresses replace all earlier ones
    #[arg(long = "url", value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// A field to change or add; may be given more than once
    #[arg(long = "field", value_name = "LABEL=VALUE")]
    pub(crate) fields: Vec<FieldText>,
    /// An item as JSON that replaces everything but the files; `-` reads it from standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["title", "category", "tags", "urls", "fields"])]
    pub(crate) from_file: Option<PathBuf>,
    /// Print the item as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
