//! A directory source from one scan of its tree to the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sidevault_keys::IdKey;
use sidevault_model::{VaultId, filter};
use sidevault_sops::Identities;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use unicode_normalization::UnicodeNormalization;

use super::beneath::{FileStamp, Root};
use super::draft::ItemDraft;
use super::identities::KeySources;
use super::items::{BuiltItems, ItemBuilder};
use super::read::{ReadError, load, understand};
use super::tree::{FoundFile, Tree, list};
use super::watch::Watch;
use super::{DirectoryAnswer, DirectoryJob, content};
use crate::config::DirectorySource;
use crate::metrics::Metrics;
use crate::queue::{Queue, QueueClosed};
use crate::status::{SourceState, Status};

/// How many files' items go to the writer at once,
const FILES_PER_JOB: usize = 64;
/// and from how many items on fewer files do: other writes wait meanwhile.
const ITEMS_PER_JOB: usize = 1000;

/// How retry a tree that was changing while it was read is read again. Twice as late each time.
const FIRST_RETRY: Duration = Duration::from_millis(50);

/// A file that was written to this short a time before it was read may be written to again without getting a new time:
/// Linux counts the times of files in steps of up to 10 ms.
const TIMESTAMP_STEP: Duration = Duration::from_millis(20);

/// What a directory source works with.
pub(crate) struct SourceContext {
    pub(crate) queue: Queue,
    pub(crate) ids: IdKey,
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Arc<Metrics>,
    /// The sources that stand before this one in the sources file. A new vault that two want is the first one's.
    pub(crate) earlier: Vec<DirectorySource>,
}

/// Serves a directory until it is told to stop.
pub(crate) async fn run(config: DirectorySource, context: SourceContext, stop: CancellationToken) {
    let mut source = DirectoryScanner::new(config, context);
    let work = async {
        let mut watch = Watch::new();
        let mut noticed = None;
        let mut retry = FIRST_RETRY;
        loop {
            watch.follow(&source.config.path).await;
            let next = match source.scan(noticed).await {
                Ok(next) => next,
                Err(QueueClosed) => return,
            };
            noticed = match next {
                Next::Wait => {
                    retry = FIRST_RETRY;
                    watch.changed(source.config.full_check).await
                }
                Next::Again => {
                    let since = noticed.unwrap_or_else(Instant::now);
                    let _event = watch.changed(retry).await;
                    retry = (2 * retry).min(source.config.full_check);
                    Some(since)
                }
            };
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

pub(crate) enum Next {
    Wait,
    /// The tree changed under our eyes.
    Again,
}

pub(crate) struct DirectoryScanner {
    config: Arc<DirectorySource>,
    keys: Arc<Mutex<KeySources>>,
    context: SourceContext,
    /// What was last seen of each file, by its path in the tree.
    records: HashMap<String, FileRecord>,
    /// The vaults that were this source's at the last scan.
    owned: HashSet<VaultId>,
    /// Paths that were not served at the last scan, each with the reason.
    failed: BTreeMap<String, String>,
}

struct FileRecord {
    /// The file as it was read; `None` if it has to be read again at the next scan.
    stamp: Option<FileStamp>,
    digest: [u8; 32],
    /// Why the file is bad; `None` if it is good.
    error: Option<String>,
}

/// A vault and the files that belong to it, whatever the case of their directories' names.
struct Group {
    name: String,
    files: Vec<FoundFile>,
}

impl DirectoryScanner {
    pub(crate) fn new(config: DirectorySource, context: SourceContext) -> Self {
        Self {
            keys: Arc::new(Mutex::new(KeySources::new(config.age_key_file.clone()))),
            config: Arc::new(config),
            context,
            records: HashMap::new(),
            owned: HashSet::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Scans the tree once. `noticed` is the time of the file event that caused the scan, if one did.
    pub(crate) async fn scan(&mut self, noticed: Option<Instant>) -> Result<Next, QueueClosed> {
        let (config, keys) = (self.config.clone(), self.keys.clone());
        let listed = spawn_blocking(move || {
            let tree = list(&config).map_err(|error| format!("{error}; what was read before is still served"))?;
            let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((tree, keys.load(&config.name)))
        });
        let (mut tree, identities) = match listed.await.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok((tree, identities)) => (tree, Arc::new(identities)),
            Err(error) => return Ok(self.fail(error)),
        };
        let mut groups = self.groups(std::mem::take(&mut tree.files));
        let files: usize = groups.values().map(|group| group.files.len()).sum();
        let mut failed: BTreeMap<String, String> = tree
            .refused
            .iter()
            .map(|(path, refused)| (path.clone(), refused.error.clone()))
            .collect();
        // Why no vault of the source can be served, if that is so.
        let mut nothing_served = None;
        let owned = match self.claim(&groups).await? {
            Ok((owned, refused)) => {
                if refused.len() == groups.len() {
                    nothing_served = refused.values().next().cloned();
                }
                for (vault, error) in refused {
                    let files = groups.remove(&vault).map(|group| group.files).unwrap_or_default();
                    failed.extend(files.into_iter().map(|found| (found.relative, error.clone())));
                }
                owned
            }
            Err(error) => return Ok(self.fail(error)),
        };
        let mut complete = !tree.changing;
        for (vault, group) in &groups {
            complete &= self.read_vault(*vault, &group.files, &tree.root, &identities).await?;
        }
        if !self.is_root(tree.root.clone()).await {
            return Ok(Next::Again);
        }
        // A file that was listed and is gone by now keeps its items until the next scan.
        if !tree.changing && files > 0 {
            self.prune(&tree, &groups, &owned).await?;
        }
        failed.extend(
            self.records
                .iter()
                .filter_map(|(path, record)| Some((path.clone(), record.error.clone()?))),
        );
        self.log_changes(&failed);
        self.failed.clone_from(&failed);
        let files = files + tree.refused.len();
        self.report(match nothing_served {
            Some(error) => SourceState::Failed(error),
            None => SourceState::Read { files, failed },
        });
        if !complete {
            return Ok(Next::Again);
        }
        if let Some(noticed) = noticed {
            self.context.metrics.propagated(noticed.elapsed());
        }
        Ok(Next::Wait)
    }

    fn fail(&self, error: String) -> Next {
        self.report(SourceState::Failed(error));
        Next::Wait
    }

    /// The files by vault. Directories whose names differ in case or Unicode normalisation only are one vault, named
    /// like the first of them in the order of bytes, as long as it is there.
    fn groups(&self, files: Vec<FoundFile>) -> BTreeMap<VaultId, Group> {
        let mut groups: BTreeMap<VaultId, Group> = BTreeMap::new();
        for found in files {
            let group = groups
                .entry(vault_id(&self.context.ids, &found.vault))
                .or_insert_with(|| Group {
                    name: found.vault.clone(),
                    files: Vec::new(),
                });
            if found.vault < group.name {
                group.name.clone_from(&found.vault);
            }
            group.files.push(found);
        }
        groups
    }

    /// Makes sure that the vaults are there. Gives all vaults of this source, and why it can't have some of those that
    /// it has files for.
    async fn claim(
        &mut self,
        groups: &BTreeMap<VaultId, Group>,
    ) -> Result<Result<(Vec<VaultId>, BTreeMap<VaultId, String>), String>, QueueClosed> {
        let reserved = if groups.keys().all(|vault| self.owned.contains(vault)) {
            BTreeMap::new()
        } else {
            self.earlier_vaults().await
        };
        let claim = DirectoryJob::Claim {
            source: self.config.name.clone(),
            vaults: groups.iter().map(|(id, group)| (*id, group.name.clone())).collect(),
            reserved,
        };
        Ok(match self.context.queue.directory(claim).await? {
            Ok(DirectoryAnswer::Claimed { owned, refused }) => {
                self.owned = owned.iter().copied().collect();
                Ok((owned, refused))
            }
            Ok(_) => Err("the writer did not say which vaults there are".to_owned()),
            Err(error) => Err(error),
        })
    }

    /// The vaults for which sources that stand before this one have files now. They are looked for in the trees, since
    /// those sources may not have read them yet. A tree that can't be listed wants nothing.
    async fn earlier_vaults(&self) -> BTreeMap<VaultId, String> {
        let (earlier, ids) = (self.context.earlier.clone(), self.context.ids.clone());
        let listed = spawn_blocking(move || {
            let mut vaults = BTreeMap::new();
            for source in &earlier {
                for found in list(source).map(|tree| tree.files).unwrap_or_default() {
                    vaults
                        .entry(vault_id(&ids, &found.vault))
                        .or_insert_with(|| source.name.clone());
                }
            }
            vaults
        });
        listed.await.unwrap_or_default()
    }

    /// Whether the tree that was read is still the source's.
    async fn is_root(&self, root: Arc<Root>) -> bool {
        let config = self.config.clone();
        spawn_blocking(move || root.is_at(&config.path)).await.unwrap_or(false)
    }

    /// What a file's items are known by in the store.
    fn origin(&self, vault: VaultId, relative: &str) -> String {
        self.context
            .ids
            .item(vault, &format!("origin\0{}\0{relative}", self.config.name))
            .to_string()
    }

    /// Reads what changed of a vault's files. False if some vanished meanwhile.
    async fn read_vault(
        &mut self,
        vault: VaultId,
        files: &[FoundFile],
        root: &Arc<Root>,
        identities: &Arc<Identities>,
    ) -> Result<bool, QueueClosed> {
        let mut complete = true;
        let mut ready: Vec<(String, Vec<ItemDraft>)> = Vec::new();
        let mut items = 0;
        for found in files {
            match self.read_file(vault, found, root, identities).await? {
                Ok(Some(drafts)) => {
                    items += drafts.len();
                    ready.push((self.origin(vault, &found.relative), drafts));
                }
                Ok(None) => {}
                Err(ReadError::Gone) => complete = false,
                Err(ReadError::Bad(error)) => self.refuse(found, error),
            }
            if ready.len() == FILES_PER_JOB || items >= ITEMS_PER_JOB {
                items = 0;
                self.apply(vault, std::mem::take(&mut ready)).await?;
            }
        }
        if !ready.is_empty() {
            self.apply(vault, ready).await?;
        }
        Ok(complete)
    }

    /// The items a file makes, their contents stored; None if it is as it was.
    async fn read_file(
        &mut self,
        vault: VaultId,
        found: &FoundFile,
        root: &Arc<Root>,
        identities: &Arc<Identities>,
    ) -> Result<Result<Option<Vec<ItemDraft>>, ReadError>, QueueClosed> {
        let record = self.records.get(&found.relative);
        if record.is_some_and(|record| record.error.is_none() && record.stamp == Some(found.stamp)) {
            return Ok(Ok(None));
        }
        let good_digest = record.filter(|record| record.error.is_none()).map(|record| record.digest);
        let (root, file, keys, ids) = (root.clone(), found.clone(), identities.clone(), self.context.ids.clone());
        let read = spawn_blocking(move || {
            let begun = SystemTime::now();
            let mut opened = root.file(&file.path)?;
            let raw = load(&file, &mut opened)?;
            let record = FileRecord {
                stamp: Some(opened.stamp).filter(|stamp| !is_fresh(stamp, begun)),
                digest: raw.digest,
                error: None,
            };
            if good_digest == Some(raw.digest) {
                return Ok((record, None));
            }
            let contents = understand(&file, &raw, &keys)?;
            let builder = ItemBuilder {
                ids: &ids,
                vault,
                relative: &file.relative,
            };
            Ok((record, Some(builder.make(contents, &raw, opened)?)))
        });
        let (record, made) = match read
            .await
            .unwrap_or_else(|panic| Err(ReadError::Bad(panic.to_string())))
        {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let drafts = match made {
            None => None,
            Some(BuiltItems { drafts, uploads }) => {
                for upload in uploads {
                    if let Err(error) = content::store(&self.context.queue, vault, upload).await? {
                        return Ok(Err(ReadError::Bad(error)));
                    }
                }
                Some(drafts)
            }
        };
        self.records.insert(found.relative.clone(), record);
        Ok(Ok(drafts))
    }

    async fn apply(&mut self, vault: VaultId, files: Vec<(String, Vec<ItemDraft>)>) -> Result<(), QueueClosed> {
        let job = DirectoryJob::Apply {
            source: self.config.name.clone(),
            vault,
            files,
        };
        if let Err(error) = self.context.queue.directory(job).await? {
            // Read again next time: what was read did not get into the store.
            self.records.clear();
            tracing::error!(source = self.config.name, error, "items could not be stored");
        }
        Ok(())
    }

    /// Forgets the files that are gone, and removes their items. Not called for a tree without any file, which is taken
    /// for a volume that is not mounted.
    async fn prune(
        &mut self,
        tree: &Tree,
        groups: &BTreeMap<VaultId, Group>,
        owned: &[VaultId],
    ) -> Result<(), QueueClosed> {
        let present: HashSet<&str> = groups
            .values()
            .flat_map(|group| group.files.iter().map(|found| found.relative.as_str()))
            .collect();
        self.records.retain(|relative, _| present.contains(relative.as_str()));
        let ids = &self.context.ids;
        let unlisted: HashSet<VaultId> = tree.unlisted.iter().map(|name| vault_id(ids, name)).collect();
        // What is refused now may have been a file before: an error deletes nothing.
        let refused: Vec<(VaultId, String)> = tree
            .refused
            .iter()
            .map(|(path, refused)| (vault_id(ids, &refused.vault), path.nfc().collect()))
            .collect();
        let mut removed = 0;
        for vault in owned.iter().filter(|vault| !unlisted.contains(*vault)) {
            let files = groups.get(vault).map_or(&[][..], |group| &group.files);
            let files = files.iter().map(|found| found.relative.as_str());
            let refused = refused
                .iter()
                .filter(|(its, _)| its == vault)
                .map(|(_, path)| path.as_str());
            let origins = files
                .chain(refused)
                .map(|relative| self.origin(*vault, relative))
                .collect();
            match self
                .context
                .queue
                .directory(DirectoryJob::Prune { vault: *vault, origins })
                .await?
            {
                Ok(DirectoryAnswer::Pruned(items)) => removed += items,
                Ok(_) => {}
                Err(error) => tracing::error!(
                    source = self.config.name,
                    error,
                    "items of removed files could not be removed"
                ),
            }
        }
        if removed > 0 {
            tracing::info!(
                source = self.config.name,
                items = removed,
                "files were removed, and so are their items"
            );
        }
        Ok(())
    }

    fn refuse(&mut self, found: &FoundFile, error: String) {
        let record = self.records.entry(found.relative.clone()).or_insert(FileRecord {
            stamp: None,
            digest: [0; 32],
            error: None,
        });
        record.error = Some(error);
    }

    fn log_changes(&self, failed: &BTreeMap<String, String>) {
        let source = &self.config.name;
        for (file, error) in failed {
            if self.failed.get(file) != Some(error) {
                tracing::warn!(source, file, error, "a file can't be read; its items stay as they were");
            }
        }
        for file in self.failed.keys().filter(|file| !failed.contains_key(*file)) {
            tracing::info!(source, file, "the file is good again, or gone");
        }
    }

    fn report(&self, state: SourceState) {
        self.context.status.source(&self.config.name, state);
    }
}

fn vault_id(ids: &IdKey, name: &str) -> VaultId {
    ids.vault(&filter::fold(name))
}

/// Whether a file was written to so short a time before `now` that its times can't tell of another write.
fn is_fresh(stamp: &FileStamp, now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = |(seconds, nanoseconds): (i128, i128)| seconds * 1_000_000_000 + nanoseconds;
    let now = nanoseconds((now.as_secs().into(), now.subsec_nanos().into()));
    (now - nanoseconds(stamp.ctime)).unsigned_abs() < TIMESTAMP_STEP.as_nanos()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_that_was_just_written_is_read_once_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), "k: v").unwrap();
        let written = SystemTime::now();
        let tree = list(&DirectorySource::new(dir.path())).unwrap();
        let stamp = &tree.files[0].stamp;
        assert!(is_fresh(stamp, written));
        assert!(!is_fresh(stamp, written + Duration::from_secs(1)));
        // A clock that was set back says nothing of the file.
        assert!(!is_fresh(stamp, written - Duration::from_secs(1)));
    }
}
