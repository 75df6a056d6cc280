//! Finds the encrypted files of a tree, whatever their names are, and leaves plaintext out where the tree is meant to be
//! encrypted.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sidevault_keys::IdKey;
use sidevault_store::CHUNK_BYTES;

use super::beneath::{BeneathError, FileStamp, Root};
use super::draft::{says_sealed, stem};
use super::origin::FileOrigin;
use super::parallel_reads;
use super::read::{Loaded, MAX_ENCRYPTED_BYTES, Pass, RawFile, most_bytes, was_just_written};
use super::scanner::vault_id;
use super::selection::{Encrypted, LeftOut, LeftOutBy};
use super::tree::{FoundFile, RejectedPath, Tree};
use crate::config::DirectorySource;

/// Why a file that was served is not read any more.
pub(crate) const PLAINTEXT_NOW: &str = "the file was encrypted and is plaintext now, and this source serves encrypted files only: \
    encrypt it again with sops, or remove it. If it is meant to be plaintext, set `encrypted: any` for the source";

/// Why a plaintext file is named that was never served.
const NAMED_SEALED: &str =
    "its name says that SOPS encrypted it, and it is plaintext: encrypt it with sops, or rename it";

/// How many bytes of files that were read to find the encrypted ones are kept for the scan that follows. The files beyond are read
/// again.
const MAX_KEPT_BYTES: u64 = 32 << 20;

/// From how many files on a listing is looked at by several threads.
const MANY_FILES: usize = 256;

/// What is known of the files of a source from the scans before.
#[derive(Default)]
pub(crate) struct SealedFiles {
    /// By path in the tree.
    files: HashMap<String, Verdict>,
    /// Whether a file of the tree was encrypted once. While sync runs, the tree then counts as encrypted, so that it does not
    /// serve its plaintext at once when the last encrypted file is gone.
    any: bool,
}

#[derive(Default)]
struct Verdict {
    /// `None` if the file must be read again, because a later write may leave this stamp as it is.
    stamp: Option<FileStamp>,
    sealed: bool,
    /// Whether the file was encrypted at an earlier scan, or its items in the store are of an encrypted file.
    was_sealed: bool,
    /// What was read, until the source's scan takes it.
    loaded: Option<Arc<Loaded>>,
}

impl SealedFiles {
    /// Notes which files of a listing have items in the store that were read from an encrypted file: `sealed` has them by their
    /// [`FileOrigin`]. Without it, a file that was decrypted while sync did not run would be left out, and its items deleted.
    pub(crate) fn remember(&mut self, source: &str, ids: &IdKey, tree: &Tree, sealed: &HashSet<String>) {
        if sealed.is_empty() {
            return;
        }
        for found in &tree.files {
            let vault = vault_id(ids, &found.vault);
            if sealed.contains(FileOrigin::of(ids, source, vault, &found.relative, true).file()) {
                self.files.entry(found.relative.clone()).or_default().was_sealed = true;
                self.any = true;
            }
        }
    }

    /// Gives the files of a listing what was read of them.
    pub(crate) fn hand_over(&mut self, tree: &mut Tree) {
        for found in &mut tree.files {
            let verdict = self.files.get_mut(&found.relative);
            found.loaded = verdict.and_then(|verdict| verdict.loaded.take());
        }
        self.files.values_mut().for_each(|verdict| verdict.loaded = None);
    }

    /// Takes the plaintext out of a listing, as far as the source's rules say so. Returns the rule that was followed.
    pub(crate) fn choose(&mut self, source: &DirectorySource, tree: &mut Tree) -> Encrypted {
        let chosen = source.selection.encrypted;
        if chosen == Some(Encrypted::Any) {
            return Encrypted::Any;
        }
        let mut verdicts: Vec<Option<Verdict>> = tree
            .files
            .iter()
            .map(|found| self.files.remove(&found.relative))
            .collect();
        look_at_all(tree, &mut verdicts);
        let looked_at = tree.files.iter().zip(verdicts);
        self.files = looked_at
            .filter_map(|(found, verdict)| Some((found.relative.clone(), verdict?)))
            .collect();
        self.any |= self.files.values().any(|verdict| verdict.sealed);
        let rule = match chosen {
            Some(rule) => rule,
            None if self.any || tree.says_sealed => Encrypted::Only,
            None => Encrypted::Any,
        };
        match rule {
            Encrypted::Any => {}
            Encrypted::Only => {
                self.refuse(tree, PLAINTEXT_NOW, |verdict, _| !verdict.sealed && verdict.was_sealed);
                self.refuse(tree, NAMED_SEALED, |verdict, found| {
                    !verdict.sealed && says_sealed(&found.relative)
                });
                self.leave_out(tree, |verdict, _| !verdict.sealed);
            }
            Encrypted::Prefer => {
                let sealed: HashSet<(String, String)> = tree
                    .files
                    .iter()
                    .filter(|found| self.files.get(&found.relative).is_some_and(|verdict| verdict.sealed))
                    .map(place)
                    .collect();
                self.leave_out(tree, |verdict, found| !verdict.sealed && sealed.contains(&place(found)));
            }
        }
        rule
    }

    /// Takes out the files for which `is_out` holds. A file that could not be read stays in the list, and the scan says why.
    fn take_out(&self, tree: &mut Tree, is_out: impl Fn(&Verdict, &FoundFile) -> bool) -> Vec<FoundFile> {
        let known = |found: &FoundFile| self.files.get(&found.relative);
        let is_out = |found: &mut FoundFile| known(found).is_some_and(|verdict| is_out(verdict, found));
        tree.files.extract_if(.., is_out).collect()
    }

    fn leave_out(&self, tree: &mut Tree, is_out: impl Fn(&Verdict, &FoundFile) -> bool) {
        let out = self.take_out(tree, is_out).into_iter().map(|found| LeftOut {
            path: found.relative,
            by: LeftOutBy::Plaintext,
        });
        tree.left_out.extend(out);
    }

    /// An encrypted file that was written in the clear may have been decrypted by mistake, or is only half written. As with
    /// any other bad file, its items stay.
    fn refuse(&self, tree: &mut Tree, error: &str, is_bad: impl Fn(&Verdict, &FoundFile) -> bool) {
        for found in self.take_out(tree, is_bad) {
            let error = error.to_owned();
            let rejected = RejectedPath {
                vault: found.vault,
                error,
            };
            tree.refused.insert(found.relative, rejected);
        }
    }
}

/// The directory of a file, and the title that its name gives.
fn place(found: &FoundFile) -> (String, String) {
    let directory = found.relative.rsplit_once('/').map_or("", |(directory, _)| directory);
    (directory.to_owned(), stem(&found.relative).to_owned())
}

/// Brings what is known of the files of a listing up to date. Many files are looked at by several threads.
fn look_at_all(tree: &Tree, verdicts: &mut [Option<Verdict>]) {
    let room = AtomicU64::new(MAX_KEPT_BYTES);
    let look_at = |files: &[FoundFile], verdicts: &mut [Option<Verdict>]| {
        for (found, verdict) in files.iter().zip(verdicts) {
            let known = verdict.take();
            *verdict = look(&tree.root, found, known, room.load(Ordering::Relaxed));
            let kept = verdict.as_ref().map_or(0, Verdict::kept_bytes);
            room.update(Ordering::Relaxed, Ordering::Relaxed, |room| room.saturating_sub(kept));
        }
    };
    if tree.files.len() < MANY_FILES {
        return look_at(&tree.files, verdicts);
    }
    let share = tree.files.len().div_ceil(parallel_reads());
    std::thread::scope(|scope| {
        for (files, verdicts) in tree.files.chunks(share).zip(verdicts.chunks_mut(share)) {
            scope.spawn(|| look_at(files, verdicts));
        }
    });
}

/// Whether a file is encrypted; `None` if it can't be read and was not read before either.
///
/// If the file has at most `room` bytes, what was read is kept.
fn look(root: &Root, found: &FoundFile, known: Option<Verdict>, room: u64) -> Option<Verdict> {
    let known = match known {
        Some(known) if known.stamp == Some(found.stamp) => return Some(known),
        known => known,
    };
    let was_sealed = known.as_ref().is_some_and(|known| known.sealed || known.was_sealed);
    let begun = SystemTime::now();
    let read = || -> Result<Verdict, BeneathError> {
        let mut opened = root.file(&found.path)?;
        opened.stamp = opened.stamp.comparable_with(&found.stamp);
        let stamp = opened.stamp;
        let just_written = was_just_written(&stamp, begun);
        if stamp.size <= room.min(most_bytes(found)) {
            let mut bytes = Vec::new();
            (&mut opened.file).take(stamp.size + 1).read_to_end(&mut bytes)?;
            let is_whole = bytes.len() as u64 == stamp.size && !opened.has_changed()?;
            let raw = RawFile::of(found, bytes);
            return Ok(Verdict {
                stamp: Some(stamp).filter(|_| !just_written && is_whole),
                sealed: raw.sealed,
                was_sealed,
                // The content of a large binary file is read when it is stored.
                loaded: (is_whole && raw.bytes.is_some()).then(|| Arc::new(Loaded { raw, stamp, begun })),
            });
        }
        let mut pass = Pass::default();
        let mut file = opened.file.take(MAX_ENCRYPTED_BYTES + 1);
        let mut block = vec![0; CHUNK_BYTES];
        loop {
            let n = file.read(&mut block)?;
            if n == 0 {
                break;
            }
            pass.feed(&block[..n]);
        }
        Ok(Verdict {
            stamp: Some(stamp).filter(|_| !just_written),
            sealed: pass.is_sealed(found),
            was_sealed,
            loaded: None,
        })
    };
    match read() {
        Ok(verdict) => Some(verdict),
        Err(_) => known.map(|known| Verdict {
            stamp: None,
            loaded: None,
            ..known
        }),
    }
}

impl Verdict {
    fn kept_bytes(&self) -> u64 {
        self.loaded.as_ref().map_or(0, |loaded| loaded.stamp.size)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::selection::Selection;
    use super::super::tree::list;
    use super::*;

    const SEALED: &str = "k: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\nsops:\n    mac: x\n";

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    struct Chosen {
        files: Vec<String>,
        left_out: Vec<String>,
        refused: Vec<String>,
    }

    fn choose(files: &mut SealedFiles, root: &Path, encrypted: Option<Encrypted>) -> Chosen {
        let mut source = DirectorySource::new(root);
        source.selection = Selection::new(&[], &["Taskfile.yaml".to_owned()], true, encrypted).unwrap();
        let mut tree = list(&source).unwrap();
        files.choose(&source, &mut tree);
        let left_out = tree.left_out.iter().map(|out| format!("{} {:?}", out.path, out.by));
        Chosen {
            files: tree.files.iter().map(|found| found.relative.clone()).collect(),
            left_out: left_out.collect(),
            refused: tree.refused.into_keys().collect(),
        }
    }

    #[test]
    fn a_tree_with_an_encrypted_file_serves_no_plaintext() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for file in [
            "LICENSE",
            "Taskfile.yaml",
            "media/plex/kustomization.yaml",
            "tmp/a.yaml",
        ] {
            write(root, file, "k: v\n");
        }
        write(root, ".gitignore", "/tmp\n");
        let all = choose(&mut SealedFiles::default(), root, None);
        assert_eq!(all.files, ["LICENSE", "media/plex/kustomization.yaml"]);
        assert_eq!(all.left_out, ["Taskfile.yaml Excluded", "tmp Ignored"]);
        write(root, "media/plex/secret.enc", SEALED);
        write(root, "media/README.md", SEALED);
        let mut files = SealedFiles::default();
        let sealed = choose(&mut files, root, None);
        assert_eq!(sealed.files, ["media/plex/secret.enc"]);
        assert_eq!(
            sealed.left_out,
            [
                "Taskfile.yaml Excluded",
                "tmp Ignored",
                "LICENSE Plaintext",
                "media/README.md Plaintext",
                "media/plex/kustomization.yaml Plaintext"
            ]
        );
        let any = choose(&mut SealedFiles::default(), root, Some(Encrypted::Any));
        assert_eq!(any.files.len(), 4, "{:?}", any.files);
        // The last encrypted file is decrypted by mistake.
        write(root, "media/plex/secret.enc", "k: v\n");
        let decrypted = choose(&mut files, root, None);
        assert!(decrypted.files.is_empty(), "{:?}", decrypted.files);
        assert_eq!(decrypted.refused, ["media/plex/secret.enc"]);
    }

    #[test]
    fn plaintext_with_the_name_of_an_encrypted_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), ".sops.yaml", "creation_rules: []\n");
        for file in [
            "a.sops.yaml",
            "b.enc.yaml",
            "c.yaml.enc",
            "d.yaml",
            "e.dec.yaml",
            "f.enc",
        ] {
            write(dir.path(), file, "k: v\n");
        }
        let chosen = choose(&mut SealedFiles::default(), dir.path(), None);
        assert_eq!(chosen.refused, ["a.sops.yaml", "b.enc.yaml", "c.yaml.enc"]);
        assert_eq!(
            chosen.left_out,
            ["d.yaml Plaintext", "e.dec.yaml Plaintext", "f.enc Plaintext"]
        );
    }

    #[test]
    fn a_file_that_the_store_has_as_encrypted_is_refused_as_plaintext() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["v/a.yaml", "v/b.yaml"] {
            write(dir.path(), file, "k: v\n");
        }
        let ids = sidevault_keys::Credentials::from_seed(&[1; 32]).id_key();
        let source = DirectorySource::new(dir.path());
        let a = FileOrigin::of(&ids, &source.name, ids.vault("v"), "v/a.yaml", true);
        let mut files = SealedFiles::default();
        let mut tree = list(&source).unwrap();
        files.remember(&source.name, &ids, &tree, &HashSet::from([a.file().to_owned()]));
        assert_eq!(files.choose(&source, &mut tree), Encrypted::Only);
        assert_eq!(tree.refused.keys().collect::<Vec<_>>(), ["v/a.yaml"]);
        assert_eq!(tree.left_out[0].path, "v/b.yaml");
    }

    #[test]
    fn the_files_of_sops_and_git_crypt_at_the_top_say_that_a_tree_is_encrypted() {
        for (name, text) in [
            (".sops.yaml", "creation_rules: []\n"),
            (".gitattributes", "*.yaml filter=git-crypt\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "a.yaml", "k: v\n");
            let before = choose(&mut SealedFiles::default(), dir.path(), None);
            assert_eq!(before.files, ["a.yaml"]);
            write(dir.path(), name, text);
            let after = choose(&mut SealedFiles::default(), dir.path(), None);
            assert!(after.files.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_encrypted_file_is_preferred_to_the_plaintext_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a/db.sops.yaml", SEALED);
        for file in ["a/db.yaml", "a/other.yaml", "b/db.yaml"] {
            write(dir.path(), file, "k: v\n");
        }
        let chosen = choose(&mut SealedFiles::default(), dir.path(), Some(Encrypted::Prefer));
        assert_eq!(chosen.files, ["a/db.sops.yaml", "a/other.yaml", "b/db.yaml"]);
        assert_eq!(chosen.left_out, ["a/db.yaml Plaintext"]);
    }
}
