//! How sync and its sources are, as `/health` tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sidevault_model::Dependency;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::metrics::Metrics;

/// How many bad files are named; the rest are counted.
const NAMED_FILES: usize = 10;

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

/// The state of all parts of sync.
pub struct Status {
    sources: Mutex<BTreeMap<String, SourceState>>,
    store: Dependency,
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
            store: dependency("sqlite", "ACTIVE", message),
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

    /// Tells when anything changed.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether every source was looked at once, well or badly: until then an item that is
    /// missing may only be late.
    pub fn is_settled(&self) -> bool {
        let sources = self.sources.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        sources.values().all(|state| *state != SourceState::Starting)
    }

    /// What `/health` lists: the store, then the sources by name.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let sources = self.sources.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let sources = sources.iter().map(|(name, state)| match state {
            SourceState::Starting => dependency(name, "INITIALIZED", "not read yet".to_owned()),
            SourceState::Failed(error) => dependency(name, "FAILED", error.clone()),
            SourceState::Read { files, failed } if failed.is_empty() => {
                dependency(name, "ACTIVE", format!("{files} files"))
            }
            SourceState::Read { files, failed } => dependency(name, "DEGRADED", bad_files(*files, failed)),
        });
        std::iter::once(self.store.clone()).chain(sources).collect()
    }
}

fn bad_files(files: usize, failed: &BTreeMap<String, String>) -> String {
    let mut text = format!(
        "{} of {files} files can't be read; their items stay as they were:",
        failed.len()
    );
    for (file, error) in failed.iter().take(NAMED_FILES) {
        text.push_str(&format!(" {file} ({error});"));
    }
    if failed.len() > NAMED_FILES {
        text.push_str(&format!(" and {} more", failed.len() - NAMED_FILES));
    }
    text.trim_end_matches(';').to_owned()
}

fn dependency(service: &str, status: &str, message: String) -> Dependency {
    Dependency {
        service: service.to_owned(),
        status: status.to_owned(),
        message: Some(message),
    }
}
