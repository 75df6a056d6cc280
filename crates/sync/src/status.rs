//! How sync and its sources are, as `/health` tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sidevault_model::{Dependency, DependencyStatus, Timestamp};
use tokio::sync::watch;

use crate::disk::Disk;
use crate::metrics::Metrics;

/// How many bad files are named; the rest are counted.
const MAX_NAMED_FILES: usize = 10;

/// What is known of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SourceState {
    Starting,
    /// The tree was read; some files may be bad.
    Read {
        files: usize,
        failed: BTreeMap<String, String>,
    },
    /// The tree as a whole could not be read.
    Failed(String),
}

/// Whether the store can be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WriterState {
    Good,
    /// Little room is left; this says how much.
    Low(String),
    /// Nothing can be written.
    Failed {
        since: Timestamp,
        error: String,
    },
}

impl WriterState {
    /// What is wrong, as a message for people; `None` if nothing is.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::Good => None,
            Self::Low(warning) => Some(warning.clone()),
            Self::Failed { since, error } => Some(format!(
                "nothing can be written since {since}: {error}. Reads go on; writes work again, without a restart, as \
                 soon as the cause is gone"
            )),
        }
    }
}

/// The state of all parts of sync.
pub struct Status {
    sources: Mutex<BTreeMap<String, SourceState>>,
    writer: Mutex<WriterState>,
    /// What `/health` says of the store while nothing is wrong.
    connected: String,
    changed: watch::Sender<()>,
    metrics: Arc<Metrics>,
}

impl Status {
    pub(crate) fn new(disk: &Disk, local_vaults: bool, metrics: Arc<Metrics>) -> Self {
        let message = if disk.is_ephemeral() && local_vaults {
            format!("Connected to ./1password.sqlite. WARNING: local vaults are on {disk}")
        } else {
            "Connected to ./1password.sqlite".to_owned()
        };
        Self {
            sources: Mutex::default(),
            writer: Mutex::new(WriterState::Good),
            connected: message,
            changed: watch::Sender::new(()),
            metrics,
        }
    }

    pub(crate) fn source(&self, name: &str, state: SourceState) {
        self.metrics.source(name, &state);
        let mut sources = self.sources.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if sources.get(name) == Some(&state) {
            return;
        }
        match &state {
            SourceState::Starting => {}
            SourceState::Failed(error) => tracing::warn!(source = name, error, "the source can't be read"),
            SourceState::Read { files, failed } => {
                tracing::info!(source = name, files, failed = failed.len(), "the source was read");
            }
        }
        sources.insert(name.to_owned(), state);
        drop(sources);
        self.changed.send_replace(());
    }

    /// Records the writer's state, and logs and publishes it if it changed.
    pub(crate) fn writer(&self, state: WriterState) {
        self.metrics.writer(&state);
        let mut writer = self.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if *writer == state {
            return;
        }
        match (&*writer, &state) {
            (WriterState::Failed { .. }, WriterState::Failed { .. }) => {}
            (_, WriterState::Failed { error, .. }) => tracing::error!(error, "the store can't be written"),
            (WriterState::Failed { since, .. }, _) => tracing::info!(%since, "the store can be written again"),
            (WriterState::Good, WriterState::Low(warning)) => tracing::warn!("{warning}"),
            (WriterState::Low(_), WriterState::Good) => tracing::info!("there is enough room on the disk again"),
            _ => {}
        }
        *writer = state;
        drop(writer);
        self.changed.send_replace(());
    }

    /// The writer's state.
    pub(crate) fn writer_state(&self) -> WriterState {
        self.writer
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// Tells when anything changed.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What `/health` lists: the store, then the sources by name.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let sources = self.sources.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let sources = sources.iter().map(|(name, state)| match state {
            SourceState::Starting => Dependency::new(name, DependencyStatus::Initialized).with_message("not read yet"),
            SourceState::Failed(error) => Dependency::new(name, DependencyStatus::Failed)
                .with_message("it can't be read; the log of sync says why")
                .with_detail(error),
            SourceState::Read { files, failed } if failed.is_empty() => {
                Dependency::new(name, DependencyStatus::Active).with_detail(format!("{files} files"))
            }
            SourceState::Read { files, failed } => Dependency::new(name, DependencyStatus::Degraded)
                .with_message("some files can't be read; the log of sync names them, and so does /health to a token")
                .with_detail(bad_files(*files, failed)),
        });
        std::iter::once(self.store()).chain(sources).collect()
    }

    fn store(&self) -> Dependency {
        let state = self.writer_state();
        let status = match state {
            WriterState::Good => DependencyStatus::Active,
            WriterState::Low(_) => DependencyStatus::Degraded,
            WriterState::Failed { .. } => DependencyStatus::Failed,
        };
        let message = state.trouble().unwrap_or_else(|| self.connected.clone());
        match state {
            // An error of the store may name a row.
            WriterState::Failed { since, .. } => Dependency::new("sqlite", status)
                .with_message(format!(
                    "nothing can be written since {since}; the log of sync says why"
                ))
                .with_detail(message),
            _ => Dependency::new("sqlite", status).with_message(message),
        }
    }
}

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
