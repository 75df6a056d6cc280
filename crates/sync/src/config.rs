//! The sources file: what sync reads, and into which vaults.
//!
//! ```yaml
//! history: 20            # versions kept of each item, the present one included
//! sources:
//!   - local:
//!       vaults: [apps]
//!   - directory:
//!       name: gitops     # default: the directory's name
//!       path: /git/current/secrets
//!       vaults: { prod: production }   # other sub-directories keep their names
//!       ageKeyFile: /keys/age.txt
//!       fullCheckSeconds: 30
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sidevault_model::filter;

/// What sync does.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many versions of an item are kept, the present one included. At least 1.
    pub history: u32,
    /// Local vaults that are made if they are not there.
    pub local_vaults: Vec<String>,
    /// A local vault may be made where the disk dies with the Pod.
    pub allow_ephemeral: bool,
    /// Directories that are served.
    pub directories: Vec<DirectorySource>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            history: 20,
            local_vaults: Vec::new(),
            allow_ephemeral: false,
            directories: Vec::new(),
        }
    }
}

/// A tree of files that becomes vaults.
#[derive(Clone, Debug)]
pub struct DirectorySource {
    /// What `/health`, metrics and messages call it.
    pub name: String,
    /// Its root. May be a symbolic link that is swapped, as git-sync does.
    pub path: PathBuf,
    /// Which sub-directory becomes which vault.
    pub vaults: VaultMapping,
    /// A file of age keys, besides SOPS_AGE_KEY and SOPS_AGE_KEY_FILE.
    pub age_key_file: Option<PathBuf>,
    /// How often the whole tree is read although no event came.
    pub full_check: Duration,
}

impl DirectorySource {
    /// The default for everything but the path: named like the directory, one vault a
    /// sub-directory, and one named like the directory for the files at its top.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            name: name_of(&path),
            path,
            vaults: VaultMapping::default(),
            age_key_file: None,
            full_check: Duration::from_secs(30),
        }
    }
}

/// The last part of a path, which need not exist yet.
fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().ok();
    // A swapped link has a name of its own; what it points at is named by a commit.
    let named = if path.file_name().is_some() {
        Some(path)
    } else {
        whole.as_deref()
    };
    named
        .and_then(Path::file_name)
        .map_or_else(|| "secrets".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Which part of a directory becomes which vault.
#[derive(Clone, Debug, Default)]
pub struct VaultMapping {
    /// The whole tree is this one vault.
    pub single: Option<String>,
    /// Names for some sub-directories; the others keep their own.
    pub renamed: BTreeMap<String, String>,
}

impl VaultMapping {
    /// The vault of a sub-directory. A rule for exactly this name goes before one for a name that is the same but for
    /// case and Unicode normalisation: such directories are one vault, and some file systems tell them not apart.
    pub(crate) fn name_for<'a>(&'a self, directory: &'a str) -> &'a str {
        let folded = filter::fold(directory);
        let alike = || self.renamed.iter().find(|(name, _)| filter::fold(name) == folded);
        let renamed = self.renamed.get(directory).or_else(|| alike().map(|(_, vault)| vault));
        renamed.map_or(directory, String::as_str)
    }
}

/// Why a sources file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("sources file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is not what it should be.
    #[error("sources file {path}: {cause}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        cause: String,
    },
}

impl Config {
    /// Reads a sources file. Paths in it are relative to it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        Self::parse(&text, base).map_err(|cause| ConfigError::Invalid {
            path: path.to_owned(),
            cause,
        })
    }

    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let file: SourcesFile = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut config = Self {
            history: file.history,
            ..Self::default()
        };
        if config.history == 0 {
            return Err("history: at least 1 version, the present one, is kept".to_owned());
        }
        for source in file.sources {
            match (source.local, source.directory) {
                (Some(local), None) => {
                    config.local_vaults.extend(local.vaults);
                    config.allow_ephemeral |= local.allow_ephemeral;
                }
                (None, Some(directory)) => config.directories.push(directory.resolve(base)?),
                _ => return Err("each source is either `local:` or `directory:`".to_owned()),
            }
        }
        let mut names: Vec<&str> = config.directories.iter().map(|source| source.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!(
                "two sources are named \"{}\": give one of them a `name`",
                pair[0]
            )),
            None => Ok(config),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesFile {
    #[serde(default = "default_history")]
    history: u32,
    #[serde(default)]
    sources: Vec<SourceEntry>,
}

fn default_history() -> u32 {
    20
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceEntry {
    local: Option<LocalEntry>,
    directory: Option<DirectoryEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LocalEntry {
    #[serde(default)]
    vaults: Vec<String>,
    #[serde(default)]
    allow_ephemeral: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DirectoryEntry {
    path: PathBuf,
    name: Option<String>,
    /// The whole tree as one vault.
    vault: Option<String>,
    /// Names for sub-directories.
    #[serde(default)]
    vaults: BTreeMap<String, String>,
    age_key_file: Option<PathBuf>,
    full_check_seconds: Option<u64>,
}

impl DirectoryEntry {
    fn resolve(self, base: &Path) -> Result<DirectorySource, String> {
        if self.vault.is_some() && !self.vaults.is_empty() {
            return Err(
                "a directory has either `vault` (the whole tree is one) or `vaults` (names for sub-directories)"
                    .to_owned(),
            );
        }
        let mut source = DirectorySource::new(base.join(self.path));
        if let Some(name) = self.name {
            source.name = name;
        }
        if source.name == sidevault_store::LOCAL_SOURCE {
            return Err("a directory source can't be named \"local\": give it another `name`".to_owned());
        }
        source.vaults = VaultMapping {
            single: self.vault,
            renamed: self.vaults,
        };
        source.age_key_file = self.age_key_file.map(|path| base.join(path));
        match self.full_check_seconds {
            Some(0) => return Err("fullCheckSeconds: at least 1".to_owned()),
            Some(seconds) => source.full_check = Duration::from_secs(seconds),
            None => {}
        }
        Ok(source)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/sidevault"))
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = parse(
            "history: 5
sources:
  - local: { vaults: [apps, tools] }
  - directory:
      path: secrets
      vaults: { prod: production }
      ageKeyFile: /keys/age.txt
      fullCheckSeconds: 5
",
        )
        .unwrap();
        assert_eq!(config.history, 5);
        assert_eq!(config.local_vaults, ["apps", "tools"]);
        let directory = &config.directories[0];
        assert_eq!(directory.name, "secrets");
        assert_eq!(directory.path, Path::new("/etc/sidevault/secrets"));
        assert_eq!(directory.vaults.renamed["prod"], "production");
        assert_eq!(directory.full_check, Duration::from_secs(5));
    }

    #[test]
    fn a_rule_for_a_sub_directory_holds_in_any_spelling_but_the_exact_one_goes_first() {
        let renamed = |rules: &[(&str, &str)]| VaultMapping {
            single: None,
            renamed: rules.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        };
        let one = renamed(&[("prod", "production"), ("\u{e9}", "accent")]);
        assert_eq!(one.name_for("Prod"), "production");
        assert_eq!(one.name_for("e\u{301}"), "accent");
        assert_eq!(one.name_for("dev"), "dev");
        let both = renamed(&[("Prod", "live"), ("prod", "production")]);
        assert_eq!((both.name_for("Prod"), both.name_for("prod")), ("live", "production"));
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = parse("sources:\n  - directory: { path: x, agekeyfile: y }\n").unwrap_err();
        assert!(error.contains("agekeyfile"), "{error}");
    }

    #[test]
    fn two_sources_of_one_name_are_refused() {
        let error = parse("sources:\n  - directory: { path: a/x }\n  - directory: { path: b/x }\n").unwrap_err();
        assert!(error.contains("two sources are named \"x\""), "{error}");
    }

    #[test]
    fn no_history_at_all_is_refused() {
        assert!(parse("history: 0").unwrap_err().contains("history"));
    }
}
