//! The state of sync and of its sources, which `/health` shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sidevault_model::{Commit, Dependency, DependencyStatus, SourceProgress, Timestamp};
use sidevault_store::{Database, Resealing};
use tokio::sync::watch;

use crate::directory::LeftOutCounts;
use crate::disk::Disk;
use crate::metrics::Metrics;

/// How many bad files `/health` names. It gives the number of the others.
const MAX_NAMED_FILES: usize = 10;

/// The state of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SourceState {
    /// The source was not scanned yet.
    Starting,
    /// The tree was read.
    Read {
        files: usize,
        /// The files that can't be read, by path, each with the reason.
        failed: BTreeMap<String, String>,
        /// What the source's rules leave out.
        left_out: LeftOutCounts,
        /// How many of the failed files are encrypted, while sync has no age key at all.
        without_age_key: usize,
    },
    /// The tree as a whole could not be read.
    Failed(String),
}

/// What is known of the repository that a source's files come from.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "git"), allow(dead_code, reason = "only Git sources have one"))]
pub(crate) struct RemoteState {
    /// The commit that is served.
    pub(crate) commit: Option<Commit>,
    /// When the remote last said what its newest commit is.
    pub(crate) checked: Option<Timestamp>,
    /// Why there is no newer one.
    pub(crate) error: Option<RemoteError>,
}

/// Why a remote gives no newer commit.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "git"), allow(dead_code, reason = "only Git sources have one"))]
pub(crate) struct RemoteError {
    /// Without names, for clients without a token too.
    pub(crate) summary: &'static str,
    pub(crate) detail: String,
    pub(crate) since: Timestamp,
}

impl RemoteState {
    /// The state of a source, with what is known of its repository.
    fn added_to(&self, dependency: Dependency) -> Dependency {
        let mut parts: Vec<String> = self
            .error
            .iter()
            .map(|error| format!("{} (since {})", error.detail, error.since))
            .collect();
        parts.extend(
            self.commit
                .as_ref()
                .map(|commit| format!("commit {} of {}", commit.id, commit.time)),
        );
        parts.extend(self.checked.as_ref().map(|checked| format!("checked {checked}")));
        parts.extend(dependency.detail.clone());
        let detail = parts.join("; ");
        let (status, message) = match (&self.error, dependency.status) {
            (None, status) => (status, dependency.message),
            (Some(error), DependencyStatus::Initialized) => (DependencyStatus::Failed, Some(error.summary.to_owned())),
            (Some(error), DependencyStatus::Failed) => (DependencyStatus::Failed, Some(error.summary.to_owned())),
            (Some(error), _) => {
                let message = format!("{}; what was read before is still served", error.summary);
                (DependencyStatus::Degraded, Some(message))
            }
        };
        Dependency {
            status,
            message,
            detail: (!detail.is_empty()).then_some(detail),
            ..dependency
        }
    }
}

/// Whether the store can be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WriterState {
    Good,
    /// The disk has little free space. The text says how little.
    Low(String),
    /// Another process leads, and this one does not write.
    Standby {
        /// The database, and who leads.
        leader: String,
    },
    /// Nothing can be written.
    Failed {
        since: Timestamp,
        error: String,
    },
}

impl WriterState {
    /// The state after an error, since the first of several errors in a row.
    pub(crate) fn failed(error: &impl ToString, status: &Status) -> Self {
        Self::Failed {
            since: match status.writer_state() {
                Self::Failed { since, .. } => since,
                _ => Timestamp::now(),
            },
            error: error.to_string(),
        }
    }

    /// What is wrong, in words for `/health` and the log; `None` if nothing is.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Good | Self::Standby { .. } => None,
            Self::Low(warning) => Some(warning.clone()),
            Self::Failed { since, error } => Some(format!(
                "nothing can be written since {since}: {error}. Reads still work. Writes work again, without a restart, as \
                 soon as the cause is gone"
            )),
        }
    }
}

/// The state of the backups that sync makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum BackupState {
    /// No backup has failed since the newest one. None: there is none yet.
    Good { last: Option<Timestamp> },
    /// The attempts after the newest backup failed.
    Failed { last: Option<Timestamp>, error: String },
}

impl BackupState {
    pub(crate) fn failed(last: Option<Timestamp>, error: &impl ToString) -> Self {
        Self::Failed {
            last,
            error: error.to_string(),
        }
    }

    fn dependency(&self) -> Dependency {
        let (last, error) = match self {
            Self::Good { last } => (last, None),
            Self::Failed { last, error } => (last, Some(error)),
        };
        let newest = match last {
            Some(last) => format!("the newest backup is of {last}"),
            None => "there is no backup yet".to_owned(),
        };
        match error {
            None => Dependency::new("backup", DependencyStatus::Active).with_message(newest),
            Some(error) => Dependency::new("backup", DependencyStatus::Degraded)
                .with_message(format!("a backup failed; the log of sync says why, and {newest}"))
                .with_detail(format!("a backup failed: {error}; {newest}")),
        }
    }
}

/// The state of a continuous backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ShippingState {
    /// The place of the backups has every change up to this one, and soon the newer ones.
    Good { through: i64 },
    /// The place has not got the changes since then.
    Failed { since: Timestamp, error: String },
}

impl ShippingState {
    fn dependency(&self) -> Dependency {
        let dependency = |status| Dependency::new("continuous backup", status);
        match self {
            Self::Good { through } => {
                dependency(DependencyStatus::Active).with_message(format!("every change up to {through} is backed up"))
            }
            Self::Failed { since, error } => {
                let behind = (Timestamp::now().as_millis() - since.as_millis()).max(0) / 1000;
                let message = format!("changes since {since} ({behind} s) are not backed up");
                dependency(DependencyStatus::Degraded)
                    .with_message(format!("{message}; the log of sync says why"))
                    .with_detail(format!("{message}: {error}"))
            }
        }
    }
}

/// The message of a source with bad files, for clients without a token too.
const BAD_FILES: &str =
    "some files can't be read; the log of sync names them, and so does /health to a client with a token";

/// The message of a source with encrypted files while sync has no age key.
const NO_AGE_KEY: &str = "encrypted files can't be read, because sync has no age key: set SOPS_AGE_KEY_FILE (or \
    --age-key-file, or `ageKeyFile` in the sources file) to a file that `age-keygen` wrote";

impl SourceState {
    /// Whether the source has encrypted files while sync has no age key at all.
    fn lacks_age_key(&self) -> bool {
        matches!(self, Self::Read { without_age_key, .. } if *without_age_key > 0)
    }
}

/// The state of all parts of sync.
pub struct Status {
    sources: Mutex<BTreeMap<String, SourceState>>,
    /// The repositories of sources that have one.
    remotes: Mutex<BTreeMap<String, RemoteState>>,
    progress: Mutex<BTreeMap<String, SourceProgress>>,
    writer: Mutex<WriterState>,
    /// None if sync makes no backups.
    backup: Mutex<Option<BackupState>>,
    /// None if sync does not back up continuously.
    shipping: Mutex<Option<ShippingState>>,
    data_keys: Mutex<Resealing>,
    /// The name of the store in `/health`.
    store: &'static str,
    /// The message of the store in `/health` while nothing is wrong.
    connected: Mutex<String>,
    changed: watch::Sender<()>,
    metrics: Arc<Metrics>,
}

impl Status {
    pub(crate) fn new(database: &Database, metrics: Arc<Metrics>) -> Self {
        let (store, connected) = if database.is_in_directory() {
            ("sqlite", "Connected to ./1password.sqlite".to_owned())
        } else {
            ("postgres", format!("Connected to {database}"))
        };
        Self {
            sources: Mutex::default(),
            remotes: Mutex::default(),
            progress: Mutex::default(),
            writer: Mutex::new(WriterState::Good),
            backup: Mutex::default(),
            shipping: Mutex::default(),
            data_keys: Mutex::new(Resealing::Idle),
            store,
            connected: Mutex::new(connected),
            changed: watch::Sender::new(()),
            metrics,
        }
    }

    /// Notes that this process leads.
    pub(crate) fn leads(&self, disk: &Disk, local_vaults: bool) {
        if disk.is_ephemeral() && local_vaults {
            self.connected
                .lock()
                .push_str(&format!(". WARNING: local vaults are on {disk}"));
        }
        self.writer(WriterState::Good);
    }

    /// Sets a source's state. A change is logged and published.
    pub(crate) fn source(&self, name: &str, state: SourceState) {
        self.metrics.source(name, &state);
        match state {
            SourceState::Starting => {}
            SourceState::Read { .. } => self.count(name, Ok(Timestamp::now())),
            SourceState::Failed(_) => self.count(name, Err(())),
        }
        let mut sources = self.sources.lock();
        if sources.get(name) == Some(&state) {
            return;
        }
        match &state {
            SourceState::Starting => {}
            SourceState::Failed(error) => tracing::warn!(source = name, error, "the source can't be read"),
            SourceState::Read {
                files,
                failed,
                left_out,
                without_age_key,
            } => {
                tracing::info!(source = name, files, failed = failed.len(), "the source was read");
                let before = match sources.get(name) {
                    Some(SourceState::Read { left_out, .. }) => left_out.words(),
                    _ => None,
                };
                if let Some(words) = left_out.words()
                    && before.as_ref() != Some(&words)
                {
                    tracing::info!(source = name, "{words}");
                }
                if *without_age_key > 0 && !sources.get(name).is_some_and(SourceState::lacks_age_key) {
                    tracing::warn!(source = name, files = without_age_key, "{NO_AGE_KEY}");
                }
            }
        }
        sources.insert(name.to_owned(), state);
        drop(sources);
        self.changed.send_replace(());
    }

    /// Counts a read of a source or an answer of its remote, with its time, or a failure.
    fn count(&self, name: &str, result: Result<Timestamp, ()>) {
        let mut progress = self.progress.lock();
        let known = progress.entry(name.to_owned()).or_insert_with(|| SourceProgress {
            name: name.to_owned(),
            reads: 0,
            failures: 0,
            fresh: None,
        });
        match result {
            Ok(at) => {
                known.reads += 1;
                known.fresh = Some(at);
            }
            Err(()) => known.failures += 1,
        }
    }

    /// How often the sources were read.
    pub(crate) fn progress(&self) -> Vec<SourceProgress> {
        let remotes = self.remotes.lock();
        let progress = self.progress.lock();
        let progress = progress.values().map(|known| match remotes.get(&known.name) {
            // The tree is read from time to time, whether or not the remote can be asked.
            Some(remote) => SourceProgress {
                fresh: remote.checked,
                ..known.clone()
            },
            None => known.clone(),
        });
        progress.collect()
    }

    /// Sets what is known of a source's repository.
    #[cfg(feature = "git")]
    pub(crate) fn remote(&self, name: &str, state: RemoteState) {
        match (&state.error, state.checked) {
            (Some(_), _) => self.count(name, Err(())),
            (None, Some(at)) => self.count(name, Ok(at)),
            (None, None) => {}
        }
        self.remotes.lock().insert(name.to_owned(), state);
        self.changed.send_replace(());
    }

    /// Sets the writer's state. A change is logged and published.
    pub(crate) fn writer(&self, state: WriterState) {
        self.metrics.writer(&state);
        let mut writer = self.writer.lock();
        if *writer == state {
            return;
        }
        match (&*writer, &state) {
            (WriterState::Failed { .. }, WriterState::Failed { .. }) => {}
            (_, WriterState::Failed { error, .. }) => tracing::error!(error, "the store can't be written"),
            (_, WriterState::Standby { leader }) => {
                tracing::info!(leader, "standby: another process writes to the store")
            }
            (WriterState::Failed { since, .. }, _) => tracing::info!(%since, "the store can be written again"),
            (WriterState::Good, WriterState::Low(warning)) => tracing::warn!("{warning}"),
            (WriterState::Low(_), WriterState::Good) => tracing::info!("there is enough room on the disk again"),
            _ => {}
        }
        *writer = state;
        drop(writer);
        self.changed.send_replace(());
    }

    /// Sets the state of the backups. A failure is logged, and a change is published.
    pub(crate) fn backup(&self, state: BackupState) {
        let mut backup = self.backup.lock();
        if backup.as_ref() == Some(&state) {
            return;
        }
        if let BackupState::Failed { error, .. } = &state {
            tracing::error!(error, "a backup failed");
        }
        *backup = Some(state);
        drop(backup);
        self.changed.send_replace(());
    }

    /// Sets the state of the continuous backup. Failures and their end are logged and published.
    pub(crate) fn shipping(&self, state: ShippingState) {
        let mut shipping = self.shipping.lock();
        let before = shipping.replace(state.clone());
        drop(shipping);
        match (before, state) {
            (Some(ShippingState::Good { .. }), ShippingState::Good { .. }) => return,
            (Some(ShippingState::Failed { error: before, .. }), ShippingState::Failed { error, .. })
                if before == error =>
            {
                return;
            }
            (_, ShippingState::Failed { error, .. }) => {
                tracing::error!(error, "changes can't be backed up at the moment")
            }
            (Some(ShippingState::Failed { .. }), ShippingState::Good { through }) => {
                tracing::info!(through, "every change is backed up again");
            }
            (None, ShippingState::Good { through }) => tracing::info!(through, "changes are backed up continuously"),
        }
        self.changed.send_replace(());
    }

    /// Sets how far sealing rows anew is. Each percent is published.
    pub(crate) fn data_keys(&self, state: Resealing) {
        let mut shown = self.data_keys.lock();
        let before = std::mem::replace(&mut *shown, state);
        drop(shown);
        if data_keys(before) != data_keys(state) {
            self.changed.send_replace(());
        }
    }

    /// The writer's state.
    pub(crate) fn writer_state(&self) -> WriterState {
        self.writer.lock().clone()
    }

    /// A receiver that is notified of each change.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The dependencies that `/health` lists: the store, old data keys and the backups if there are any, then the sources by name.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let sources = self.sources.lock();
        let sources = sources.iter().map(|(name, state)| match state {
            SourceState::Starting => Dependency::new(name, DependencyStatus::Initialized).with_message("not read yet"),
            SourceState::Failed(error) => Dependency::new(name, DependencyStatus::Failed)
                .with_message("it can't be read; the log of sync says why")
                .with_detail(error),
            SourceState::Read {
                files,
                failed,
                left_out,
                ..
            } => {
                let (dependency, detail) = if failed.is_empty() {
                    (
                        Dependency::new(name, DependencyStatus::Active),
                        format!("{files} files"),
                    )
                } else {
                    let message = if state.lacks_age_key() { NO_AGE_KEY } else { BAD_FILES };
                    let dependency = Dependency::new(name, DependencyStatus::Degraded).with_message(message);
                    (dependency, bad_files(*files, failed))
                };
                dependency.with_detail(match left_out.words() {
                    Some(words) => format!("{detail}; {words}"),
                    None => detail,
                })
            }
        });
        let remotes = self.remotes.lock();
        let sources = sources.map(|source| match remotes.get(&source.service) {
            Some(remote) => remote.added_to(source),
            None => source,
        });
        let backup = self.backup.lock().as_ref().map(BackupState::dependency);
        let shipping = self.shipping.lock().as_ref().map(ShippingState::dependency);
        let data_keys = data_keys(*self.data_keys.lock());
        std::iter::once(self.store())
            .chain(data_keys)
            .chain(backup)
            .chain(shipping)
            .chain(sources)
            .collect()
    }

    fn store(&self) -> Dependency {
        let state = self.writer_state();
        let status = match state {
            WriterState::Good | WriterState::Standby { .. } => DependencyStatus::Active,
            WriterState::Low(_) => DependencyStatus::Degraded,
            WriterState::Failed { .. } => DependencyStatus::Failed,
        };
        let message = state.problem().unwrap_or_else(|| self.connected.lock().clone());
        match state {
            // An error of the store may name a row, so only clients with a token see it.
            WriterState::Failed { since, .. } => Dependency::new(self.store, status)
                .with_message(format!(
                    "nothing can be written since {since}; the log of sync says why"
                ))
                .with_detail(message),
            WriterState::Standby { leader } => {
                Dependency::new(self.store, status).with_message(format!("standby: another process writes to {leader}"))
            }
            _ => Dependency::new(self.store, status).with_message(message),
        }
    }
}

/// What `/health` says while there are old data keys.
fn data_keys(state: Resealing) -> Option<Dependency> {
    let dependency = |status| Dependency::new("data keys", status);
    match state {
        Resealing::Idle => None,
        Resealing::Running { done, total } => Some(dependency(DependencyStatus::Active).with_message(format!(
            "rows are sealed anew with new data keys: {} %",
            (done * 100).checked_div(total).unwrap_or(100)
        ))),
        Resealing::Damaged { rows } => Some(
            dependency(DependencyStatus::Degraded)
                .with_message(
                    "the old data keys stay, because not every row can be decrypted; the log of sync names the rows",
                )
                .with_detail(format!(
                    "the old data keys stay, because {rows} rows can't be decrypted; the log of sync names them"
                )),
        ),
    }
}

/// The message with the names and errors of bad files.
fn bad_files(files: usize, failed: &BTreeMap<String, String>) -> String {
    let mut text = format!(
        "{} of {files} files can't be read; their items stay as they were:",
        failed.len()
    );
    for (file, error) in failed.iter().take(MAX_NAMED_FILES) {
        text.push_str(&format!(" {file} ({error});"));
    }
    if failed.len() > MAX_NAMED_FILES {
        text.push_str(&format!(" and {} more", failed.len() - MAX_NAMED_FILES));
    }
    text.trim_end_matches(';').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(state: SourceState) -> Dependency {
        let status = Status::new(&Database::Sqlite("data".into()), Arc::default());
        status.source("git", state);
        status.dependencies().pop().unwrap()
    }

    #[test]
    fn a_source_with_encrypted_files_and_no_age_key_names_the_variable_to_set() {
        let state = |without_age_key| SourceState::Read {
            files: 2,
            failed: BTreeMap::from([("db.yaml".to_owned(), "a reason".to_owned())]),
            left_out: LeftOutCounts::default(),
            without_age_key,
        };
        let lacking = status_of(state(1));
        assert_eq!(lacking.status, DependencyStatus::Degraded);
        assert!(lacking.message.unwrap().contains("set SOPS_AGE_KEY_FILE"));
        assert!(lacking.detail.unwrap().contains("db.yaml (a reason)"));
        let bad = status_of(state(0)).message.unwrap();
        assert!(!bad.contains("SOPS_AGE_KEY_FILE") && !bad.contains("db.yaml"), "{bad}");
    }
}
