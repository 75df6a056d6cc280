//! The files to check, and the `.sops.yaml` of each.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ignore::WalkBuilder;
use sidevault_sops::CreationRules;

use crate::exit::Failure;

/// The name of the file that has sops' rules.
pub(super) const CONFIG: &str = ".sops.yaml";

/// The files at or below a path, ordered by path: the file itself, or the files of a directory that git does not ignore. The rules of
/// a `.sops.yaml` are for all files below its directory, so these stand for it.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        return match path.parent() {
            Some(directory) if path.file_name().is_some_and(|name| name == CONFIG) => below(directory),
            _ => Ok(vec![path.to_owned()]),
        };
    }
    below(path)
}

fn below(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let here = Path::new(".");
    let path = if directory.as_os_str().is_empty() {
        here
    } else {
        directory
    };
    let walk = WalkBuilder::new(path)
        .hidden(false)
        .ignore(false)
        .git_global(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_path(Path::cmp)
        .build();
    let mut files = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) && entry.file_name() != CONFIG {
            let path = entry.into_path();
            files.push(path.strip_prefix("./").map(Path::to_owned).unwrap_or(path));
        }
    }
    Ok(files)
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound => Failure::NotFound(text),
        _ => Failure::Failed(text),
    }
}

/// A `.sops.yaml`.
pub(super) struct Config {
    pub(super) path: PathBuf,
    pub(super) rules: CreationRules,
}

/// The `.sops.yaml` of each directory.
#[derive(Default)]
pub(super) struct Configs(HashMap<PathBuf, Option<Rc<Config>>>);

impl Configs {
    /// The nearest `.sops.yaml` with rules at or above a file, and the file's path relative to it. sops takes the same one if it is
    /// started in the file's directory.
    ///
    /// # Errors
    /// If it can't be read, or a rule is not valid.
    pub(super) fn of(&mut self, file: &Path) -> Result<Option<(Rc<Config>, String)>, Failure> {
        let absolute = std::path::absolute(file).map_err(|error| unreadable(file, &error))?;
        let Some(directory) = absolute.parent() else {
            return Ok(None);
        };
        let Some(config) = self.above(directory)? else {
            return Ok(None);
        };
        let root = config.path.parent().unwrap_or(Path::new("/"));
        let relative = absolute.strip_prefix(root).unwrap_or(&absolute);
        let relative = relative.to_string_lossy().into_owned();
        Ok(Some((config, relative)))
    }

    fn above(&mut self, directory: &Path) -> Result<Option<Rc<Config>>, Failure> {
        if let Some(known) = self.0.get(directory) {
            return Ok(known.clone());
        }
        let own = read(directory.join(CONFIG))?;
        let found = match (own, directory.parent()) {
            (Some(own), _) => Some(Rc::new(own)),
            (None, Some(parent)) => self.above(parent)?,
            (None, None) => None,
        };
        self.0.insert(directory.to_owned(), found.clone());
        Ok(found)
    }
}

/// Reads a `.sops.yaml`. One without rules counts as none, as in sops.
fn read(path: PathBuf) -> Result<Option<Config>, Failure> {
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let rules = CreationRules::parse(&bytes)
        .map_err(|error| Failure::Config(sidevault_model::printable(&format!("{}: {error}", path.display()))))?;
    Ok((!rules.is_empty()).then_some(Config { path, rules }))
}
