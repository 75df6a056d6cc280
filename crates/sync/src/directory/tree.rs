//! Lists the files of a source's directory, each with the vault that it belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sidevault_model::Commit;
use unicode_normalization::UnicodeNormalization;

use super::beneath::{BeneathError, Directory, Entry, FileStamp, Opened, Root, is_unlisted};
use super::folder::{FOLDER_FILE, FileSettings, FolderText, Folders};
use super::read::{Loaded, ReadError, load};
use super::selection::{Ignores, LeftOut, LeftOutBy, MAX_RULES_BYTES, seals};
use crate::config::DirectorySource;
use crate::git::ServedTree;

/// A file that may become items.
#[derive(Clone, Debug)]
pub(crate) struct FoundFile {
    /// The path below the root, as the file system has it.
    pub(crate) path: PathBuf,
    /// The same path with `/` between its names, and in Unicode's composed form (NFC), because Git and macOS may decompose
    /// names. The ids of the file's items are computed from it.
    pub(crate) relative: String,
    /// The vault's name.
    pub(crate) vault: String,
    /// The path of the file's directory within the vault, in composed form; empty at the top of the vault.
    pub(crate) directory: String,
    /// Differs from an earlier one if the file may have changed.
    pub(crate) stamp: FileStamp,
    /// What `.sidevault.yaml` files and `folders` say of it.
    pub(crate) settings: Arc<FileSettings>,
    /// What was read of it, if it was read already.
    pub(crate) loaded: Option<Arc<Loaded>>,
}

impl FoundFile {
    /// Reads the file, unless that was done already. The file is open if its content is read later.
    ///
    /// # Errors
    /// If it can't be read.
    pub(crate) fn read(&self, root: &Root) -> Result<(Arc<Loaded>, Option<Opened>), ReadError> {
        if let Some(loaded) = &self.loaded {
            return Ok((loaded.clone(), None));
        }
        self.read_from(root.file(&self.path)?)
    }

    /// Reads the file from a descriptor.
    pub(crate) fn read_from(&self, mut opened: Opened) -> Result<(Arc<Loaded>, Option<Opened>), ReadError> {
        let begun = SystemTime::now();
        let (raw, stamp) = (load(self, &mut opened)?, opened.stamp);
        Ok((Arc::new(Loaded { raw, stamp, begun }), Some(opened)))
    }

    /// The file at `path`. `parts` are the names of the path in composed form.
    pub(crate) fn at(
        source: &DirectorySource,
        path: PathBuf,
        parts: &[String],
        stamp: FileStamp,
        settings: Arc<FileSettings>,
    ) -> Self {
        let parent = &parts[..parts.len().saturating_sub(1)];
        let (vault, directory) = match &settings.vault {
            Some((vault, depth)) => (vault.clone(), parent.get(*depth..).unwrap_or_default()),
            None => (vault_in(source, parent), directory_in_vault(source, parent)),
        };
        Self {
            path,
            relative: parts.join("/"),
            vault,
            directory: directory.join("/"),
            // Nobody writes to a commit's tree. The next commit's has links to the files that did not change.
            stamp: match source.git {
                Some(_) => stamp.of_unwritten(),
                None => stamp,
            },
            settings,
            loaded: None,
        }
    }
}

/// A path that is not served.
#[derive(Debug)]
pub(crate) struct RejectedPath {
    /// The vault that a file at this path would belong to.
    pub(crate) vault: String,
    /// The reason.
    pub(crate) error: String,
}

/// A listing of the tree.
pub(crate) struct Tree {
    /// The root, beneath which files are opened. After a scan it must still be the source's root, or the scan is repeated.
    pub(crate) root: Arc<Root>,
    /// The commit that the tree is of, if the source is a Git repository.
    pub(crate) commit: Option<Commit>,
    /// The files, ordered by path.
    pub(crate) files: Vec<FoundFile>,
    /// The paths that are not served. Each may have been a good file before.
    pub(crate) refused: BTreeMap<String, RejectedPath>,
    /// The vaults with a directory that can't be listed. A file that is missing in one of them may still exist.
    pub(crate) unlisted: BTreeSet<String>,
    /// The paths that the source's rules leave out.
    pub(crate) left_out: Vec<LeftOut>,
    /// Whether the source does not say which files it wants, and files at the top say that the tree is meant to be encrypted:
    /// `.sops.yaml`, or a `.gitattributes` that names sops or git-crypt.
    pub(crate) says_sealed: bool,
    /// Whether the tree changed while it was listed, so that files may have been missed.
    pub(crate) changing: bool,
    /// Whether a `.sidevault.yaml` can't be used. It may have given files any vault, so none loses items.
    pub(crate) has_bad_folder: bool,
    /// Whether a `.sidevault.yaml` or `folders` gives files a vault.
    pub(crate) has_folder_vaults: bool,
    /// The paths in `folders` of the source that the tree does not have.
    pub(crate) missing_folders: BTreeSet<String>,
}

impl Tree {
    fn new(root: Root) -> Self {
        Self {
            root: Arc::new(root),
            commit: None,
            files: Vec::new(),
            refused: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            left_out: Vec::new(),
            says_sealed: false,
            changing: false,
            has_bad_folder: false,
            has_folder_vaults: false,
            missing_folders: BTreeSet::new(),
        }
    }

    /// A tree that has one file only.
    pub(crate) fn of_file(root: Root, file: FoundFile) -> Self {
        Self {
            files: vec![file],
            ..Self::new(root)
        }
    }
}

/// How deep directories may be nested. Each level takes an open file descriptor while the tree is listed.
const MAX_DEPTH: usize = 32;

/// Lists the tree. Hidden files and directories are left out: `.git`, `.sops.yaml`, and `..data`, which kubelet makes in a
/// volume.
///
/// # Errors
/// If the root can't be listed. An error below the root concerns only the path that has it.
pub(crate) fn list(source: &DirectorySource) -> Result<Tree, String> {
    list_on_way(source, None)
}

/// The file at `path`, if the rules of the source and of the tree make it one. Only the directories on the way to it are listed.
///
/// # Errors
/// If the root can't be listed.
pub(crate) fn find(source: &DirectorySource, path: &Path) -> Result<Option<FoundFile>, String> {
    let names = path.iter().map(|name| name.to_string_lossy().nfc().collect());
    let tree = list_on_way(source, Some(names.collect()))?;
    Ok(tree.files.into_iter().find(|found| found.path == path))
}

/// Opens a source's root, and says which tree it is, if the source is a Git repository.
pub(crate) fn open_root(source: &DirectorySource) -> io::Result<(Root, Option<ServedTree>)> {
    loop {
        let served = source.served();
        let root = Root::open(&source.path)?;
        // Another tree may have taken this one's place between the two.
        if source.served() == served {
            return Ok((root, served));
        }
    }
}

/// Lists the tree, or only what is on the way to a path with these names, in composed form.
fn list_on_way(source: &DirectorySource, way: Option<Vec<String>>) -> Result<Tree, String> {
    let fail = |error: BeneathError| format!("{}: {error}", source.path.display());
    let (root, served) = open_root(source).map_err(|error| fail(error.into()))?;
    let top = root.directory().map_err(fail)?;
    let names = top.names().map_err(|error| fail(error.into()))?;
    let mut listing = Listing {
        source,
        tree: Tree {
            says_sealed: source.selection.encrypted.is_none() && says_sealed(&top, &names).map_err(fail)?,
            missing_folders: source.folders.keys().cloned().collect(),
            commit: served.and_then(|served| served.commit),
            ..Tree::new(root)
        },
        ignores: Ignores::default(),
        folders: Folders::default(),
        way,
    };
    listing.walk(&top, &names, &TreePath::default()).map_err(fail)?;
    Ok(listing.finish())
}

/// A path of the tree.
#[derive(Clone, Default)]
struct TreePath {
    /// The path as the file system has it.
    path: PathBuf,
    /// The names of the path, in Unicode's composed form.
    parts: Vec<String>,
    /// Whether the path leads through a link of a Kubernetes volume. No further link to a directory is followed then.
    linked: bool,
}

impl TreePath {
    /// The path of a name in this directory; `None` if the name is not UTF-8.
    fn below(&self, name: &OsStr) -> Option<Self> {
        let mut below = self.clone();
        below.path.push(name);
        below.parts.push(name.to_str()?.nfc().collect());
        Some(below)
    }
}

/// Whether files at the top of a tree say that it is meant to be encrypted.
fn says_sealed(top: &Directory, names: &[OsString]) -> Result<bool, BeneathError> {
    if names.iter().any(|name| name == ".sops.yaml") {
        return Ok(true);
    }
    Ok(top
        .rules(".gitattributes", MAX_RULES_BYTES)?
        .is_some_and(|text| seals(&text)))
}

struct Listing<'a> {
    source: &'a DirectorySource,
    tree: Tree,
    ignores: Ignores,
    folders: Folders,
    /// The names of the path that is looked for; `None` if the whole tree is listed.
    way: Option<Vec<String>>,
}

impl Listing<'_> {
    /// Visits the names of a directory.
    ///
    /// # Errors
    /// If the directory's `.gitignore` can't be read. Then none of its files is found.
    fn walk(&mut self, dir: &Directory, names: &[OsString], place: &TreePath) -> Result<(), BeneathError> {
        let has_rules = self.source.selection.gitignore && names.iter().any(|name| name == ".gitignore");
        let rules = if has_rules {
            dir.rules(".gitignore", MAX_RULES_BYTES)?
        } else {
            None
        };
        if let Some(rules) = &rules {
            let pushed = self.ignores.push(&place.parts.join("/"), rules);
            pushed.map_err(|error| BeneathError::Io(io::Error::other(format!(".gitignore: {error}"))))?;
        }
        let visited = self.walk_folder(dir, names, place);
        if rules.is_some() {
            self.ignores.pop();
        }
        visited
    }

    /// Visits the names of a directory by what is said of it: by its `.sidevault.yaml`, and by the sources file, which is stronger,
    /// because who may write to the tree need not be who runs the server.
    fn walk_folder(&mut self, dir: &Directory, names: &[OsString], place: &TreePath) -> Result<(), BeneathError> {
        let text = if names.iter().any(|name| name == FOLDER_FILE) {
            dir.rules(FOLDER_FILE, MAX_RULES_BYTES)?
        } else {
            None
        };
        let above = self.folders.len();
        if let Some(text) = &text {
            let one_vault = self.source.vaults.single.is_some();
            match FolderText::parse(text).and_then(|text| text.of_folder(&place.parts, one_vault)) {
                Ok(folder) => self.folders.push(Arc::new(folder)),
                Err(error) => {
                    self.tree.has_bad_folder = true;
                    return Err(BeneathError::Io(io::Error::other(format!("{FOLDER_FILE}: {error}"))));
                }
            }
        }
        if let Some((path, folder)) = self.source.folders.get_key_value(&place.parts.join("/")) {
            self.tree.missing_folders.remove(path);
            self.folders.push(folder.clone());
        }
        self.visit_all(dir, names, place);
        self.folders.truncate(above);
        Ok(())
    }

    fn visit_all(&mut self, dir: &Directory, names: &[OsString], place: &TreePath) {
        for name in names.iter().filter(|name| !is_unlisted(name)) {
            let Some(below) = place.below(name) else {
                let error = "its name is not UTF-8; rename it".to_owned();
                self.refuse(&place.path.join(name), &place.parts, error);
                continue;
            };
            let on_way = |way: &Vec<String>| way.get(place.parts.len()) == below.parts.last();
            if !self.way.as_ref().is_none_or(on_way) {
                continue;
            }
            match self.visit(dir, name, &below) {
                Ok(()) => {}
                Err(BeneathError::Changed) => self.tree.changing = true,
                Err(error) => self.refuse(&below.path, &place.parts, error.to_string()),
            }
        }
    }

    fn visit(&mut self, dir: &Directory, name: &OsStr, place: &TreePath) -> Result<(), BeneathError> {
        let entry = match dir.entry(name).map_err(replaced) {
            // The name may be a directory. Then it can't be listed, and its files may still exist.
            Err(error @ BeneathError::Io(_)) => {
                self.descend(Err(error), place);
                return Ok(());
            }
            entry => entry?,
        };
        // A link may lead to a directory. As in git, patterns take it for a file.
        if self.leaves_out(place, matches!(entry, Entry::Directory)) {
            return Ok(());
        }
        match entry {
            Entry::Directory => self.descend(dir.enter(name).map_err(replaced), place),
            Entry::File(stamp) => self.found(place, stamp),
            Entry::Special => return Err(BeneathError::Special),
            Entry::Link
                if !place.linked
                    && let Some(volume) = dir.enter_volume(name) =>
            {
                let linked = TreePath {
                    linked: true,
                    ..place.clone()
                };
                self.descend(volume.map_err(replaced), &linked);
            }
            Entry::Link => {
                if let Some(stamp) = self.tree.root.follow(&place.path)? {
                    self.found(place, stamp);
                }
            }
        }
        Ok(())
    }

    /// Whether a rule leaves a path out, which is noted.
    fn leaves_out(&mut self, place: &TreePath, is_dir: bool) -> bool {
        let path = place.parts.join("/");
        let by = if self.source.selection.excludes(&path, is_dir) {
            LeftOutBy::Excluded
        } else if self.ignores.ignore(&path, is_dir) {
            LeftOutBy::Ignored
        } else if self.folders.ignore(&path, is_dir) {
            LeftOutBy::Folder
        } else {
            return false;
        };
        self.tree.left_out.push(LeftOut { path, by });
        true
    }

    fn descend(&mut self, dir: Result<Directory, BeneathError>, place: &TreePath) {
        let parent = &place.parts[..place.parts.len().saturating_sub(1)];
        if place.parts.len() > MAX_DEPTH {
            // No file below was ever served, so the vault need not count as unlisted.
            let error = format!("directories are nested more than {MAX_DEPTH} deep");
            return self.refuse(&place.path, parent, error);
        }
        match dir.and_then(|dir| self.walk(&dir, &dir.names()?, place)) {
            Ok(()) => {}
            Err(BeneathError::Changed) => self.tree.changing = true,
            Err(error) => {
                self.tree.unlisted.insert(self.vault_in(&place.parts));
                self.refuse(&place.path, parent, error.to_string());
            }
        }
    }

    /// The vault of a file in the directory that is being listed, or below it.
    fn vault_in(&self, directory: &[String]) -> String {
        let chosen = self.folders.vault().map(str::to_owned);
        chosen.unwrap_or_else(|| vault_in(self.source, directory))
    }

    fn found(&mut self, place: &TreePath, stamp: FileStamp) {
        let settings = self.folders.settings(&place.parts.join("/"));
        self.tree.has_folder_vaults |= settings.vault.is_some();
        let found = FoundFile::at(self.source, place.path.clone(), &place.parts, stamp, settings);
        self.tree.files.push(found);
    }

    /// Adds a path that is not served. A path that is not UTF-8 is shown with escapes, so that no two look the same.
    fn refuse(&mut self, path: &Path, parent: &[String], error: String) {
        let shown = match path.to_str() {
            Some(path) => path.to_owned(),
            None => path.as_os_str().as_encoded_bytes().escape_ascii().to_string(),
        };
        let vault = self.vault_in(parent);
        self.tree.refused.insert(shown, RejectedPath { vault, error });
    }

    /// Ends the listing. Of files whose paths differ only in Unicode normalisation, one is served and the others are
    /// rejected, because they would be one item. The path in composed form is served, or else the first in byte order.
    fn finish(mut self) -> Tree {
        let mut files = std::mem::take(&mut self.tree.files);
        files.sort_by(|a, b| {
            let key = |found: &FoundFile| found.path.as_os_str() != OsStr::new(&found.relative);
            (&a.relative, key(a), &a.path).cmp(&(&b.relative, key(b), &b.path))
        });
        for found in files {
            match self.tree.files.last() {
                Some(kept) if kept.relative == found.relative => {
                    let error =
                        "another file's name differs only in Unicode normalisation (NFC, NFD); rename one of them";
                    let shown = found.path.to_string_lossy().into_owned();
                    let (vault, error) = (found.vault, error.to_owned());
                    self.tree.refused.insert(shown, RejectedPath { vault, error });
                }
                _ => self.tree.files.push(found),
            }
        }
        self.tree
    }
}

/// A name that was listed and is gone now is being replaced by another process.
fn replaced(error: BeneathError) -> BeneathError {
    match error {
        BeneathError::Missing => BeneathError::Changed,
        error => error,
    }
}

/// The name of the vault to which the files of a directory belong.
fn vault_in(source: &DirectorySource, directory: &[String]) -> String {
    match (&source.vaults.single, directory) {
        (Some(vault), _) => vault.clone(),
        (None, [top, ..]) => source.vaults.name_for(top).to_owned(),
        (None, []) => source.name.clone(),
    }
}

/// The part of a directory's path that is below the directory of its vault.
fn directory_in_vault<'a>(source: &DirectorySource, directory: &'a [String]) -> &'a [String] {
    match (&source.vaults.single, directory) {
        (None, [_, below @ ..]) => below,
        _ => directory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn listed(source: &DirectorySource) -> Vec<(String, String)> {
        list(source)
            .unwrap()
            .files
            .into_iter()
            .map(|file| (file.vault, file.relative))
            .collect()
    }

    #[test]
    fn a_sub_directory_is_a_vault_and_the_top_is_named_like_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("secrets");
        fs::create_dir_all(root.join("prod/db")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        for file in ["top.yaml", "prod/a.yaml", "prod/db/b.yaml", ".sops.yaml", ".git/config"] {
            fs::write(root.join(file), "a: 1").unwrap();
        }
        let mut source = DirectorySource::new(&root);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            listed(&source),
            [
                pair("prod", "prod/a.yaml"),
                pair("prod", "prod/db/b.yaml"),
                pair("secrets", "top.yaml")
            ]
        );
        source.vaults.renamed.insert("prod".into(), "production".into());
        assert_eq!(listed(&source)[0], pair("production", "prod/a.yaml"));
        source.vaults.single = Some("all".into());
        assert_eq!(listed(&source)[0], pair("all", "prod/a.yaml"));
    }

    #[test]
    fn a_files_directory_is_given_from_its_vault_on() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("media/plex/deep")).unwrap();
        for file in [
            "top.yaml",
            "media/a.yaml",
            "media/plex/b.yaml",
            "media/plex/deep/c.yaml",
        ] {
            fs::write(dir.path().join(file), "a: 1").unwrap();
        }
        let mut source = DirectorySource::new(dir.path());
        let directories = |source: &DirectorySource| -> Vec<String> {
            let files = list(source).unwrap().files;
            files.into_iter().map(|file| file.directory).collect()
        };
        assert_eq!(directories(&source), ["", "plex", "plex/deep", ""]);
        source.vaults.single = Some("all".into());
        assert_eq!(directories(&source), ["media", "media/plex", "media/plex/deep", ""]);
    }

    #[test]
    fn links_of_kubernetes_volumes_are_followed_and_links_out_of_the_tree_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mounted");
        fs::create_dir_all(root.join("..2026_11_24")).unwrap();
        fs::write(root.join("..2026_11_24/a.yaml"), "a: 1").unwrap();
        symlink("..2026_11_24", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        fs::write(dir.path().join("outside"), "x").unwrap();
        symlink("../outside", root.join("escape")).unwrap();
        let tree = list(&DirectorySource::new(&root)).unwrap();
        assert_eq!(
            tree.files.iter().map(|file| file.relative.as_str()).collect::<Vec<_>>(),
            ["a.yaml"]
        );
        assert!(tree.refused["escape"].error.contains("out of the tree"));
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.files.iter().map(|file| file.relative.as_str()).collect()
    }

    #[test]
    fn a_linked_directory_of_a_kubernetes_volume_is_a_vault_and_other_links_to_directories_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mounted");
        fs::create_dir_all(root.join("..2026_11_24/prod/db")).unwrap();
        fs::write(root.join("..2026_11_24/prod/db/a.yaml"), "a: 1").unwrap();
        symlink("..2026_11_24", root.join("..data")).unwrap();
        symlink("..data/prod", root.join("prod")).unwrap();
        // Links that kubelet does not make, and circles.
        symlink("..data/prod", root.join("other")).unwrap();
        symlink(".", root.join("circle")).unwrap();
        symlink("..", root.join("..2026_11_24/prod/db/up")).unwrap();
        let source = DirectorySource::new(&root);
        assert_eq!(listed(&source), [("prod".to_owned(), "prod/db/a.yaml".to_owned())]);
        let tree = list(&source).unwrap();
        assert!(tree.refused.is_empty() && tree.root.file(&tree.files[0].path).is_ok());
    }

    /// kubelet may remove the revision after `..data` was read and before its target is opened.
    #[test]
    fn a_volume_whose_revision_vanished_counts_as_changing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        symlink("..2026_11_29", root.join("..data")).unwrap();
        symlink("..data/prod", root.join("prod")).unwrap();
        let tree = list(&DirectorySource::new(root)).unwrap();
        assert!(tree.changing);

        // The revision has no such name: the link is broken.
        fs::create_dir(root.join("..2026_11_29")).unwrap();
        let tree = list(&DirectorySource::new(root)).unwrap();
        assert!(!tree.changing && tree.refused.contains_key("prod"));
    }

    #[test]
    fn links_to_hidden_files_and_out_of_the_tree_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree");
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir_all(root.join("v/deep")).unwrap();
        fs::create_dir_all(root.join("..rev")).unwrap();
        fs::write(root.join(".git/config"), "token").unwrap();
        fs::write(root.join(".hidden"), "token").unwrap();
        fs::write(root.join("..file"), "token").unwrap();
        fs::write(root.join("a.yaml"), "a: 1").unwrap();
        fs::write(dir.path().join("outside"), "x").unwrap();
        for (link, to) in [
            ("git.txt", "../.git/config"),
            ("dot.txt", "../.hidden"),
            ("dots.txt", "../..file"),
            ("deep/two.txt", "../git.txt"),
            ("by.txt", "../..data/config"),
            ("up.txt", "../../outside"),
            ("in.txt", "../../tree/a.yaml"),
            ("abs.txt", "/etc/passwd"),
            ("self.txt", "self.txt"),
            ("proc.txt", "/proc/self/environ"),
        ] {
            symlink(to, root.join("v").join(link)).unwrap();
        }
        symlink(".git", root.join("..data")).unwrap();
        symlink("../a.yaml", root.join("v/good.yaml")).unwrap();
        let tree = list(&DirectorySource::new(&root)).unwrap();
        assert_eq!(paths(&tree), ["a.yaml", "v/good.yaml"]);
        let refused: Vec<String> = tree
            .refused
            .iter()
            .map(|(path, refused)| format!("{path}: {}", refused.error))
            .collect();
        let outside = "a link that leads out of the tree is not followed; a link within it must be relative";
        let hidden = "a link to a hidden file or directory is not followed";
        assert_eq!(
            refused,
            [
                format!("v/abs.txt: {outside}"),
                format!("v/by.txt: {hidden}"),
                format!("v/deep/two.txt: {hidden}"),
                format!("v/dot.txt: {hidden}"),
                format!("v/dots.txt: {hidden}"),
                format!("v/git.txt: {hidden}"),
                format!("v/in.txt: {outside}"),
                format!("v/proc.txt: {outside}"),
                "v/self.txt: more than 40 symbolic links on the way".to_owned(),
                format!("v/up.txt: {outside}"),
            ]
        );
        // A link that replaces a file after the listing is refused, too.
        for (to, error) in [
            ("/etc/passwd", outside),
            ("../.git/config", hidden),
            ("../../outside", outside),
        ] {
            fs::remove_file(root.join("v/good.yaml")).unwrap();
            symlink(to, root.join("v/good.yaml")).unwrap();
            let refused = tree.root.file(Path::new("v/good.yaml")).err().unwrap();
            assert_eq!(refused.to_string(), error);
        }
        // The same holds for a link that replaces a directory.
        fs::rename(root.join("v"), root.join("w")).unwrap();
        symlink("..", root.join("v")).unwrap();
        assert!(tree.root.file(Path::new("v/outside")).is_err());
    }

    #[test]
    fn opening_a_fifo_fails_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), "a: 1").unwrap();
        let tree = list(&DirectorySource::new(dir.path())).unwrap();
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("a.yaml"), fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(
            tree.root.file(Path::new("a.yaml")),
            Err(BeneathError::Special)
        ));
        let again = list(&DirectorySource::new(dir.path())).unwrap();
        assert_eq!(again.refused["a.yaml"].error, "neither a file nor a directory");
    }

    #[test]
    fn a_directory_that_is_too_deep_is_refused_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |depth| vec!["d"; depth].join("/");
        fs::create_dir_all(dir.path().join(at(40))).unwrap();
        for depth in [MAX_DEPTH, MAX_DEPTH + 1] {
            fs::write(dir.path().join(at(depth)).join("a.yaml"), "a: 1").unwrap();
        }
        fs::write(dir.path().join("b.yaml"), "a: 1").unwrap();
        let tree = list(&DirectorySource::new(dir.path())).unwrap();
        assert_eq!(paths(&tree), ["b.yaml", &format!("{}/a.yaml", at(MAX_DEPTH))]);
        let refused: Vec<_> = tree
            .refused
            .iter()
            .map(|(path, refused)| (path.as_str(), refused.error.as_str()))
            .collect();
        assert_eq!(
            refused,
            [(at(MAX_DEPTH + 1).as_str(), "directories are nested more than 32 deep")]
        );
        assert!(tree.unlisted.is_empty());
    }

    #[test]
    fn names_that_are_not_utf_8_are_refused_one_by_one() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        for name in [b"a\\xff.yaml".as_slice(), b"a\xff.yaml", b"a\xfe.yaml", b"ok.yaml"] {
            fs::write(dir.path().join(OsStr::from_bytes(name)), "a: 1").unwrap();
        }
        fs::create_dir(dir.path().join(OsStr::from_bytes(b"d\xff"))).unwrap();
        let tree = list(&DirectorySource::new(dir.path())).unwrap();
        assert_eq!(paths(&tree), [r"a\xff.yaml", "ok.yaml"]);
        let refused: Vec<_> = tree.refused.keys().collect();
        assert_eq!(refused, [r"a\xfe.yaml", r"a\xff.yaml", r"d\xff"]);
    }

    #[test]
    fn of_paths_that_differ_in_normalisation_the_composed_one_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let source = DirectorySource::new(dir.path());
        fs::write(dir.path().join("e\u{301}.yaml"), "a: 1").unwrap();
        let alone = list(&source).unwrap();
        assert_eq!((paths(&alone), alone.refused.len()), (vec!["\u{e9}.yaml"], 0));
        fs::write(dir.path().join("\u{e9}.yaml"), "a: 2").unwrap();
        let both = list(&source).unwrap();
        assert_eq!(paths(&both), ["\u{e9}.yaml"]);
        assert_eq!(both.files[0].path, Path::new("\u{e9}.yaml"));
        assert!(both.refused["e\u{301}.yaml"].error.contains("NFC"));
    }

    #[test]
    fn a_missing_root_is_an_error() {
        assert!(list(&DirectorySource::new("/nonexistent/secrets")).is_err());
    }
}
