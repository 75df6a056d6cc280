//! A directory source: scans its tree, hands what changed to the writer, waits for the next change, and starts over.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use parking_lot::Mutex;
use sidevault_keys::IdKey;
use sidevault_model::{VaultId, filter};
use sidevault_sops::Identities;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use unicode_normalization::UnicodeNormalization;

use super::beneath::Root;
use super::draft::ItemDraft;
use super::identities::KeySources;
use super::items::{BuiltItems, ItemBuilder};
use super::origin::FileOrigin;
use super::read::{ReadError, parse, was_just_written};
use super::records::{FileError, FileRecord, Records};
use super::sealed::{PLAINTEXT_NOW, SealedFiles};
use super::selection::{Encrypted, LeftOutCounts};
use super::tree::{FoundFile, Tree, list};
use super::watch::Watch;
use super::write::WriteRequests;
use super::{DirectoryAnswer, DirectoryJob, content, parallel_reads, run_blocking};
use crate::config::DirectorySource;
use crate::git::Publisher;
use crate::metrics::Metrics;
use crate::queue::{JobError, Queue, QueueClosed};
use crate::status::{SourceState, Status};

/// The most files whose items go to the writer in one job.
const FILES_PER_JOB: usize = 64;

/// A job is sent to the writer as soon as it has this many items, because other writes wait while it is carried out.
const ITEMS_PER_JOB: usize = 1000;

/// How soon a tree that changed during its scan is scanned again. The time doubles with each further attempt.
const FIRST_RETRY: Duration = Duration::from_millis(50);

/// What a directory source works with.
pub(crate) struct SourceContext {
    pub(crate) queue: Queue,
    pub(crate) ids: IdKey,
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Arc<Metrics>,
    /// Which files of this source are encrypted.
    pub(crate) sealed: SharedSealedFiles,
    /// The sources above this one in the sources file, each with what is known of its files. If two sources have files for one new
    /// vault, the upper one gets it.
    pub(crate) earlier: Vec<(DirectorySource, SharedSealedFiles)>,
    /// Commits and pushes clients' writes, if the source is a Git repository.
    pub(crate) publisher: Option<Publisher>,
}

/// Which files of a source are encrypted. The scanners of the sources below it in the sources file use it as well, so that no file is
/// read by each of them.
pub(crate) type SharedSealedFiles = Arc<Mutex<SealedFiles>>;

/// Serves a directory until `stop` is cancelled or the writer is gone.
pub(crate) async fn run(config: DirectorySource, context: SourceContext, stop: CancellationToken) {
    let mut scanner = DirectoryScanner::new(config, context);
    stop.run_until_cancelled(scanner.scan_forever()).await;
}

/// What to do after a scan.
pub(crate) enum Next {
    /// Wait for a file event or the next full check.
    Wait,
    /// Scan again soon: the tree changed during the scan.
    Again,
}

pub(crate) struct DirectoryScanner {
    pub(super) config: Arc<DirectorySource>,
    pub(super) keys: Arc<Mutex<KeySources>>,
    /// The rule for plaintext at the last scan.
    pub(super) encrypted: Encrypted,
    pub(super) context: SourceContext,
    /// Writes of clients to the files; `None` if the source takes none.
    writes: Option<WriteRequests>,
    /// What was last read of each file, by its path in the tree.
    pub(super) records: Records,
    /// The first folder that gives its files a vault, by vault, for the vaults that `.sidevault.yaml` files name.
    pub(super) folders: HashMap<VaultId, PathBuf>,
    /// Whether the store was asked which files were encrypted when they were last read.
    remembers_sealed: bool,
    /// The vaults that belonged to this source at the last scan.
    owned: HashSet<VaultId>,
    /// The paths that were not served at the last scan, each with the reason.
    failed: BTreeMap<String, String>,
    /// Whether a title was read or removed since `shared_titles` was computed.
    pub(super) titles_changed: bool,
    /// The titles that items of several files have, each with the names of these files.
    shared_titles: BTreeMap<(VaultId, String), String>,
    /// Whether `.sidevault.yaml` files of the last complete listing chose vaults; true before there was one.
    may_have_folder_vaults: bool,
    /// The folders that the sources file names and the tree did not have at the last scan.
    missing_folders: BTreeSet<String>,
    /// How many scans were begun; the log names each by its number.
    scans: u64,
    parallel_reads: usize,
    /// A digest of the paths for which the store was last searched for items of other paths; `None` if that has to be done again.
    pruned: Option<u64>,
    hasher: RandomState,
}

/// A vault, and the files for it. The names of their directories may differ in case.
struct VaultFiles {
    name: String,
    files: Vec<FoundFile>,
}

/// What the files of a scan are read with.
pub(super) struct Given {
    pub(super) identities: Identities,
    pub(super) encrypted: Encrypted,
}

/// What was last read of a file, and its items; no items if its content is unchanged.
type FileRead = (FileRecord, Option<BuiltItems>);

/// Items that the writer is storing, while the next files are read.
#[derive(Default)]
struct Applying(Option<JoinHandle<Result<DirectoryAnswer, JobError>>>);

/// The items of some files, each with the file that they come from.
type ItemsOfFiles = Vec<(FileOrigin, Vec<ItemDraft>)>;

/// The writer's answer about the vaults that a source has files for.
struct Claimed {
    /// All vaults of the source.
    owned: Vec<VaultId>,
    /// The vaults that it can't have, each with the reason.
    refused: BTreeMap<VaultId, String>,
}

impl DirectoryScanner {
    pub(crate) fn new(config: DirectorySource, context: SourceContext) -> Self {
        Self {
            keys: Arc::new(Mutex::new(KeySources::new(config.age_key_files.clone()))),
            encrypted: Encrypted::Only,
            writes: config.writable.then(WriteRequests::new),
            config: Arc::new(config),
            context,
            records: Records::default(),
            folders: HashMap::new(),
            remembers_sealed: false,
            owned: HashSet::new(),
            failed: BTreeMap::new(),
            titles_changed: false,
            shared_titles: BTreeMap::new(),
            may_have_folder_vaults: true,
            missing_folders: BTreeSet::new(),
            scans: 0,
            parallel_reads: parallel_reads(),
            pruned: None,
            hasher: RandomState::new(),
        }
    }

    /// Scans the tree whenever it changes, until the writer is gone.
    async fn scan_forever(&mut self) {
        let mut watch = Watch::new();
        let mut noticed = None;
        let mut pauses = self.retry_pauses();
        loop {
            watch.follow(&self.config.path).await;
            let next = match self.scan(noticed).await {
                Ok(next) => next,
                Err(QueueClosed) => return,
            };
            noticed = match next {
                Next::Wait => {
                    pauses = self.retry_pauses();
                    let full_check = self.config.full_check;
                    match self.write_until(watch.changed(full_check)).await {
                        Ok(noticed) => noticed,
                        Err(QueueClosed) => return,
                    }
                }
                Next::Again => {
                    let since = noticed.unwrap_or_else(Instant::now);
                    // Another file event ends the pause early.
                    let pause = pauses.next().unwrap_or(self.config.full_check);
                    if let Err(QueueClosed) = self.write_until(watch.changed(pause)).await {
                        return;
                    }
                    Some(since)
                }
            };
        }
    }

    /// Carries out clients' writes until `done` is.
    async fn write_until<T>(&mut self, done: impl Future<Output = T>) -> Result<T, QueueClosed> {
        tokio::pin!(done);
        loop {
            let next = async {
                match &mut self.writes {
                    Some(writes) => writes.next().await,
                    None => None,
                }
            };
            tokio::select! {
                outcome = &mut done => return Ok(outcome),
                Some(request) = next => self.carry_out(request).await?,
            }
        }
    }

    /// Pauses that double from [`FIRST_RETRY`] up to the time of the full check.
    fn retry_pauses(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(FIRST_RETRY)
            .with_max_delay(self.config.full_check)
            .without_max_times()
            .build()
    }

    /// Scans the tree once. `noticed` is the time of the file event that caused the scan, if one did.
    ///
    /// # Errors
    /// [`QueueClosed`] if the writer is gone.
    pub(crate) async fn scan(&mut self, noticed: Option<Instant>) -> Result<Next, QueueClosed> {
        self.scans += 1;
        let commit = self.config.served().map(|served| served.name);
        let span = tracing::info_span!("scan", source = self.config.name, scan = self.scans, commit);
        self.scan_tree(noticed).instrument(span).await
    }

    async fn scan_tree(&mut self, noticed: Option<Instant>) -> Result<Next, QueueClosed> {
        let remembered = match self.remembered().await {
            Ok(remembered) => remembered,
            Err(JobError::Closed(closed)) => return Err(closed),
            Err(error) => return Ok(self.fail(error.to_string())),
        };
        let (mut tree, given) = match self.list_tree(remembered).await {
            Ok((tree, given)) => (tree, Arc::new(given)),
            Err(error) => return Ok(self.fail(error)),
        };
        self.remembers_sealed = true;
        self.encrypted = given.encrypted;
        let missing = std::mem::take(&mut tree.missing_folders);
        for folder in missing.difference(&self.missing_folders) {
            tracing::warn!(
                folder,
                "`folders` of the source names a folder that the tree does not have"
            );
        }
        self.missing_folders = missing;
        if self.writes.is_some() {
            self.folders = folders_of_vaults(&tree.files, &self.context.ids);
        }
        let mut vaults = self.by_vault(std::mem::take(&mut tree.files));
        let files: usize = vaults.values().map(|vault| vault.files.len()).sum();
        let mut failed: BTreeMap<String, String> = tree
            .refused
            .iter()
            .map(|(path, rejected)| (path.clone(), rejected.error.clone()))
            .collect();
        let Claimed { owned, refused } = match self.claim(&vaults).await {
            Ok(claimed) => claimed,
            Err(JobError::Closed(closed)) => return Err(closed),
            Err(error) => return Ok(self.fail(error.to_string())),
        };
        // If the source can have none of its vaults, it serves nothing, and the first reason stands for all.
        let nothing_served = if refused.len() == vaults.len() {
            refused.values().next().cloned()
        } else {
            None
        };
        for (vault, error) in refused {
            let files = vaults.remove(&vault).map(|vault| vault.files).unwrap_or_default();
            failed.extend(files.into_iter().map(|found| (found.relative, error.clone())));
        }
        let mut complete = !tree.changing;
        for (id, vault) in &vaults {
            let span = tracing::info_span!("vault", vault = %id);
            let read = self.read_vault(*id, &vault.files, &tree, &given);
            complete &= read.instrument(span).await?;
        }
        if !self.is_current_root(tree.root.clone()).await {
            return Ok(Next::Again);
        }
        // If the tree changed during the scan, a file may have been missed: the next scan removes what is really gone.
        if !tree.changing && !self.may_miss_vaults(&tree) && files + tree.left_out.len() > 0 {
            self.prune(&tree, &vaults, &owned).await?;
        }
        if let Some(writes) = &self.writes {
            writes.accept(self.context.queue.tree_writers(), self.owned.iter().copied());
        }
        let errors = self
            .records
            .iter()
            .filter_map(|(path, record)| Some((path, record.error.as_ref()?)));
        failed.extend(errors.map(|(path, error)| (path.clone(), error.message.clone())));
        self.log_changes(&failed);
        self.failed.clone_from(&failed);
        self.log_shared_titles(&vaults);
        let files = files + tree.refused.len();
        self.report(match nothing_served {
            Some(error) => SourceState::Failed(error),
            None => SourceState::Read {
                files,
                failed,
                left_out: LeftOutCounts::of(&tree.left_out),
                without_age_key: self.files_without_age_key(),
            },
        });
        if !complete {
            return Ok(Next::Again);
        }
        if let Some(noticed) = noticed {
            self.context.metrics.propagated(noticed.elapsed());
        }
        Ok(Next::Wait)
    }

    /// The files that were encrypted when they were last read, from the store. They are asked for once.
    async fn remembered(&self) -> Result<HashSet<String>, JobError> {
        if self.remembers_sealed {
            return Ok(HashSet::new());
        }
        let source = self.config.name.clone();
        match self
            .context
            .queue
            .directory(DirectoryJob::SealedFiles { source })
            .await?
        {
            DirectoryAnswer::Files(files) => Ok(files),
            _ => Err(JobError::WrongAnswer),
        }
    }

    /// Lists the tree and reads the age keys. `remembered` are files that were encrypted when they were last read.
    async fn list_tree(&self, remembered: HashSet<String>) -> Result<(Tree, Given), String> {
        let (config, keys, sealed) = (self.config.clone(), self.keys.clone(), self.context.sealed.clone());
        let ids = self.context.ids.clone();
        run_blocking(move || {
            let mut tree = list(&config).map_err(|error| format!("{error}; what was read before is still served"))?;
            let encrypted = {
                let mut sealed = sealed.lock();
                sealed.remember(&config.name, &ids, &tree, &remembered);
                let encrypted = sealed.choose(&config, &mut tree);
                sealed.hand_over(&mut tree);
                encrypted
            };
            let identities = keys.lock().load(&config.name);
            Ok((tree, Given { identities, encrypted }))
        })
        .await?
    }

    /// Reports that the tree as a whole can't be read. All items stay.
    fn fail(&self, error: String) -> Next {
        self.report(SourceState::Failed(error));
        Next::Wait
    }

    fn files_without_age_key(&self) -> usize {
        let errors = self.records.iter().filter_map(|(_, record)| record.error.as_ref());
        errors.filter(|error| error.needs_age_key).count()
    }

    /// The files by vault. Directories whose names differ only in case or Unicode normalisation are one vault. It has
    /// the name of the directory that comes first in the order of bytes.
    fn by_vault(&self, files: Vec<FoundFile>) -> BTreeMap<VaultId, VaultFiles> {
        let mut vaults: BTreeMap<VaultId, VaultFiles> = BTreeMap::new();
        for found in files {
            let vault = vaults
                .entry(vault_id(&self.context.ids, &found.vault))
                .or_insert_with(|| VaultFiles {
                    name: found.vault.clone(),
                    files: Vec::new(),
                });
            if found.vault < vault.name {
                vault.name.clone_from(&found.vault);
            }
            vault.files.push(found);
        }
        vaults
    }

    /// Makes the vaults that the source has files for, as far as it can have them.
    async fn claim(&mut self, vaults: &BTreeMap<VaultId, VaultFiles>) -> Result<Claimed, JobError> {
        let reserved = if vaults.keys().all(|vault| self.owned.contains(vault)) {
            BTreeMap::new()
        } else {
            self.earlier_vaults().await
        };
        let claim = DirectoryJob::Claim {
            source: self.config.name.clone(),
            vaults: vaults.iter().map(|(id, vault)| (*id, vault.name.clone())).collect(),
            reserved,
        };
        match self.context.queue.directory(claim).await? {
            DirectoryAnswer::Claimed { owned, refused } => {
                self.owned = owned.iter().copied().collect();
                Ok(Claimed { owned, refused })
            }
            _ => Err(JobError::WrongAnswer),
        }
    }

    /// The vaults that sources above this one in the sources file have files for, by the name of the source. Their
    /// trees are listed for it, because those sources may not have been scanned yet. Their files are read only if those sources have
    /// not read them yet. A tree that can't be listed reserves nothing.
    async fn earlier_vaults(&self) -> BTreeMap<VaultId, String> {
        let (earlier, ids) = (self.context.earlier.clone(), self.context.ids.clone());
        let listed = run_blocking(move || {
            let mut vaults = BTreeMap::new();
            for (source, sealed) in &earlier {
                let listed = list(source).map(|mut tree| {
                    sealed.lock().choose(source, &mut tree);
                    tree.files
                });
                for found in listed.unwrap_or_default() {
                    vaults
                        .entry(vault_id(&ids, &found.vault))
                        .or_insert_with(|| source.name.clone());
                }
            }
            vaults
        });
        listed.await.unwrap_or_default()
    }

    /// Whether the source's path still leads to the tree that was read.
    async fn is_current_root(&self, root: Arc<Root>) -> bool {
        let config = self.config.clone();
        run_blocking(move || root.is_at(&config.path)).await.unwrap_or(false)
    }

    /// The key under which the store finds all items of a file, as it was read last.
    pub(super) fn origin(&self, vault: VaultId, relative: &str) -> FileOrigin {
        let sealed = self.records.get(relative).is_some_and(|record| record.sealed);
        FileOrigin::of(&self.context.ids, &self.config.name, vault, relative, sealed)
    }

    /// Reads the files of a vault that changed, and hands their items to the writer. Returns `false` if a file
    /// vanished meanwhile.
    async fn read_vault(
        &mut self,
        vault: VaultId,
        files: &[FoundFile],
        tree: &Tree,
        given: &Arc<Given>,
    ) -> Result<bool, QueueClosed> {
        let mut complete = true;
        let mut ready = ItemsOfFiles::new();
        let mut items = 0;
        let mut applying = Applying::default();
        // Files are read at the same time, and taken in their order.
        let mut waiting = files.iter();
        let mut reading = VecDeque::new();
        loop {
            while reading.len() < self.parallel_reads
                && let Some(found) = waiting.next()
            {
                reading.extend(self.begin_read(found, &tree.root, given).map(|read| (found, read)));
            }
            let Some((found, read)) = reading.pop_front() else {
                break;
            };
            match self.finish_read(vault, found, read.await).await {
                Ok(Some(drafts)) => {
                    items += drafts.len();
                    ready.push((self.origin(vault, &found.relative), drafts));
                }
                Ok(None) => {}
                Err(ReadError::Closed(closed)) => return Err(closed),
                Err(ReadError::Gone) => complete = false,
                Err(ReadError::Bad(error)) => self.reject(found, error, false),
                Err(ReadError::NoAgeKey(error)) => self.reject(found, error, true),
            }
            if ready.len() == FILES_PER_JOB || items >= ITEMS_PER_JOB {
                items = 0;
                self.apply(&mut applying, vault, std::mem::take(&mut ready), tree)
                    .await?;
            }
        }
        if !ready.is_empty() {
            self.apply(&mut applying, vault, ready, tree).await?;
        }
        self.applied(&mut applying).await?;
        Ok(complete)
    }

    /// The items of a file, after the contents of their files were stored; `None` if the file is unchanged.
    pub(super) async fn read_file(
        &mut self,
        vault: VaultId,
        found: &FoundFile,
        root: &Arc<Root>,
        given: &Arc<Given>,
    ) -> Result<Option<Vec<ItemDraft>>, ReadError> {
        match self.begin_read(found, root, given) {
            Some(read) => self.finish_read(vault, found, read.await).await,
            None => Ok(None),
        }
    }

    /// Begins to read a file on another thread; `None` if it is unchanged.
    fn begin_read(
        &self,
        found: &FoundFile,
        root: &Arc<Root>,
        given: &Arc<Given>,
    ) -> Option<impl Future<Output = Result<FileRead, ReadError>> + use<>> {
        let good = self
            .records
            .get(&found.relative)
            .filter(|record| record.error.is_none() && record.settings == found.settings);
        if good.is_some_and(|record| record.stamp == Some(found.stamp)) {
            return None;
        }
        let good_digest = good.map(|record| record.digest);
        let (root, file, given, ids) = (root.clone(), found.clone(), given.clone(), self.context.ids.clone());
        let titles = self.config.titles;
        let read = run_blocking(move || -> Result<FileRead, ReadError> {
            let (loaded, opened) = file.read(&root)?;
            let (raw, stamp) = (&loaded.raw, loaded.stamp);
            let record = FileRecord {
                stamp: Some(stamp).filter(|stamp| !was_just_written(stamp, loaded.begun)),
                digest: raw.digest,
                sealed: raw.sealed,
                ..FileRecord::unread(file.settings.clone(), file.path.clone())
            };
            if given.encrypted == Encrypted::Only && !raw.sealed {
                // The file was replaced after the listing.
                return Err(ReadError::Bad(PLAINTEXT_NOW.to_owned()));
            }
            if good_digest == Some(raw.digest) {
                return Ok((record, None));
            }
            let contents = parse(&file, raw, &given.identities)?;
            let built = ItemBuilder::of(&file, &ids, titles).build(contents, raw, opened)?;
            Ok((record, Some(built)))
        });
        Some(async { read.await.unwrap_or_else(|error| Err(ReadError::Bad(error))) })
    }

    /// The items of a file that was read, after the contents of their files were stored; `None` if its content is unchanged.
    async fn finish_read(
        &mut self,
        vault: VaultId,
        found: &FoundFile,
        read: Result<FileRead, ReadError>,
    ) -> Result<Option<Vec<ItemDraft>>, ReadError> {
        let (mut record, built) = read?;
        let Some(BuiltItems { drafts, uploads }) = built else {
            if let Some(known) = self.records.get_mut(&found.relative) {
                known.stamp = record.stamp;
            }
            return Ok(None);
        };
        for upload in uploads {
            content::store(&self.context.queue, vault, upload).await?;
        }
        if self.writes.is_some() {
            record.items = drafts.iter().map(|draft| draft.id).collect();
        }
        record.titles = drafts.iter().map(|draft| draft.title.clone()).collect();
        record.titles.sort_unstable();
        record.titles.dedup();
        self.titles_changed = true;
        self.records.insert(found.relative.clone(), record);
        Ok(Some(drafts))
    }

    /// Hands the items of some files to the writer, when it has stored those before.
    async fn apply(
        &mut self,
        applying: &mut Applying,
        vault: VaultId,
        files: ItemsOfFiles,
        tree: &Tree,
    ) -> Result<(), QueueClosed> {
        self.applied(applying).await?;
        let job = DirectoryJob::Apply {
            source: self.config.name.clone(),
            vault,
            files,
            commit: tree.commit.clone(),
        };
        let queue = self.context.queue.clone();
        let storing = async move { queue.directory(job).await };
        applying.0 = Some(tokio::spawn(storing.in_current_span()));
        Ok(())
    }

    /// Waits until the writer has stored what it was handed last.
    async fn applied(&mut self, applying: &mut Applying) -> Result<(), QueueClosed> {
        let Some(storing) = applying.0.take() else {
            return Ok(());
        };
        match storing.await.unwrap_or(Err(JobError::WrongAnswer)) {
            Ok(_) => Ok(()),
            Err(JobError::Closed(closed)) => Err(closed),
            Err(error) => {
                // The store does not have what was read, so the next scan must read it again.
                self.records.clear();
                tracing::error!(%error, "items could not be stored; the next scan tries again");
                Ok(())
            }
        }
    }

    /// Whether files that are in the tree may be missing in a listing without a trace in their vault: a `.sidevault.yaml` that can't be
    /// used, or is in a directory that can't be listed, may give them any vault.
    fn may_miss_vaults(&mut self, tree: &Tree) -> bool {
        let is_complete = tree.unlisted.is_empty() && !tree.has_bad_folder;
        if is_complete {
            self.may_have_folder_vaults = tree.has_folder_vaults;
        }
        tree.has_bad_folder || !is_complete && self.may_have_folder_vaults
    }

    /// Removes the items of files that are gone. Not called for a tree without any file, which is taken for a volume
    /// that is not mounted.
    async fn prune(
        &mut self,
        tree: &Tree,
        vaults: &BTreeMap<VaultId, VaultFiles>,
        owned: &[VaultId],
    ) -> Result<(), QueueClosed> {
        let present: HashSet<&str> = vaults
            .values()
            .flat_map(|vault| vault.files.iter().map(|found| found.relative.as_str()))
            .collect();
        let before = self.records.len();
        self.records.retain(|relative| present.contains(relative));
        self.titles_changed |= self.records.len() < before;
        let ids = &self.context.ids;
        let unlisted: HashSet<VaultId> = tree.unlisted.iter().map(|name| vault_id(ids, name)).collect();
        // A rejected path may have been a good file before. Its items stay: an error deletes nothing.
        let rejected: Vec<(VaultId, String)> = tree
            .refused
            .iter()
            .map(|(path, rejected)| (vault_id(ids, &rejected.vault), path.nfc().collect()))
            .collect();
        let digest = {
            let mut hasher = self.hasher.build_hasher();
            for (vault, files) in vaults {
                (vault, files.files.len()).hash(&mut hasher);
                files.files.iter().for_each(|found| found.relative.hash(&mut hasher));
            }
            (&rejected, owned).hash(&mut hasher);
            let unlisted: BTreeSet<&VaultId> = unlisted.iter().collect();
            unlisted.hash(&mut hasher);
            hasher.finish()
        };
        if self.pruned == Some(digest) {
            // The store has items of these paths only.
            return Ok(());
        }
        self.pruned = Some(digest);
        let mut removed = 0;
        for vault in owned.iter().filter(|vault| !unlisted.contains(*vault)) {
            let files = vaults.get(vault).map_or(&[][..], |vault| &vault.files);
            let files = files.iter().map(|found| found.relative.as_str());
            let rejected = rejected
                .iter()
                .filter(|(its_vault, _)| its_vault == vault)
                .map(|(_, path)| path.as_str());
            let files = files
                .chain(rejected)
                .map(|relative| self.origin(*vault, relative).file().to_owned())
                .collect();
            let job = DirectoryJob::Prune {
                vault: *vault,
                files,
                commit: tree.commit.clone(),
            };
            match self.context.queue.directory(job).await {
                Ok(DirectoryAnswer::Pruned(items)) => removed += items,
                Ok(_) => {}
                Err(JobError::Closed(closed)) => return Err(closed),
                Err(error) => {
                    self.pruned = None;
                    tracing::error!(%vault, %error, "the items of removed files could not be deleted; the next scan tries again");
                }
            }
        }
        if removed > 0 {
            tracing::info!(items = removed, "the items of removed files were deleted");
        }
        Ok(())
    }

    /// Notes that a file is not served. Its items stay.
    fn reject(&mut self, found: &FoundFile, message: String, needs_age_key: bool) {
        let error = Some(FileError { message, needs_age_key });
        if let Some(record) = self.records.get_mut(&found.relative) {
            record.error = error;
            return;
        }
        let unread = FileRecord::unread(found.settings.clone(), found.path.clone());
        self.records
            .insert(found.relative.clone(), FileRecord { error, ..unread });
    }

    /// Logs each file whose error is new or gone.
    fn log_changes(&self, failed: &BTreeMap<String, String>) {
        for (file, error) in failed {
            if self.failed.get(file) != Some(error) {
                tracing::warn!(file, error, "a file can't be read; its items stay as they were");
            }
        }
        for file in self.failed.keys().filter(|file| !failed.contains_key(*file)) {
            tracing::info!(file, "a file that could not be read was repaired or removed");
        }
    }

    /// Warns of each title that items of several files of a vault have: a client that looks it up gets an error.
    fn log_shared_titles(&mut self, vaults: &BTreeMap<VaultId, VaultFiles>) {
        if !std::mem::take(&mut self.titles_changed) {
            return;
        }
        let mut shared = BTreeMap::new();
        for (id, vault) in vaults {
            let mut files: HashMap<&str, Vec<&str>> = HashMap::new();
            for found in &vault.files {
                let titles = self.records.get(&found.relative).map(|record| &record.titles[..]);
                for title in titles.unwrap_or_default() {
                    files.entry(title).or_default().push(&found.relative);
                }
            }
            let several = files.into_iter().filter(|(_, files)| files.len() > 1);
            shared.extend(several.map(|(title, files)| ((*id, title.to_owned()), some_names(&files))));
        }
        for ((vault, title), files) in &shared {
            if self.shared_titles.get(&(*vault, title.clone())) != Some(files) {
                // The log never has titles; the files tell which one is meant.
                tracing::warn!(
                    %vault,
                    files,
                    "items of several files have one title: clients that look it up get an error. Use the items' ids, or \
                     a filter by tag: an item has its directory as a tag, and a Secret its namespace"
                );
            }
        }
        self.shared_titles = shared;
    }

    fn report(&self, state: SourceState) {
        self.context.status.source(&self.config.name, state);
    }
}

/// Names at most eight files, so that a log line stays short.
fn some_names(files: &[&str]) -> String {
    const SHOWN: usize = 8;
    let names = files.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if files.len() > SHOWN {
        format!("{names} and {} more", files.len() - SHOWN)
    } else {
        names
    }
}

/// The first folder that gives its files a vault, by vault, of the vaults that `.sidevault.yaml` files name.
fn folders_of_vaults(files: &[FoundFile], ids: &IdKey) -> HashMap<VaultId, PathBuf> {
    let mut folders: HashMap<VaultId, PathBuf> = HashMap::new();
    for found in files {
        if let Some((vault, depth)) = &found.settings.vault {
            let folder = || found.path.iter().take(*depth).collect();
            // The files are ordered by path.
            folders.entry(vault_id(ids, vault)).or_insert_with(folder);
        }
    }
    folders
}

/// The id of the vault with this name, in any case.
pub(super) fn vault_id(ids: &IdKey, name: &str) -> VaultId {
    ids.vault(&filter::fold(name))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_file_that_was_just_written_is_read_once_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), "k: v").unwrap();
        let written = SystemTime::now();
        let tree = list(&DirectorySource::new(dir.path())).unwrap();
        let stamp = &tree.files[0].stamp;
        assert!(was_just_written(stamp, written));
        assert!(!was_just_written(stamp, written + Duration::from_secs(1)));
        // If the clock was set back, the file's time lies in the future, and says nothing about a second write.
        assert!(!was_just_written(stamp, written - Duration::from_secs(1)));
    }
}
