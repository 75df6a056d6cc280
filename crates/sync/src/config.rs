//! The sources file: the directories that sync reads, and the vaults that they become.
//!
//! ```yaml
//! history: 20            # versions kept of each item, with the current one
//! sources:
//!   - local:
//!       vaults: [apps]
//!   - directory:
//!       name: gitops     # default: the directory's name
//!       path: /git/current/secrets
//!       vaults: { prod: production }   # other sub-directories keep their names
//!       ageKeyFile: /keys/age.txt
//!       fullCheckSeconds: 30
//!       include: ["apps/**"]            # patterns of .gitignore; default: all files
//!       exclude: ["*.example.yaml"]
//!       gitignore: true                  # leave out what the tree's .gitignore files name
//!       encrypted: only                  # only, prefer or any; default: the tree decides
//!       title: auto                      # auto, name, stem or path
//!       writable: false                  # whether clients may change the files over the API
//!       newItems: "{title}.sops.yaml"    # the path of a new item's file in the directory of its vault
//!   - git:                                 # the files come from a Git repository
//!       url: https://git.example/home/cluster.git
//!       ref: main
//!       path: clusters/home
//!       intervalSeconds: 60
//!       auth: { tokenFile: /keys/git-token }
//!       verify: { allowedSignersFile: /keys/allowed_signers }
//!       webhookSecretFile: /keys/webhook
//!       commits:                           # how clients' writes are committed
//!         author: Sidevault <vault@example.com>
//!         message: "{action} {file}"
//!         signingKeyFile: /keys/signing
//!     directory:                           # how they become vaults: any key of a directory but `path`
//!       name: cluster                      # default: the repository's name
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sidevault_model::filter;
use sidevault_store::WriterOptions;

use crate::directory::{Encrypted, Folder, FolderText, Selection, TitleRule, given_folders};
use crate::git::{GitEntry, GitSource, ServedTree, directory_of};

/// The configuration of sync.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many versions of an item are kept, with the current one. At least 1.
    pub history: u32,
    /// Local vaults that are made at the start if they do not exist.
    pub local_vaults: Vec<String>,
    /// Whether local vaults may be made on a disk that does not outlive the Pod.
    pub allow_ephemeral: bool,
    /// The directory sources. If two have files for one new vault, the first gets it.
    pub directories: Vec<DirectorySource>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            history: default_history(),
            local_vaults: Vec::new(),
            allow_ephemeral: false,
            directories: Vec::new(),
        }
    }
}

/// A directory source: a tree of files that is served as vaults.
#[derive(Clone, Debug)]
pub struct DirectorySource {
    /// The name in `/health`, metrics and messages.
    pub name: String,
    /// The root directory. It may be a symbolic link that is replaced, as git-sync does.
    pub path: PathBuf,
    /// The repository that the files come from. Then `path` is below the data directory.
    pub git: Option<GitSource>,
    /// Which files become items.
    pub selection: Selection,
    /// How the items are titled.
    pub titles: TitleRule,
    /// How the vaults are named.
    pub vaults: VaultMapping,
    /// What is said of the files of folders, by path in composed form. It has the form of a `.sidevault.yaml` in that folder, and is
    /// stronger than it.
    pub(crate) folders: BTreeMap<String, Arc<Folder>>,
    /// Files of age keys, which are read in addition to the places where sops looks.
    pub age_key_files: Vec<PathBuf>,
    /// How often the tree is scanned without a file event.
    pub full_check: Duration,
    /// Whether a client's write to one of the vaults changes the files.
    pub writable: bool,
    /// The path of a new item's file in the directory of its vault, with `{title}` for its title. `None`: `{title}.sops.yaml`, or
    /// `{title}.yaml` if the file is not encrypted.
    pub new_items: Option<String>,
}

impl DirectorySource {
    /// A source with the name of its directory and default settings: one vault for each sub-directory, and one with the
    /// source's name for the files at the top.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            name: name_of(&path),
            path,
            git: None,
            selection: Selection::default(),
            titles: TitleRule::default(),
            vaults: VaultMapping::default(),
            folders: BTreeMap::new(),
            age_key_files: Vec::new(),
            full_check: Duration::from_secs(30),
            writable: false,
            new_items: None,
        }
    }
}

impl DirectorySource {
    /// A source with the name of its repository and default settings.
    fn of_git(entry: GitEntry, base: &Path) -> Result<Self, String> {
        let (git, name) = entry.resolve(base)?;
        Ok(Self {
            name,
            git: Some(git),
            ..Self::new(PathBuf::new())
        })
    }

    /// The value of `--git`: `URL`, `URL#REF` or `URL#REF:PATH`.
    ///
    /// # Errors
    /// If it is no URL, or this program was built without Git sources.
    pub fn of_git_argument(text: &str, token_file: Option<&Path>) -> Result<Self, String> {
        Self::of_git(GitEntry::of_argument(text, token_file), Path::new(""))
    }

    /// Sets whether clients may change the files over the API.
    ///
    /// # Errors
    /// If the source is a Git repository, and does not name a branch to which commits can be pushed.
    pub fn set_writable(&mut self, writable: bool) -> Result<(), String> {
        self.writable = writable;
        self.git.as_ref().map_or(Ok(()), |git| git.check_writes(writable))
    }

    /// The tree that is served, if the source is a Git repository.
    pub(crate) fn served(&self) -> Option<ServedTree> {
        self.git.as_ref()?;
        ServedTree::at(&self.path)
    }
}

/// The last name of a path. The path need not exist yet.
fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().ok();
    // If the path is a link that git-sync replaces, its own name is used: the target is named after a commit. A path
    // without a last name, such as `..`, is resolved.
    let named = if path.file_name().is_some() {
        Some(path)
    } else {
        whole.as_deref()
    };
    named
        .and_then(Path::file_name)
        .map_or_else(|| "secrets".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// How the files of a directory are divided into vaults.
#[derive(Clone, Debug, Default)]
pub struct VaultMapping {
    /// The name of the one vault that has the whole tree; `None` for one vault for each sub-directory.
    pub single: Option<String>,
    /// The vault names of some sub-directories. The others keep their own names.
    pub renamed: BTreeMap<String, String>,
}

impl VaultMapping {
    /// The vault name of a sub-directory. An entry for exactly this name is preferred over an entry for a name that differs
    /// in case or Unicode normalisation: such directories are one vault, and some file systems do not distinguish them.
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
    /// The file can't be read.
    #[error("sources file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// The file's content is not valid.
    #[error("sources file {path}: {cause}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        cause: String,
    },
}

impl Config {
    /// Gives each Git source a directory below the data directory.
    pub(crate) fn place_repositories(&mut self, data: &Path) {
        for source in self.directories.iter_mut().filter(|source| source.git.is_some()) {
            source.path = directory_of(data, &source.name).join("current");
        }
    }

    /// Reads a sources file. Relative paths in it start at its directory.
    ///
    /// # Errors
    /// If the file can't be read or is not valid.
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
            return Err("history: must be at least 1, because the current version counts".to_owned());
        }
        for source in file.sources {
            match (source.local, source.git, source.directory) {
                (Some(local), None, None) => {
                    config.local_vaults.extend(local.vaults);
                    config.allow_ephemeral |= local.allow_ephemeral;
                }
                (None, None, Some(directory)) => config.directories.push(directory.resolve(base, None)?),
                (None, Some(git), directory) => {
                    let directory = directory.unwrap_or_default();
                    config.directories.push(directory.resolve(base, Some(git))?);
                }
                _ => {
                    return Err(
                        "each source must be `local:`, `directory:`, or `git:` with or without `directory:`".to_owned(),
                    );
                }
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
    WriterOptions::default().history
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceEntry {
    local: Option<LocalEntry>,
    directory: Option<DirectoryEntry>,
    git: Option<GitEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LocalEntry {
    #[serde(default)]
    vaults: Vec<String>,
    #[serde(default)]
    allow_ephemeral: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DirectoryEntry {
    path: Option<PathBuf>,
    name: Option<String>,
    /// The name of one vault with the whole tree.
    vault: Option<String>,
    /// Vault names of sub-directories.
    #[serde(default)]
    vaults: BTreeMap<String, String>,
    age_key_file: Option<OneOrMany>,
    /// Patterns in the syntax of `.gitignore`.
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    /// Whether `.gitignore` files of the tree count; they do if this is not given.
    gitignore: Option<bool>,
    encrypted: Option<Encrypted>,
    #[serde(default)]
    title: TitleRule,
    /// Per folder, what a `.sidevault.yaml` in it would say.
    #[serde(default)]
    folders: BTreeMap<String, FolderText>,
    full_check_seconds: Option<u64>,
    #[serde(default)]
    writable: bool,
    new_items: Option<String>,
}

/// A path, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<PathBuf> {
        match self {
            Self::One(path) => vec![path],
            Self::Many(paths) => paths,
        }
    }
}

impl DirectoryEntry {
    fn resolve(self, base: &Path, git: Option<GitEntry>) -> Result<DirectorySource, String> {
        if self.vault.is_some() && !self.vaults.is_empty() {
            return Err(
                "a directory can have `vault` (the whole tree is one vault) or `vaults` (names for sub-directories), not both"
                    .to_owned(),
            );
        }
        let mut source = match (self.path, git) {
            (Some(path), None) => DirectorySource::new(base.join(path)),
            (None, Some(git)) => DirectorySource::of_git(git, base)?,
            (None, None) => return Err("a directory needs a `path`".to_owned()),
            (Some(_), Some(_)) => {
                return Err(
                    "beside `git`, a directory has no `path`: the directory of the repository is `path` under `git`"
                        .to_owned(),
                );
            }
        };
        if let Some(name) = self.name {
            source.name = name;
        }
        if source.name == sidevault_store::LOCAL_SOURCE {
            return Err("a directory source can't be named \"local\": give it another `name`".to_owned());
        }
        source.folders = given_folders(self.folders, self.vault.is_some())?;
        source.vaults = VaultMapping {
            single: self.vault,
            renamed: self.vaults,
        };
        if let Some(git) = &source.git {
            git.check_writes(self.writable)?;
        }
        source.writable = self.writable;
        source.new_items = self.new_items.map(new_item_path).transpose()?;
        let gitignore = self.gitignore.unwrap_or(true);
        source.selection = Selection::new(&self.include, &self.exclude, gitignore, self.encrypted)?;
        source.titles = self.title;
        let files = self.age_key_file.map(OneOrMany::into_vec).unwrap_or_default();
        source.age_key_files = files.into_iter().map(|path| base.join(path)).collect();
        match self.full_check_seconds {
            Some(0) => return Err("fullCheckSeconds: must be at least 1".to_owned()),
            Some(seconds) => source.full_check = Duration::from_secs(seconds),
            None => {}
        }
        Ok(source)
    }
}

/// Checks `newItems`.
fn new_item_path(template: String) -> Result<String, String> {
    let names: Vec<&str> = template.split('/').collect();
    let is_below = names.iter().all(|name| !name.is_empty() && !name.starts_with('.'));
    let is_yaml = template.ends_with(".yaml") || template.ends_with(".yml");
    let is_titled = names.last().is_some_and(|name| name.contains("{title}"));
    if is_below && is_yaml && is_titled {
        Ok(template)
    } else {
        Err(format!(
            "newItems: \"{template}\" must be a path without hidden names, whose last name has {{title}} and ends with .yaml"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/sidevault"))
    }

    #[test]
    fn every_key_of_a_sources_file_is_read() {
        let config = parse(
            "history: 5
sources:
  - local: { vaults: [apps, tools] }
  - directory:
      path: secrets
      vaults: { prod: production }
      ageKeyFile: /keys/age.txt
      fullCheckSeconds: 5
      include: ['*.yaml']
      exclude: [/old]
      gitignore: false
      encrypted: prefer
      title: path
      writable: true
      newItems: 'apps/{title}.sops.yaml'
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
        let selection = &directory.selection;
        assert_eq!(
            (selection.gitignore, selection.encrypted),
            (false, Some(Encrypted::Prefer))
        );
        assert_eq!(directory.titles, TitleRule::Path);
        assert!(directory.writable);
        assert_eq!(directory.new_items.as_deref(), Some("apps/{title}.sops.yaml"));
        assert!(!selection.excludes("a.yaml", false) && selection.excludes("a.json", false));
        assert!(selection.excludes("old", true));
    }

    #[test]
    fn a_vault_name_applies_to_any_case_of_the_directory_and_an_exact_entry_is_preferred() {
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
    fn folders_that_can_not_be_used_are_named() {
        let folders = |rest: &str| {
            let parsed = parse(&format!("sources:\n  - directory: {{ path: x, {rest} }}\n"));
            parsed.map(|config| config.directories[0].folders.keys().cloned().collect::<Vec<_>>())
        };
        let good = folders("folders: { .: { title: path }, apps/media/: { vault: media }, 'e\u{301}': {} }");
        assert_eq!(good.unwrap(), ["", "apps/media", "\u{e9}"]);
        for (rest, wanted) in [
            ("folders: { /etc: {} }", "\"/etc\" must be the path of a folder"),
            ("folders: { a/../b: {} }", "without hidden names"),
            ("folders: { a: {}, a/: {} }", "\"a/\" is there twice"),
            ("folders: { a: { vaults: x } }", "vaults"),
            ("vault: all, folders: { a: { vault: x } }", "folders: a: `vault` is set"),
            (
                "folders: { a: { files: { b: { fields: { c: DATE } } } } }",
                "folders: a: files: b: fields: c: DATE is none of",
            ),
        ] {
            let error = folders(rest).unwrap_err();
            assert!(error.contains(wanted), "{rest}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = parse("sources:\n  - directory: { path: x, agekeyfile: y }\n").unwrap_err();
        assert!(error.contains("agekeyfile"), "{error}");
    }

    #[test]
    fn two_sources_of_one_name_are_refused() {
        let error = parse("sources:\n  - directory: { path: a/x }\n  - directory: { path: b/x }\n").unwrap_err();
        assert!(error.contains("two sources are named \"x\""), "{error}");
    }

    #[test]
    fn a_history_of_0_is_refused() {
        assert!(parse("history: 0").unwrap_err().contains("history"));
    }
}
