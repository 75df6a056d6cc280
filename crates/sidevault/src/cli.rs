//! The command line.

mod administration;
mod items;
mod operator;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::exit::EXIT_STATUS;

pub(crate) use administration::{Doctor, Place, Token, TokenCreate, Vault};
pub(crate) use items::{Item, ItemCreate, ItemEdit};
pub(crate) use operator::{Operator, without_ignored};

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
    /// OP_TLS_USE_LETSENCRYPT, OP_TLS_DOMAIN, OP_MAX_INLINE_FILE_SIZE_KB (100), XDG_DATA_HOME (/home/opuser); and by
    /// SIDEVAULT_ACME_DIRECTORY, SIDEVAULT_ACME_CA_FILE, SIDEVAULT_PASSPHRASE_FILE and SIDEVAULT_LOG_FORMAT=json|human.
    #[command(version)]
    Api,
    /// Run sync: reads the sources, and is the only one that writes
    ///
    /// Configured by Connect's environment variables: OP_SESSION, OP_HTTP_PORT (8081), OP_LOG_LEVEL, OP_BUS_PORT,
    /// OP_BUS_PEERS (localhost:11220), XDG_DATA_HOME (/home/opuser); by SIDEVAULT_SYNC_CONFIG, SIDEVAULT_PASSPHRASE_FILE
    /// and SIDEVAULT_LOG_FORMAT=json|human; and by SOPS' own SOPS_AGE_KEY and SOPS_AGE_KEY_FILE, keys for the files.
    #[command(version)]
    Sync(Sync),
    /// Run the operator: external-secrets.io resources become Kubernetes Secrets
    ///
    /// A drop-in for External Secrets' onepassword provider. The API server is the one of KUBECONFIG, or the one of the
    /// Pod it runs in.
    #[command(version)]
    Operator(Box<Operator>),
    /// Make, list, revoke and read access tokens
    #[command(subcommand)]
    Token(Token),
    /// Make, list, rename and delete local vaults
    #[command(subcommand)]
    Vault(Vault),
    /// Read and change items through a Connect server
    ///
    /// The server and the token are OP_CONNECT_HOST and OP_CONNECT_TOKEN (or the file SIDEVAULT_TOKEN_FILE names);
    /// without them, those of the last `sidevault quickstart` that had no --data.
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
