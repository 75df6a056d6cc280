//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::duration::parse_expiry;
use crate::exit::EXIT_STATUS;
use crate::fields::FieldArgument;
use crate::grants::Grant;

/// A self-hosted server that speaks the 1Password Connect API.
#[derive(Debug, Parser)]
#[command(
    name = "sidevault",
    version,
    arg_required_else_help = true,
    after_long_help = EXIT_STATUS,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run api and sync in one process, with a token ready to use
    Quickstart(Quickstart),
    /// Make the keys of a new server: 1password-credentials.json and issuer.json
    Init(Init),
    /// Run the api: serves reads, sends writes to sync
    ///
    /// Configured by Connect's environment variables: OP_SESSION, OP_HTTP_PORT (8080), OP_HTTPS_PORT (8443),
    /// OP_LOG_LEVEL, OP_BUS_PORT (11220), OP_BUS_PEERS, OP_SYNC_TIMEOUT (10s), OP_TLS_CERT_FILE, OP_TLS_KEY_FILE,
    /// OP_MAX_INLINE_FILE_SIZE_KB (100), XDG_DATA_HOME; and by SIDEVAULT_PASSPHRASE_FILE and
    /// SIDEVAULT_LOG_FORMAT=json|human.
    #[command(version)]
    Api,
    /// Run sync: reads the sources, and is the only one that writes
    ///
    /// Configured by Connect's environment variables: OP_SESSION, OP_HTTP_PORT (8081), OP_LOG_LEVEL, OP_BUS_PORT,
    /// OP_BUS_PEERS (localhost:11220), XDG_DATA_HOME; and by SIDEVAULT_SYNC_CONFIG, SIDEVAULT_PASSPHRASE_FILE and
    /// SIDEVAULT_LOG_FORMAT=json|human.
    #[command(version)]
    Sync(Sync),
    /// Make, list, revoke and read access tokens
    #[command(subcommand)]
    Token(Token),
    /// Make, list, rename and delete local vaults
    #[command(subcommand)]
    Vault(Vault),
    /// Read and change items through a Connect server
    ///
    /// The server and the token are OP_CONNECT_HOST and OP_CONNECT_TOKEN (or the file SIDEVAULT_TOKEN_FILE names);
    /// without them, those of the last `sidevault quickstart`.
    #[command(subcommand)]
    Item(Item),
    /// Look for what is wrong, and say how to put it right
    Doctor(Doctor),
    /// Print a shell's completion script
    Completion {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, or write all of them
    Man {
        /// Write one page a command into this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Arguments of `quickstart`.
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Serve the files in this directory; may be given more than once
    #[arg(long = "dir", value_name = "PATH")]
    pub(crate) dirs: Vec<PathBuf>,
    /// Have a local vault with this name; may be given more than once
    #[arg(long = "vault", value_name = "NAME")]
    pub(crate) vaults: Vec<String>,
    /// Where keys and data are kept [default: ~/.local/share/sidevault]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) bind: IpAddr,
    /// Keep nothing: keys and data go when the process ends
    #[arg(long, conflicts_with = "data")]
    pub(crate) ephemeral: bool,
    /// Use the published development keys, so that token and vault ids are the same in every run; implies --ephemeral
    #[arg(long, conflicts_with = "data")]
    pub(crate) dev_token: bool,
    /// A file of age keys for the files in --dir
    #[arg(long, value_name = "FILE")]
    pub(crate) age_key_file: Option<PathBuf>,
    /// Print one line of JSON instead of words
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the token to this file too; `-` prints nothing but the token
    #[arg(long, value_name = "FILE")]
    pub(crate) token_out: Option<PathBuf>,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where the two files go
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Lock the credentials with the passphrase in this file
    #[arg(long, value_name = "FILE", env = "SIDEVAULT_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Serve the files in this directory; may be given more than once
    #[arg(long = "dir", value_name = "PATH")]
    pub(crate) dirs: Vec<PathBuf>,
    /// The sources file [default: what SIDEVAULT_SYNC_CONFIG names]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Have a local vault with this name; may be given more than once
    #[arg(long = "vault", value_name = "NAME")]
    pub(crate) vaults: Vec<String>,
    /// Make local vaults even where the disk goes with the Pod
    #[arg(long)]
    pub(crate) allow_ephemeral: bool,
}

/// Where a server's data and keys are, for commands to an administrator's own server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// The data directory [default: the daemons', or quickstart's if only that one is there]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The credentials: a path, JSON or base64 [default: OP_SESSION, or 1password-credentials.json in the data
    /// directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) session: Option<String>,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it
    ///
    /// The server needs not run, nor the vault be there yet: a vault's id follows from its name.
    #[command(
        after_help = "Example: sidevault token create eso --vault secrets=read --vault apps=read,write --expires 90d"
    )]
    Create(TokenCreate),
    /// List the tokens the server knows
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the server refuse a token from now on
    Revoke {
        /// Its name or its id (jti)
        token: String,
        #[command(flatten)]
        place: Place,
    },
    /// Show what a token says, and whether the server would believe it
    Inspect {
        /// The token; `-`, or nothing, reads it from standard input
        token: Option<String>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// What to call it, in logs and lists
    pub(crate) name: String,
    /// A vault and what the token may do in it: read, write, or read,write; may be given more than once
    #[arg(long = "vault", value_name = "NAME=RIGHTS", required = true)]
    pub(crate) grants: Vec<Grant>,
    /// When it expires: 12h, 90d, never
    #[arg(long, default_value = "never", value_parser = parse_expiry, value_name = "WHEN")]
    pub(crate) expires: ExpiresIn,
    /// The issuer file [default: ./issuer.json, or the data directory's]
    #[arg(long, value_name = "FILE")]
    pub(crate) issuer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `None`: never. The alias keeps clap from reading `Option` as "may be left out".
pub(crate) type ExpiresIn = std::option::Option<std::time::Duration>;

/// What to do with vaults.
#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// Make a local vault
    Create {
        /// Its name
        name: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// Even where the disk goes with the Pod
        #[arg(long)]
        allow_ephemeral: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List all vaults
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a local vault another name; its id stays
    Rename {
        /// Its name or id
        old: String,
        /// The name it gets
        new: String,
        #[command(flatten)]
        place: Place,
    },
    /// Delete a local vault and everything in it, for good
    Delete {
        /// Its name or id
        name: String,
        /// Yes, really
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
}

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

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_that_never_expires_can_be_asked_for() {
        let expires = |when: &[&str]| {
            let words = ["sidevault", "token", "create", "x", "--vault", "a=read"];
            match Cli::try_parse_from(words.iter().chain(when)).unwrap().command {
                Command::Token(Token::Create(create)) => create.expires,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(expires(&[]), None);
        assert_eq!(expires(&["--expires", "never"]), None);
        assert_eq!(expires(&["--expires", "1d"]).unwrap().as_secs(), 86400);
    }
}
