//! What an administrator asks of their own server: tokens, vaults, and what is wrong.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::duration::parse_expiry;
use crate::grants::Grant;

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
    /// Neither the server nor the vault needs to exist yet: a vault's id is computed from its name. Without a store to look
    /// into, the token opens the first vault of that name.
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
    /// Have the server refuse tokens from now on
    ///
    /// The store records the revocation; a store that is lost loses it. A revocation list (--file) is a file apart from the
    /// store. The api refuses a token that either of them names.
    Revoke {
        /// The tokens' names or ids (jti)
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
        /// Add the tokens to this revocation list instead of asking the server; a missing file is made
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

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
