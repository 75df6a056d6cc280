//! What files a directory holds, and to which vault each belongs.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::DirectorySource;

/// A file that may become items.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The same from the tree's root, `/` between its parts: what its items' ids follow from.
    pub(crate) relative: String,
    /// The vault's name.
    pub(crate) vault: String,
    /// Changes whenever the file might have.
    pub(crate) stamp: FileStamp,
}

/// What tells that a file is still the one that was read. `ctime` can't be set back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileStamp {
    device: u64,
    inode: u64,
    pub(crate) size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A listing of the whole tree.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The root, without symbolic links: it must still be this one after everything was read.
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<Found>,
    /// Links that lead out of the tree, by path: they are not followed.
    pub(crate) refused: BTreeMap<String, String>,
}

/// How deep directories may be nested.
const DEEPEST: usize = 32;

/// Lists the tree. Hidden files and directories are left out: `.git`, `.sops.yaml`, and the
/// `..data` that Kubernetes keeps behind the links of a mounted volume.
///
/// # Errors
/// If any part can't be listed: then nothing can be said of what is missing.
pub(crate) fn list(source: &DirectorySource) -> Result<Tree, String> {
    let root = source
        .path
        .canonicalize()
        .map_err(|error| format!("{}: {error}", source.path.display()))?;
    let mut tree = Tree {
        root: root.clone(),
        files: Vec::new(),
        refused: BTreeMap::new(),
    };
    walk(source, &root, &[], &mut tree)?;
    if source.path.canonicalize().ok().as_deref() != Some(&*root) {
        return Err("the tree was swapped while it was listed".to_owned());
    }
    Ok(tree)
}

fn walk(source: &DirectorySource, dir: &Path, parts: &[String], tree: &mut Tree) -> Result<(), String> {
    if parts.len() > DEEPEST {
        return Err(format!("{}: nested more than {DEEPEST} deep", dir.display()));
    }
    let fail = |error: io::Error| format!("{}: {error}", dir.display());
    let mut entries = std::fs::read_dir(dir)
        .map_err(fail)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let mut below = parts.to_vec();
        below.push(name);
        let target = match path.canonicalize() {
            Ok(target) => target,
            // A broken link is a bad file; a file that is gone by now is being replaced.
            Err(error) => {
                tree.refused.insert(below.join("/"), error.to_string());
                continue;
            }
        };
        if !target.starts_with(&tree.root) {
            tree.refused.insert(
                below.join("/"),
                "a link that leads out of the tree is not followed".to_owned(),
            );
            continue;
        }
        let metadata = std::fs::metadata(&target).map_err(|error| format!("{}: {error}", path.display()))?;
        if metadata.is_dir() {
            // A link to a directory could lead in a circle.
            if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                walk(source, &path, &below, tree)?;
            }
        } else if metadata.is_file() {
            let vault = vault_of(source, &below);
            tree.files.push(Found {
                path,
                relative: below.join("/"),
                vault,
                stamp: FileStamp::of(&metadata),
            });
        }
    }
    Ok(())
}

/// The name of the vault a file belongs to.
fn vault_of(source: &DirectorySource, parts: &[String]) -> String {
    match (&source.vaults.single, parts) {
        (Some(vault), _) => vault.clone(),
        (None, [top, _, ..]) => source.vaults.renamed.get(top).unwrap_or(top).clone(),
        _ => source.name.clone(),
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
        assert!(tree.refused["escape"].contains("out of the tree"));
    }

    #[test]
    fn a_missing_root_is_an_error() {
        assert!(list(&DirectorySource::new("/nonexistent/secrets")).is_err());
    }
}
