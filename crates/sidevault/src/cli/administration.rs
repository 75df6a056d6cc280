//! The arguments of commands for a server's administrator: `token`, `vault`, `doctor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::duration::parse_expiry;
use crate::grants::Grant;

/// Where a server's data and keys are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// The data directory [default: the daemons' ($XDG_DATA_HOME/.op/data), or quickstart's if only that one exists]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The credentials: a path, JSON or base64 [default: OP_SESSION, or 1password-credentials.json in the data
    /// directory, or in the current one]
    #[arg(long, value_name = "FILE")]
    pub(crate) session: Option<String>,
}

/// The commands of `token`.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it
    ///
    /// Neither the server nor the vault needs to exist yet: a vault's id is computed from its name. If the store can't be
    /// read here, the token opens the first vault of that name.
    #[command(after_help = TOKEN_EXAMPLES)]
    Create(TokenCreate),
    /// List the tokens that the store knows
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the server refuse tokens from now on
    ///
    /// The store records the revocation; a store that is lost loses it. A revocation list (--file) is a file apart from the
    /// store. The api refuses a token that either of them names.
    Revoke {
        /// The tokens' names or ids (jti)
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
        /// Add the tokens to this revocation list instead of the store; a missing file is made
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Print the tokens that are revoked in the store, as a revocation list
    Revoked {
        /// Add the tokens to this revocation list, too; a missing file is made
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Show what a token grants, and whether the server would accept it
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

const TOKEN_EXAMPLES: &str = "\
Examples:
  sidevault token create ci --vault secrets=read --expires 90d
  sidevault token create eso --vault secrets=read --vault apps=read,write --issuer keys/issuer.json --out keys/token";

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// The token's name, in logs and lists
    pub(crate) name: String,
    /// A vault and the token's rights in it: read, write, or read,write; may be given more than once
    #[arg(long = "vault", value_name = "NAME=RIGHTS", required = true)]
    pub(crate) grants: Vec<Grant>,
    /// When the token expires: 12h, 90d, never
    #[arg(long, default_value = "never", value_parser = parse_expiry, value_name = "WHEN")]
    pub(crate) expires: ExpiresIn,
    /// The issuer file [default: ./issuer.json, or the data directory's]
    #[arg(long, value_name = "FILE")]
    pub(crate) issuer: Option<PathBuf>,
    /// Write the token to this new file, readable for you only, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Look for no server on this machine: the token is for a server elsewhere
    #[arg(long, conflicts_with_all = ["data", "session"])]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `None`: never. The alias keeps clap from reading `Option` as an argument that may be left out.
pub(crate) type ExpiresIn = std::option::Option<std::time::Duration>;

/// The commands of `store`.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Make an empty store
    ///
    /// sync makes one when it starts. This command is for a deployment where sync may not change the schema.
    Init {
        #[command(flatten)]
        place: Place,
    },
    /// Say which store this is, and whether it can be read with these keys
    Check {
        #[command(flatten)]
        place: Place,
    },
    /// Bring the store's schema up to date
    ///
    /// sync does so when it starts. No sync may be writing to the store.
    Migrate {
        #[command(flatten)]
        place: Place,
    },
    /// Copy the store to another database, and compare both row by row
    ///
    /// No sync may be writing to either. The original stays as it is. After an interruption, the same command goes on where it
    /// stopped. Both are a data directory, a URL (postgres://...), or a file that holds a URL.
    #[command(after_help = MOVE_EXAMPLES)]
    Move {
        /// Where to copy to: an empty database, or a directory without a store
        #[arg(long, value_name = "STORE")]
        to: String,
        /// Where to copy from [default: SIDEVAULT_STORE, or the data directory]
        #[arg(long, value_name = "STORE")]
        from: Option<String>,
        #[command(flatten)]
        place: Place,
    },
}

const MOVE_EXAMPLES: &str = "\
Examples:
  sidevault store move --to postgres://sidevault@db.example/vaults
  sidevault store move --from url.txt --to /home/opuser/.op/data";

/// The commands of `vault`.
#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// Make a local vault
    Create {
        /// The vault's name
        name: String,
        /// What the vault is for
        #[arg(long)]
        description: Option<String>,
        /// Make the vault even on a disk that is lost with the Pod
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
        /// The vault's name or id
        old: String,
        /// The new name
        new: String,
        #[command(flatten)]
        place: Place,
    },
    /// Delete a local vault and everything in it, for good
    ///
    /// Asks for confirmation on a terminal; elsewhere --yes is needed.
    Delete {
        /// The vault's name or id
        name: String,
        /// Delete without asking
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidevault doctor
  sidevault doctor -f manifests/
  sidevault doctor -f manifests/ --fix corrected/")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Check these manifests, or those in these directories, instead of the server
    ///
    /// With OP_CONNECT_HOST and OP_CONNECT_TOKEN, the vaults, items and fields that they name are looked up too.
    #[arg(short, long = "file", value_name = "PATH", num_args = 1..)]
    pub(crate) files: Vec<PathBuf>,
    /// Write the manifests that can be corrected into this directory
    #[arg(long, value_name = "DIR", requires = "files")]
    pub(crate) fix: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

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
