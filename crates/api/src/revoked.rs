//! The revocation list: a file with the ids of revoked tokens, beside the revocations in the store.
//!
//! The file is read a few times a second, not watched: reading notices every kind of change, also when Kubernetes swaps
//! symbolic links and on network file systems, and takes some microseconds.
//!
//! A faulty file never makes a revoked token valid again. Ids that are added count as soon as they are read. Ids that are
//! removed count until two reads in a row gave the same content, so that a file that is just being written is not taken for a
//! shorter one. While the file has a fault, all ids that were read before count.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use sidevault_keys::{RevocationList, RevocationListFault};
use sidevault_model::{Dependency, DependencyStatus};

/// How often the file is read. A token that is added to the list is refused within a second.
const READ_INTERVAL: Duration = Duration::from_millis(250);

/// The file with the list.
#[derive(Clone, Debug)]
pub struct RevokedFile {
    /// Its path.
    pub path: PathBuf,
    /// Whether the file must exist when the api starts: true if SIDEVAULT_REVOKED_FILE names it.
    pub required: bool,
}

/// The list has a fault, so it may lack ids.
#[derive(Debug, thiserror::Error)]
#[error("the revocation list {path}: {fault}")]
pub struct RevokedError {
    path: PathBuf,
    fault: RevocationListFault,
}

/// The ids on the revocation list.
#[derive(Default)]
pub struct Revoked {
    /// `None` if no path is configured.
    file: Option<RevokedFile>,
    state: RwLock<State>,
}

#[derive(Clone, Default)]
struct State {
    ids: Arc<HashSet<String>>,
    fault: Option<RevocationListFault>,
    /// Whether the file exists, or existed.
    exists: bool,
}

impl Revoked {
    /// Reads the list for the first time.
    ///
    /// # Errors
    /// If the list has a fault: the api can't know which tokens to refuse, and would accept them. A missing file is an
    /// error only if it is required.
    pub fn open(file: RevokedFile) -> Result<Self, RevokedError> {
        let mut list = RevocationList::read(&file.path);
        if list.fault.is_some() {
            // The file may be just being written.
            std::thread::sleep(READ_INTERVAL);
            list = RevocationList::read(&file.path);
        }
        let exists = list.fault != Some(RevocationListFault::Missing);
        match list.fault {
            Some(fault) if exists || file.required => {
                return Err(RevokedError { path: file.path, fault });
            }
            _ => {}
        }
        if exists {
            tracing::info!(path = %file.path.display(), tokens = list.ids.len(), "the revocation list was read");
        }
        let state = State {
            ids: Arc::new(list.ids),
            fault: None,
            exists,
        };
        Ok(Self {
            file: Some(file),
            state: RwLock::new(state),
        })
    }

    /// Whether a token is on the list.
    pub(crate) fn contains(&self, jti: &str) -> bool {
        self.state.read().ids.contains(jti)
    }

    /// The list's state for `/health`; `None` if there is no list.
    pub(crate) fn dependency(&self) -> Option<Dependency> {
        let state = self.state.read().clone();
        let tokens = match state.ids.len() {
            1 => "1 token is refused by it".to_owned(),
            count => format!("{count} tokens are refused by it"),
        };
        match state.fault {
            Some(fault) => {
                let part = Dependency::new("revocation list", DependencyStatus::Degraded)
                    .with_message(
                        "the list can't be read. Ids that were read before stay refused. The log of the api has the cause",
                    )
                    .with_detail(format!("{fault}. Ids that were read before stay refused: {tokens}"));
                Some(part)
            }
            None if state.exists => {
                Some(Dependency::new("revocation list", DependencyStatus::Active).with_detail(tokens))
            }
            None => None,
        }
    }

    /// Reads the file again and again, and calls `changed` after each change of the set of ids. Returns only if there is no
    /// file.
    pub(crate) async fn follow(&self, changed: impl Fn()) {
        let Some(file) = self.file.clone() else { return };
        let (mut before, mut is_settled) = (None, false);
        loop {
            tokio::time::sleep(READ_INTERVAL).await;
            let path = file.path.clone();
            let Ok(list) = tokio::task::spawn_blocking(move || RevocationList::read(&path)).await else {
                continue;
            };
            let is_stable = before.as_ref() == Some(&list);
            if is_stable && is_settled {
                continue;
            }
            if self.take(&file.path, &list, is_stable) {
                changed();
            }
            is_settled = is_stable;
            before = Some(list);
        }
    }

    /// Applies one read of the file. Returns whether the set of refused ids changed.
    fn take(&self, path: &Path, list: &RevocationList, is_stable: bool) -> bool {
        let known = self.state.read().clone();
        let is_missing = list.fault == Some(RevocationListFault::Missing);
        let mut next = known.clone();
        next.exists |= !is_missing;
        // A missing file is no fault if it is not required and never existed.
        let fault = list.fault.clone().filter(|_| next.exists);
        if is_stable && fault != known.fault {
            match &fault {
                Some(fault) => {
                    let path = path.display();
                    tracing::error!(%path, %fault, "the revocation list has a fault; ids that were read before stay refused");
                }
                None => tracing::info!(path = %path.display(), "the revocation list has no fault any more"),
            }
            next.fault = fault.clone();
        }
        let is_whole = is_stable && fault.is_none();
        let gone = known.ids.difference(&list.ids).count();
        let added = list.ids.difference(&known.ids).count();
        let changes = added > 0 || (is_whole && gone > 0);
        if added > 0 {
            tracing::info!(path = %path.display(), tokens = added, "the revocation list refuses more tokens");
        }
        if is_whole && gone > 0 {
            tracing::warn!(path = %path.display(), tokens = gone, "tokens are no longer on the revocation list");
            next.ids = Arc::new(list.ids.clone());
        } else if added > 0 {
            next.ids = Arc::new(&*known.ids | &list.ids);
        }
        *self.state.write() = next;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaa2";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbb2";

    struct TestList {
        folder: tempfile::TempDir,
        revoked: Revoked,
    }

    impl TestList {
        fn new(content: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("list");
            std::fs::write(&path, content).unwrap();
            let revoked = Revoked::open(RevokedFile { path, required: true }).unwrap();
            Self { folder, revoked }
        }

        /// Reads this content, for the first time or (`is_stable`) once more. Returns whether A is refused, B is refused, and
        /// the list is degraded.
        fn after(&self, content: &str, is_stable: bool) -> (bool, bool, bool) {
            let path = self.folder.path().join("list");
            let list = RevocationList::parse(content.as_bytes());
            self.revoked.take(&path, &list, is_stable);
            let is_degraded = self.revoked.dependency().unwrap().status != DependencyStatus::Active;
            (self.revoked.contains(A), self.revoked.contains(B), is_degraded)
        }
    }

    #[test]
    fn added_ids_count_at_once_and_removed_ids_until_two_reads_agree() {
        let list = TestList::new(&format!("{A}\n"));
        assert_eq!(list.after(&format!("{A}\n{B}\n"), false), (true, true, false));
        // Truncated by a program that writes it again.
        assert_eq!(list.after("", false), (true, true, false));
        let without_a = format!("{B}\n");
        assert_eq!(list.after(&without_a, false), (true, true, false));
        assert_eq!(list.after(&without_a, true), (false, true, false));
    }

    #[test]
    fn a_list_with_a_fault_makes_no_token_valid_again() {
        let list = TestList::new(&format!("{A}\n"));
        let faulty = format!("{B}\nwhat\n");
        assert_eq!(list.after(&faulty, false), (true, true, false));
        assert_eq!(list.after(&faulty, true), (true, true, true));
        let good = format!("{A}\n");
        assert_eq!(list.after(&good, false), (true, true, true));
        assert_eq!(list.after(&good, true), (true, false, false));
    }

    #[test]
    fn a_list_that_is_deleted_stays_in_force() {
        let list = TestList::new(&format!("{A}\n"));
        let path = list.folder.path().join("list");
        std::fs::remove_file(&path).unwrap();
        let gone = RevocationList::read(&path);
        for is_stable in [false, true] {
            assert!(!list.revoked.take(&path, &gone, is_stable));
        }
        assert!(list.revoked.contains(A));
        let said = list.revoked.dependency().unwrap();
        assert!(said.detail.unwrap().contains("does not exist"));
    }

    #[test]
    fn a_faulty_list_and_a_missing_required_list_are_errors_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let open = |required| {
            Revoked::open(RevokedFile {
                path: path.clone(),
                required,
            })
            .map(|list| list.dependency())
        };
        assert!(open(true).unwrap_err().to_string().contains("does not exist"));
        assert!(open(false).unwrap().is_none());
        std::fs::write(&path, "what").unwrap();
        for required in [false, true] {
            assert!(open(required).unwrap_err().to_string().contains("line 1"));
        }
    }
}
