//! What is asked of items, of any server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::fields::FieldArgument;

/// Which vault, by name or id.
#[derive(Debug, Args)]
pub(crate) struct InVault {
    /// The vault's name or id
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: String,
}

/// What to do with items.
#[derive(Debug, Subcommand)]
pub(crate) enum Item {
    /// List a vault's items
    List {
        #[command(flatten)]
        vault: InVault,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an item, or one of its fields
    Get {
        /// Its title or id
        item: String,
        #[command(flatten)]
        vault: InVault,
        /// Print this field's value and nothing else
        #[arg(long, value_name = "LABEL", conflicts_with = "json")]
        field: Option<String>,
        /// Show concealed values too
        #[arg(long)]
        reveal: bool,
        /// As it was in this version
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
    Delete {
        /// Its title or id
        item: String,
        #[command(flatten)]
        vault: InVault,
    },
    /// List an item's versions
    History {
        /// Its title or id
        item: String,
        #[command(flatten)]
        vault: InVault,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new version with the content of an earlier one
    Restore {
        /// Its title or id
        item: String,
        #[command(flatten)]
        vault: InVault,
        /// The version whose content is wanted
        #[arg(long, value_name = "N")]
        version: u32,
    },
}

/// What the manual says of `--field`.
const FIELD_HELP: &str = "\
Fields:
  label=value                    text; username, password and notesPlain are what they say
  label[type]=value              string, concealed, email, url, otp, date, month_year, phone, ...
  label[generate]=               a new value of 32 characters
  label[generate]=letters,digits,20   by this recipe: letters, digits, symbols, a length
  label[delete]=                 edit only: takes the field away
Values on the command line can be seen by other users of this machine; --from-file can't.";

/// Arguments of `item create`.
#[derive(Debug, Args)]
#[command(after_help = FIELD_HELP)]
pub(crate) struct ItemCreate {
    #[command(flatten)]
    pub(crate) vault: InVault,
    /// Its title
    #[arg(long, required_unless_present = "from_file")]
    pub(crate) title: Option<String>,
    /// What it is: LOGIN, PASSWORD, API_CREDENTIAL, DATABASE, SERVER, SECURE_NOTE, ... [default: LOGIN]
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
    pub(crate) fields: Vec<FieldArgument>,
    /// An item as JSON, to which the other arguments add; `-` is standard input
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
    /// Its title or id
    pub(crate) item: String,
    #[command(flatten)]
    pub(crate) vault: InVault,
    /// Its new title
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// A tag it has then; may be given more than once and replaces all tags
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A field to change or add; may be given more than once
    #[arg(long = "field", value_name = "LABEL=VALUE")]
    pub(crate) fields: Vec<FieldArgument>,
    /// An item as JSON that replaces everything but the files; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["title", "tags", "fields"])]
    pub(crate) from_file: Option<PathBuf>,
    /// Print the item as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
