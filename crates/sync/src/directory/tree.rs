//! What files a directory holds, and to which vault each belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use super::beneath::{BeneathError, Directory, Entry, FileStamp, Root, is_unlisted};
use crate::config::DirectorySource;

/// A file that may become items.
#[derive(Clone, Debug)]
pub(crate) struct FoundFile {
    /// The file below the root, as the file system spells it.
    pub(crate) path: PathBuf,
    /// The same with `/` between its parts and in Unicode's composed form (NFC), because Git and macOS decompose
    /// names: what its items' ids follow from.
    pub(crate) relative: String,
    /// The vault's name.
    pub(crate) vault: String,
    /// The path of the file's directory within the vault, in composed form; empty at the top of the vault.
    pub(crate) directory: String,
    /// Differs from an earlier one if the file may have changed.
    pub(crate) stamp: FileStamp,
}

/// A name that is not served.
#[derive(Debug)]
pub(crate) struct RejectedPath {
    /// The vault that a file of this name would belong to.
    pub(crate) vault: String,
    /// Why.
    pub(crate) error: String,
}

/// A listing of the tree.
pub(crate) struct Tree {
    /// What the files are to be opened beneath. It must still be the source's root after everything was read.
    pub(crate) root: Arc<Root>,
    /// In the order of their names.
    pub(crate) files: Vec<FoundFile>,
    /// What is there and is not served, by path: each may have been a file before.
    pub(crate) refused: BTreeMap<String, RejectedPath>,
    /// Vaults with a directory that can't be listed. Nothing can be said of what is missing in them.
    pub(crate) unlisted: BTreeSet<String>,
    /// A name was gone before it was looked at: others may have been missed.
    pub(crate) changing: bool,
}

/// How deep directories may be nested. Each level is a descriptor that is open while the tree is listed.
const MAX_DEPTH: usize = 32;

/// Lists the tree. Hidden files and directories are left out: `.git`, `.sops.yaml`, and the
/// `..data` that Kubernetes keeps behind the links of a mounted volume.
///
/// # Errors
/// If the root can't be listed. Anything below it is refused alone.
pub(crate) fn list(source: &DirectorySource) -> Result<Tree, String> {
    let fail = |error: BeneathError| format!("{}: {error}", source.path.display());
    let root = Root::open(&source.path).map_err(|error| fail(error.into()))?;
    let top = root.directory().map_err(fail)?;
    let names = top.names().map_err(|error| fail(error.into()))?;
    let mut listing = Listing {
        source,
        tree: Tree {
            root: Arc::new(root),
            files: Vec::new(),
            refused: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            changing: false,
        },
    };
    listing.walk(&top, &names, &TreePath::default());
    Ok(listing.finish())
}

/// A name of the tree.
#[derive(Clone, Default)]
struct TreePath {
    /// As the file system spells it.
    path: PathBuf,
    /// In Unicode's composed form.
    parts: Vec<String>,
    /// Below the link of a Kubernetes volume: no further link to a directory is followed.
    linked: bool,
}

impl TreePath {
    /// A name in this directory; `None` if it is not UTF-8.
    fn below(&self, name: &OsStr) -> Option<Self> {
        let mut below = self.clone();
        below.path.push(name);
        below.parts.push(name.to_str()?.nfc().collect());
        Some(below)
    }
}

struct Listing<'a> {
    source: &'a DirectorySource,
    tree: Tree,
}

impl Listing<'_> {
    fn walk(&mut self, dir: &Directory, names: &[OsString], place: &TreePath) {
        for name in names.iter().filter(|name| !is_unlisted(name)) {
            let Some(below) = place.below(name) else {
                let error = "its name is not UTF-8; rename it".to_owned();
                self.refuse(&place.path.join(name), &place.parts, error);
                continue;
            };
            match self.visit(dir, name, &below) {
                Ok(()) => {}
                Err(BeneathError::Changed) => self.tree.changing = true,
                Err(error) => self.refuse(&below.path, &place.parts, error.to_string()),
            }
        }
    }

    fn visit(&mut self, dir: &Directory, name: &OsStr, place: &TreePath) -> Result<(), BeneathError> {
        let entry = match dir.entry(name).map_err(replaced) {
            // It may be a directory, whose files can't be told from removed ones now.
            Err(error @ BeneathError::Io(_)) => {
                self.descend(Err(error), place);
                return Ok(());
            }
            entry => entry?,
        };
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

    fn descend(&mut self, dir: Result<Directory, BeneathError>, place: &TreePath) {
        let parent = &place.parts[..place.parts.len().saturating_sub(1)];
        if place.parts.len() > MAX_DEPTH {
            // What is below never was an item, so the vault's other files can still be told from removed ones.
            let error = format!("directories are nested more than {MAX_DEPTH} deep");
            return self.refuse(&place.path, parent, error);
        }
        match dir.and_then(|dir| Ok((dir.names()?, dir))) {
            Ok((names, dir)) => self.walk(&dir, &names, place),
            Err(BeneathError::Changed) => self.tree.changing = true,
            Err(error) => {
                self.tree.unlisted.insert(vault_in(self.source, &place.parts));
                self.refuse(&place.path, parent, error.to_string());
            }
        }
    }

    fn found(&mut self, place: &TreePath, stamp: FileStamp) {
        let parent = &place.parts[..place.parts.len().saturating_sub(1)];
        self.tree.files.push(FoundFile {
            path: place.path.clone(),
            relative: place.parts.join("/"),
            vault: vault_in(self.source, parent),
            directory: directory_in_vault(self.source, parent).join("/"),
            stamp,
        });
    }

    /// Names what is not served. A path that is not UTF-8 is shown with escapes, so that each is told from the others.
    fn refuse(&mut self, path: &Path, parent: &[String], error: String) {
        let shown = match path.to_str() {
            Some(path) => path.to_owned(),
            None => path.as_os_str().as_encoded_bytes().escape_ascii().to_string(),
        };
        let vault = vault_in(self.source, parent);
        self.tree.refused.insert(shown, RejectedPath { vault, error });
    }

    /// Of files whose names differ in Unicode's normalisation form only, all but one are refused: they would be one
    /// item. The composed name stays; else the first in the order of bytes.
    fn finish(mut self) -> Tree {
        let mut files = std::mem::take(&mut self.tree.files);
        files.sort_by(|a, b| {
            let key = |found: &FoundFile| found.path.as_os_str() != OsStr::new(&found.relative);
            (&a.relative, key(a), &a.path).cmp(&(&b.relative, key(b), &b.path))
        });
        for found in files {
            match self.tree.files.last() {
                Some(kept) if kept.relative == found.relative => {
                    let error = "another file's name is the same but for Unicode normalisation (NFC, NFD); rename one";
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

/// A name that was listed and is not there is being replaced.
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
    #![allow(clippy::unwrap_used)]
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
        for file in ["top.yaml", "media/a.yaml", "media/plex/b.yaml", "media/plex/deep/c.yaml"] {
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
    fn kubernetes_links_are_followed_and_links_out_of_the_tree_are_not() {
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
    fn a_directory_of_a_kubernetes_volume_is_a_vault_and_other_links_to_directories_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mounted");
        fs::create_dir_all(root.join("..2026_11_24/prod/db")).unwrap();
        fs::write(root.join("..2026_11_24/prod/db/a.yaml"), "a: 1").unwrap();
        symlink("..2026_11_24", root.join("..data")).unwrap();
        symlink("..data/prod", root.join("prod")).unwrap();
        // Not as kubelet makes them, and circles.
        symlink("..data/prod", root.join("other")).unwrap();
        symlink(".", root.join("circle")).unwrap();
        symlink("..", root.join("..2026_11_24/prod/db/up")).unwrap();
        let source = DirectorySource::new(&root);
        assert_eq!(listed(&source), [("prod".to_owned(), "prod/db/a.yaml".to_owned())]);
        let tree = list(&source).unwrap();
        assert!(tree.refused.is_empty() && tree.root.file(&tree.files[0].path).is_ok());
    }

    /// As seen when kubelet removes the revision between the reading of `..data` and the opening of what it names.
    #[test]
    fn a_directory_of_a_volume_whose_revision_is_gone_is_being_replaced_and_not_gone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        symlink("..2026_11_29", root.join("..data")).unwrap();
        symlink("..data/prod", root.join("prod")).unwrap();
        let tree = list(&DirectorySource::new(root)).unwrap();
        assert!(tree.changing);

        // A revision without the name: the link leads to nothing, and says so.
        fs::create_dir(root.join("..2026_11_29")).unwrap();
        let tree = list(&DirectorySource::new(root)).unwrap();
        assert!(!tree.changing && tree.refused.contains_key("prod"));
    }

    #[test]
    fn a_link_leads_to_nothing_hidden_and_nothing_outside() {
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
        // Nor is it followed if the link comes after the listing.
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
        // Nor if a directory on the way becomes one.
        fs::rename(root.join("v"), root.join("w")).unwrap();
        symlink("..", root.join("v")).unwrap();
        assert!(tree.root.file(Path::new("v/outside")).is_err());
    }

    #[test]
    fn a_fifo_in_place_of_a_file_is_refused_and_not_waited_for() {
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
    fn a_directory_that_is_too_deep_refuses_only_itself() {
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
    fn of_names_that_differ_in_normalisation_the_composed_one_is_served() {
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
