//! The arguments of `quickstart`, `init` and `sync`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use sidevault_sync::DirectorySource;
use sidevault_sync::backup::{BackupError, BackupSchedule, Place, Recipient, Retention};

use crate::duration;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::recovery::Sharing;

/// Arguments of `quickstart`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("files").args(["dirs", "repositories"]).multiple(true)))]
pub(crate) struct Quickstart {
    /// Serve the files in this directory; may be given more than once. NAME is the vault of the files at the top of the
    /// directory; the default is the directory's name. Each sub-directory is a vault of its own name
    #[arg(long = "dir", value_name = "[NAME=]PATH", value_parser = directory)]
    pub(crate) dirs: Vec<Directory>,
    /// Let clients change the files in --dir and --git over the API. For --git, each change is a commit that is pushed to the branch
    #[arg(long, requires = "files")]
    pub(crate) writable: bool,
    /// Serve the files of this Git repository, and follow it; may be given more than once. NAME is the vault of the files at
    /// the top; the default is the repository's name. REF is a branch, a tag or a commit, PATH a directory of the repository
    #[arg(long = "git", value_name = "[NAME=]URL[#REF[:PATH]]", value_parser = repository)]
    pub(crate) repositories: Vec<Repository>,
    /// A file with a token that the repositories in --git may be read with, and with --writable changed
    #[arg(long, value_name = "FILE")]
    pub(crate) git_token_file: Option<PathBuf>,
    /// Have a local vault with this name; may be given more than once
    #[arg(long = "vault", value_name = "NAME")]
    pub(crate) vaults: Vec<String>,
    /// Where keys and data are kept [default: ~/.local/share/sidevault]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// The IP address to listen on, or localhost
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS", value_parser = bind_address)]
    pub(crate) bind: IpAddr,
    /// Keep nothing: keys and data are deleted when the process ends
    #[arg(long, conflicts_with = "data")]
    pub(crate) ephemeral: bool,
    /// Use the published development keys, so that token, vault ids and the sample item's password are the same in every
    /// run; implies --ephemeral
    #[arg(long, conflicts_with = "data")]
    pub(crate) dev_token: bool,
    /// A file of age keys that open the files in --dir and --git; may be given more than once
    #[arg(long = "age-key-file", value_name = "FILE")]
    pub(crate) age_key_files: Vec<PathBuf>,
    /// Print one line of JSON, with url, token and vaults, instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the token to this file, too; `-` prints the token and nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) token_out: Option<PathBuf>,
}

/// The commands of `source`.
#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// Show what the files of a directory would become
    ///
    /// Reads the directory as sync would, and writes nothing: a table of files, vaults, titles and labels, never values; then what is left
    /// out and by which rule, titles that several items have, files of Flux, Kustomize and others that say
    /// how secrets are used, plaintext that looks like a secret in a tree whose secrets are encrypted, and files that can't be served, each with the reason.
    Preview {
        /// The directory; NAME is the vault of the files at its top. With --config: a source, or a source and another directory for it
        #[arg(value_name = "[NAME=]DIR", value_parser = directory)]
        directory: Directory,
        /// Read the directory with the settings of a source in this sources file. The argument is then NAME, the source's name, or
        /// NAME=DIR, which reads DIR in place of the source's directory
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// A file of age keys that open the files, besides those that `sops` finds; may be given more than once
        #[arg(long = "age-key-file", value_name = "FILE")]
        age_key_files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Exit with 7 if a file can't be served, several items have one title, or plaintext looks like a secret
        #[arg(long)]
        strict: bool,
    },
}

/// The commands of `sops`.
#[derive(Debug, Subcommand)]
pub(crate) enum Sops {
    /// Check that files are encrypted as `.sops.yaml` says
    ///
    /// Shows to which keys each encrypted file is encrypted, without decrypting anything, and compares files with the creation rules of
    /// the nearest `.sops.yaml` at or above them. The exit status is 7 if a file should be encrypted and is plaintext, an encrypted file
    /// has values that someone added in plaintext, its keys or its rule are not those of `.sops.yaml`, or it is damaged.
    #[command(after_help = SOPS_CHECK_EXAMPLES)]
    Check {
        /// Directories and files. Of a directory, files that `.gitignore` names are left out
        #[arg(value_name = "PATH", default_value = ".")]
        paths: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const SOPS_CHECK_EXAMPLES: &str = "\
Examples:
  sidevault sops check
  sidevault sops check kubernetes/apps --json
  git diff --cached --name-only -z | xargs -0r sidevault sops check     # before a commit";

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory for the two files
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Lock the credentials with the passphrase in this file
    #[arg(long, value_name = "FILE", env = "SIDEVAULT_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Also write recovery.age, a copy of both files that this age recipient (age1…) can decrypt; may be given more than once
    #[arg(long = "recovery", value_name = "RECIPIENT", value_parser = super::age_recipient)]
    pub(crate) recovery: Vec<age::x25519::Recipient>,
    /// Also write recovery.age, and print N shares, of which any K together decrypt it
    #[arg(long, value_name = "K/N")]
    pub(crate) recovery_shares: Option<Sharing>,
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Serve the files in this directory; may be given more than once. NAME is the vault of the files at the top of the
    /// directory; the default is the directory's name. Each sub-directory is a vault of its own name
    #[arg(long = "dir", value_name = "[NAME=]PATH", value_parser = directory)]
    pub(crate) dirs: Vec<Directory>,
    /// Serve the files of this Git repository, and follow it; may be given more than once. NAME is the vault of the files at
    /// the top; the default is the repository's name. REF is a branch, a tag or a commit, PATH a directory of the repository
    #[arg(long = "git", value_name = "[NAME=]URL[#REF[:PATH]]", value_parser = repository)]
    pub(crate) repositories: Vec<Repository>,
    /// A file with a token that the repositories in --git may be read with
    #[arg(long, value_name = "FILE")]
    pub(crate) git_token_file: Option<PathBuf>,
    /// A file of age keys that open the files in --dir and --git, besides those that `sops` finds; may be given more than once
    #[arg(long = "age-key-file", value_name = "FILE")]
    pub(crate) age_key_files: Vec<PathBuf>,
    /// The sources file [default: the file that SIDEVAULT_SYNC_CONFIG names]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Have a local vault with this name; may be given more than once
    #[arg(long = "vault", value_name = "NAME")]
    pub(crate) vaults: Vec<String>,
    /// Make local vaults even on a disk that is lost with the Pod
    #[arg(long)]
    pub(crate) allow_ephemeral: bool,
    /// Make backups in this directory, or in s3://BUCKET/PREFIX, as `sidevault backup` does
    #[arg(long, value_name = "PATH")]
    pub(crate) backup_to: Option<PathBuf>,
    /// The time from one backup to the next: 15m, 1h, 1d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = backup_interval)]
    pub(crate) backup_every: Duration,
    /// Also send each second's changes to --backup-to, so that `sidevault restore --at TIME` brings back any second
    #[arg(long, requires = "backup_to")]
    pub(crate) backup_continuous: bool,
    /// Delete older backups, but for the newest of each of the last 7 days, 4 weeks and 12 months, for example
    #[arg(long, value_name = "7d,4w,12m")]
    pub(crate) backup_keep: Option<Retention>,
    /// Encrypt the backups so that these age keys can decrypt them, separated by commas
    #[arg(long, value_name = "RECIPIENTS", value_delimiter = ',')]
    pub(crate) backup_age_recipients: Vec<Recipient>,
}

impl Sync {
    /// When and where backups are made. None without a place. `data` is the data directory.
    pub(crate) fn backup(&self, data: &Path, environment: &Environment) -> Result<Option<BackupSchedule>, BackupError> {
        let Some(to) = &self.backup_to else { return Ok(None) };
        let variable = |name: &str| environment.get(name).map(str::to_owned);
        Ok(Some(BackupSchedule {
            place: Place::of(to, data, &variable)?,
            every: self.backup_every,
            keep: self.backup_keep,
            recipients: self.backup_age_recipients.clone(),
            is_continuous: self.backup_continuous,
        }))
    }
}

/// The shortest time from one backup to the next.
const SHORTEST_BACKUP_INTERVAL: Duration = Duration::from_secs(1);

fn backup_interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text).map_err(|error| error.to_string())?;
    match interval >= SHORTEST_BACKUP_INTERVAL {
        true => Ok(interval),
        false => Err("a second or more".to_owned()),
    }
}

/// The value of `--dir`: `PATH` or `NAME=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) name: Option<String>,
    pub(crate) path: PathBuf,
}

impl Directory {
    /// The directory as a source of sync.
    pub(crate) fn source(&self, age_key_files: &[PathBuf]) -> DirectorySource {
        let mut source = DirectorySource::new(&self.path);
        if let Some(name) = &self.name {
            source.name.clone_from(name);
        }
        source.age_key_files = age_key_files.to_vec();
        source
    }
}

/// Reads `[NAME=]PATH`. A path that exists is taken whole, so that a directory may have `=` in its name.
pub(super) fn directory(text: &str) -> Result<Directory, &'static str> {
    let whole = || Directory {
        name: None,
        path: PathBuf::from(text),
    };
    match text.split_once('=') {
        Some((name, path)) if !name.contains('/') && !PathBuf::from(text).is_dir() => {
            if name.trim().is_empty() || path.is_empty() {
                return Err("write a path, or the vault's name, `=` and the path: git=./secrets");
            }
            Ok(Directory {
                name: Some(name.to_owned()),
                path: PathBuf::from(path),
            })
        }
        _ => Ok(whole()),
    }
}

/// The value of `--git`: `URL[#REF[:PATH]]` or `NAME=URL[#REF[:PATH]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) name: Option<String>,
    pub(crate) url: String,
}

impl Repository {
    /// The repository as a source of sync.
    pub(crate) fn source(
        &self,
        token_file: Option<&Path>,
        age_key_files: &[PathBuf],
    ) -> Result<DirectorySource, Failure> {
        let source = DirectorySource::of_git_argument(&self.url, token_file);
        let mut source = source.map_err(|error| Failure::Config(format!("--git: {error}")))?;
        if let Some(name) = &self.name {
            source.name.clone_from(name);
        }
        source.age_key_files = age_key_files.to_vec();
        Ok(source)
    }
}

/// Reads `[NAME=]URL`. A name has no `:` and no `/`, which every URL has.
fn repository(text: &str) -> Result<Repository, &'static str> {
    let named = text.split_once('=').filter(|(name, _)| !name.contains([':', '/', '#']));
    let (name, url) = match named {
        Some((name, url)) => (Some(name), url),
        None => (None, text),
    };
    if url.is_empty() || name.is_some_and(|name| name.trim().is_empty()) {
        return Err(
            "write a URL, or the vault's name, `=` and the URL: --git cluster=https://git.example/home/cluster.git#main",
        );
    }
    Ok(Repository {
        name: name.map(str::to_owned),
        url: url.to_owned(),
    })
}

fn bind_address(text: &str) -> Result<IpAddr, &'static str> {
    match text {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        text => text
            .parse()
            .map_err(|_| "write an IP address of this machine, 0.0.0.0 for all of them, or localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_may_have_a_name_of_its_own() {
        let parsed = directory("git=./secrets").unwrap();
        assert_eq!(
            (parsed.name.as_deref(), parsed.path),
            (Some("git"), PathBuf::from("./secrets"))
        );
        for whole in ["secrets", "./a=b", "/srv/a=b"] {
            assert_eq!(directory(whole).unwrap().path, PathBuf::from(whole));
        }
        assert!(directory("=secrets").is_err() && directory("git=").is_err());
        let root = tempfile::tempdir().unwrap();
        let odd = root.path().join("a=b");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(directory(odd.to_str().unwrap()).unwrap().path, odd);
    }

    #[test]
    fn a_repository_may_have_a_name_of_its_own() {
        let parsed = |text: &str| repository(text).unwrap();
        let named = parsed("home=https://git.example/c.git#main:a=b");
        assert_eq!(
            (named.name.as_deref(), named.url.as_str()),
            (Some("home"), "https://git.example/c.git#main:a=b")
        );
        for whole in ["https://git.example/c.git?x=y", "git@host:c.git", "/srv/a=b"] {
            assert_eq!((parsed(whole).name, parsed(whole).url.as_str()), (None, whole));
        }
        assert!(repository("=https://h/x").is_err() && repository("home=").is_err());
    }

    #[test]
    fn localhost_is_an_address_to_listen_on() {
        assert_eq!(bind_address("localhost").unwrap(), Ipv4Addr::LOCALHOST);
        assert_eq!(bind_address("::1").unwrap(), std::net::Ipv6Addr::LOCALHOST);
        assert!(bind_address("example.com").is_err());
    }
}
