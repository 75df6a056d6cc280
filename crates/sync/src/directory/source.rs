//! A directory source from one look at its tree to the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sidevault_keys::IdKey;
use sidevault_model::{Category, VaultId, filter};
use sidevault_sops::Identities;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::draft::{Draft, DraftFile, Reading, categorize, content_id, stem};
use super::identities::Keys;
use super::read::{Contents, Raw, ReadError, load, understand};
use super::tree::{FileStamp, Found, Tree, list};
use super::watch::Watch;
use super::{DirectoryAnswer, DirectoryJob, content};
use crate::config::DirectorySource;
use crate::metrics::Metrics;
use crate::queue::{Queue, QueueClosed};
use crate::status::{SourceState, Status};

/// How many files' items go to the writer at once.
const FILES_A_JOB: usize = 64;

/// How soon a tree that was changing while it was read is read again.
const SOON: Duration = Duration::from_millis(50);

/// What a directory source works with.
pub(crate) struct Tools {
    pub(crate) queue: Queue,
    pub(crate) ids: IdKey,
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Serves a directory until it is told to stop.
pub(crate) async fn run(config: DirectorySource, tools: Tools, stop: CancellationToken) {
    let mut source = Source {
        keys: Keys::new(config.age_key_file.clone()),
        config,
        tools,
        known: HashMap::new(),
    };
    let work = async {
        let mut watch = Watch::new();
        let mut noticed = None;
        loop {
            watch.follow(&source.config.path);
            let next = match source.look(noticed).await {
                Ok(next) => next,
                Err(QueueClosed) => return,
            };
            noticed = match next {
                Next::Wait => watch.changed(source.config.full_check).await,
                Next::Again => {
                    tokio::time::sleep(SOON).await;
                    noticed.or_else(|| Some(Instant::now()))
                }
            };
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

enum Next {
    Wait,
    /// The tree changed under our eyes.
    Again,
}

struct Source {
    config: DirectorySource,
    keys: Keys,
    tools: Tools,
    /// What was last seen of each file, by its path in the tree.
    known: HashMap<String, Known>,
}

struct Known {
    stamp: FileStamp,
    digest: [u8; 32],
    /// Why the file was refused, if it was: then it is read again at each look.
    error: Option<String>,
}

impl Source {
    /// One look at the tree. `noticed`: when the event came that made us look.
    async fn look(&mut self, noticed: Option<Instant>) -> Result<Next, QueueClosed> {
        let config = self.config.clone();
        let listed = tokio::task::spawn_blocking(move || list(&config)).await;
        let tree = match listed.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok(tree) => tree,
            Err(error) => {
                self.report(SourceState::Failed(format!(
                    "{error}; what was read before is still served"
                )));
                return Ok(Next::Wait);
            }
        };
        let identities = Arc::new(self.keys.load(&self.config.name));
        let vaults = self.vaults(&tree);
        let claim = DirectoryJob::Claim {
            source: self.config.name.clone(),
            vaults: vaults.clone(),
        };
        let owned = match self.tools.queue.directory(claim).await? {
            Ok(DirectoryAnswer::Claimed(owned)) => owned,
            Ok(DirectoryAnswer::Taken { vault, owner }) => {
                self.report(SourceState::Failed(format!(
                    "vault \"{vault}\" belongs to \"{owner}\"; give this directory another vault name"
                )));
                return Ok(Next::Wait);
            }
            Ok(DirectoryAnswer::Retired { vault }) => {
                self.report(SourceState::Failed(format!(
                    "a local vault was named \"{vault}\" before it was renamed or deleted, and tokens made for it would \
                     open this directory; give this directory another vault name"
                )));
                return Ok(Next::Wait);
            }
            Ok(_) => Vec::new(),
            Err(error) => {
                self.report(SourceState::Failed(error));
                return Ok(Next::Wait);
            }
        };
        let mut complete = true;
        for (vault, name) in &vaults {
            complete &= self.read_vault(*vault, name, &tree, &identities).await?;
        }
        if !complete || self.config.path.canonicalize().ok().as_ref() != Some(&tree.root) {
            return Ok(Next::Again);
        }
        self.sweep(&tree, &vaults, &owned).await?;
        if let Some(noticed) = noticed {
            self.tools.metrics.propagated(noticed.elapsed());
        }
        self.report(self.summary(&tree));
        Ok(Next::Wait)
    }

    fn vault_id(&self, name: &str) -> VaultId {
        self.tools.ids.vault(&filter::fold(name))
    }

    fn vaults(&self, tree: &Tree) -> BTreeMap<VaultId, String> {
        tree.files
            .iter()
            .map(|file| (self.vault_id(&file.vault), file.vault.clone()))
            .collect()
    }

    /// What a file's items are known by in the store.
    fn origin(&self, vault: VaultId, relative: &str) -> String {
        self.tools
            .ids
            .item(vault, &format!("origin\0{}\0{relative}", self.config.name))
            .to_string()
    }

    /// Reads what changed of a vault's files. False if some vanished meanwhile.
    async fn read_vault(
        &mut self,
        vault: VaultId,
        name: &str,
        tree: &Tree,
        identities: &Arc<Identities>,
    ) -> Result<bool, QueueClosed> {
        let mut complete = true;
        let mut ready = Vec::new();
        for found in tree.files.iter().filter(|file| file.vault == name) {
            match self.read_file(vault, found, identities).await? {
                Ok(Some(drafts)) => ready.push((self.origin(vault, &found.relative), drafts)),
                Ok(None) => {}
                Err(ReadError::Gone) => complete = false,
                Err(ReadError::Bad(error)) => self.refuse(found, error),
            }
            if ready.len() == FILES_A_JOB {
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
        found: &Found,
        identities: &Arc<Identities>,
    ) -> Result<Result<Option<Vec<Draft>>, ReadError>, QueueClosed> {
        let known = self.known.get(&found.relative);
        if known.is_some_and(|known| known.error.is_none() && known.stamp == found.stamp) {
            return Ok(Ok(None));
        }
        let good_digest = known.filter(|known| known.error.is_none()).map(|known| known.digest);
        let (file, keys) = (found.clone(), identities.clone());
        let read = tokio::task::spawn_blocking(move || {
            let raw = load(&file)?;
            if good_digest == Some(raw.digest) {
                return Ok((raw, None));
            }
            let contents = understand(&file, &raw, &keys)?;
            Ok((raw, Some(contents)))
        });
        let (raw, contents) = match read
            .await
            .unwrap_or_else(|panic| Err(ReadError::Bad(panic.to_string())))
        {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let drafts = match contents {
            None => None,
            Some(contents) => match self.drafts(vault, found, &raw, contents).await? {
                Ok(drafts) => Some(drafts),
                Err(error) => return Ok(Err(ReadError::Bad(error))),
            },
        };
        let known = Known {
            stamp: found.stamp,
            digest: raw.digest,
            error: None,
        };
        if let Some(Known { error: Some(_), .. }) = self.known.insert(found.relative.clone(), known) {
            tracing::info!(
                source = self.config.name,
                file = found.relative,
                "the file is good again"
            );
        }
        Ok(Ok(drafts))
    }

    async fn drafts(
        &self,
        vault: VaultId,
        found: &Found,
        raw: &Raw,
        contents: Contents,
    ) -> Result<Result<Vec<Draft>, String>, QueueClosed> {
        match contents {
            Contents::Items(readings) => {
                let mut drafts: Vec<Draft> = Vec::with_capacity(readings.len());
                for (n, reading) in readings.into_iter().enumerate() {
                    let id = self.item_id(vault, &found.relative, n, reading.title.as_deref(), &drafts);
                    match self.draft(vault, found, n, id, reading).await? {
                        Ok(draft) => drafts.push(draft),
                        Err(error) => return Ok(Err(error)),
                    }
                }
                Ok(Ok(drafts))
            }
            Contents::Decrypted(bytes) => {
                let (digest, size) = (content::digest_of(&bytes), bytes.len() as u64);
                self.document(vault, found, digest, size, &bytes[..]).await
            }
            Contents::Plain { size } => match std::fs::File::open(&found.path) {
                Ok(file) => self.document(vault, found, raw.digest, size, file).await,
                Err(error) => Ok(Err(error.to_string())),
            },
        }
    }

    /// An untitled document's id follows from the file and its number, a titled one's from its
    /// title: a manifest may move within its file.
    fn item_id(
        &self,
        vault: VaultId,
        relative: &str,
        n: usize,
        title: Option<&str>,
        before: &[Draft],
    ) -> sidevault_model::ItemId {
        let path = match (title, n) {
            (Some(title), _) => format!("{relative}#{title}"),
            (None, 0) => relative.to_owned(),
            (None, n) => format!("{relative}#{n}"),
        };
        let id = self.tools.ids.item(vault, &path);
        if before.iter().any(|draft| draft.id == id) {
            self.tools.ids.item(vault, &format!("{path}#{n}"))
        } else {
            id
        }
    }

    async fn draft(
        &self,
        vault: VaultId,
        found: &Found,
        n: usize,
        id: sidevault_model::ItemId,
        mut reading: Reading,
    ) -> Result<Result<Draft, String>, QueueClosed> {
        let title = reading.title.take().unwrap_or_else(|| match n {
            0 => stem(&found.relative).to_owned(),
            n => format!("{}-{}", stem(&found.relative), n + 1),
        });
        let mut files = Vec::with_capacity(reading.binaries.len());
        for (name, bytes) in &reading.binaries {
            let content = content_id(&self.tools.ids, vault, id, name, &content::digest_of(bytes));
            if let Err(error) =
                content::store(&self.tools.queue, vault, content, bytes.len() as u64, &bytes[..]).await?
            {
                return Ok(Err(format!("{name}: {error}")));
            }
            let file = self.tools.ids.file(vault, id, name);
            files.push(DraftFile {
                id: file,
                name: name.clone(),
                size: bytes.len() as u64,
                content,
            });
        }
        let category = categorize(&mut reading.fields);
        Ok(Ok(Draft {
            id,
            title,
            category,
            sections: reading.sections,
            fields: reading.fields,
            files,
        }))
    }

    /// A binary file: a DOCUMENT titled like it.
    async fn document(
        &self,
        vault: VaultId,
        found: &Found,
        digest: [u8; 32],
        size: u64,
        bytes: impl std::io::Read + Send,
    ) -> Result<Result<Vec<Draft>, String>, QueueClosed> {
        let id = self.tools.ids.item(vault, &found.relative);
        let name = found.relative.rsplit('/').next().unwrap_or(&found.relative).to_owned();
        let content = content_id(&self.tools.ids, vault, id, &name, &digest);
        if let Err(error) = content::store(&self.tools.queue, vault, content, size, bytes).await? {
            return Ok(Err(error));
        }
        let file = DraftFile {
            id: self.tools.ids.file(vault, id, &name),
            name: name.clone(),
            size,
            content,
        };
        Ok(Ok(vec![Draft {
            id,
            title: name,
            category: Category::Document,
            sections: Vec::new(),
            fields: Vec::new(),
            files: vec![file],
        }]))
    }

    async fn apply(&mut self, vault: VaultId, files: Vec<(String, Vec<Draft>)>) -> Result<(), QueueClosed> {
        let job = DirectoryJob::Apply {
            source: self.config.name.clone(),
            vault,
            files,
        };
        if let Err(error) = self.tools.queue.directory(job).await? {
            // Read again next time: what was read did not get into the store.
            self.known.clear();
            tracing::error!(source = self.config.name, error, "items could not be stored");
        }
        Ok(())
    }

    /// Forgets the files that are gone, and removes their items. A tree without any file is
    /// taken for a volume that is not mounted.
    async fn sweep(
        &mut self,
        tree: &Tree,
        vaults: &BTreeMap<VaultId, String>,
        owned: &[VaultId],
    ) -> Result<(), QueueClosed> {
        if tree.files.is_empty() {
            return Ok(());
        }
        let present: HashSet<&str> = tree.files.iter().map(|file| file.relative.as_str()).collect();
        let gone = self.known.len();
        self.known.retain(|relative, _| present.contains(relative.as_str()));
        for vault in owned {
            let name = vaults.get(vault);
            let origins: HashSet<String> = tree
                .files
                .iter()
                .filter(|file| Some(&file.vault) == name)
                .map(|file| self.origin(*vault, &file.relative))
                // A link that is refused now may have been a file before: an error deletes nothing.
                .chain(tree.refused.keys().map(|relative| self.origin(*vault, relative)))
                .collect();
            if let Err(error) = self
                .tools
                .queue
                .directory(DirectoryJob::Sweep { vault: *vault, origins })
                .await?
            {
                tracing::error!(
                    source = self.config.name,
                    error,
                    "items of removed files could not be removed"
                );
            }
        }
        let removed = gone - self.known.len();
        if removed > 0 {
            tracing::info!(
                source = self.config.name,
                files = removed,
                "files were removed, and so are their items"
            );
        }
        Ok(())
    }

    fn refuse(&mut self, found: &Found, error: String) {
        let known = self.known.entry(found.relative.clone()).or_insert(Known {
            stamp: found.stamp,
            digest: [0; 32],
            error: None,
        });
        if known.error.as_ref() != Some(&error) {
            tracing::warn!(
                source = self.config.name,
                file = found.relative,
                error,
                "a file can't be read; its items stay as they were"
            );
        }
        known.stamp = found.stamp;
        known.error = Some(error);
    }

    fn summary(&self, tree: &Tree) -> SourceState {
        let mut failed: BTreeMap<String, String> = tree.refused.clone();
        for (relative, known) in &self.known {
            if let Some(error) = &known.error {
                failed.insert(relative.clone(), error.clone());
            }
        }
        SourceState::Read {
            files: tree.files.len(),
            failed,
        }
    }

    fn report(&self, state: SourceState) {
        self.tools.status.source(&self.config.name, state);
    }
}
