//! Waiting for a tree to change: file events, and a full check behind them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

/// A change seldom comes alone: how long to wait for the next event of it,
const DEBOUNCE: Duration = Duration::from_millis(20);
/// and how long at the most.
const MAX_DEBOUNCE: Duration = Duration::from_millis(100);

/// Watches one tree.
pub(crate) struct Watch {
    events: mpsc::Receiver<()>,
    sender: mpsc::Sender<()>,
    root: Option<PathBuf>,
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let (sender, events) = mpsc::channel(1);
        Self {
            events,
            sender,
            root: None,
            watcher: None,
        }
    }

    /// Watches the tree that `path` now leads to. To be called before the tree is listed, so
    /// that no change falls between.
    pub(crate) async fn follow(&mut self, path: &Path) {
        let (at, events) = (path.to_owned(), self.sender.clone());
        let (before, is_watched) = (self.root.clone(), self.watcher.is_some());
        // Every directory is visited, and a file system may be slow.
        let watching = spawn_blocking(move || {
            let root = at.canonicalize().ok();
            if is_watched && root == before {
                return None;
            }
            let watcher = watch(&at, root.as_deref(), events);
            Some((root, watcher))
        });
        let Ok(Some((root, watcher))) = watching.await else {
            return;
        };
        self.root = root;
        self.watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no file events here; only full checks find changes");
                None
            }
        };
    }

    /// Returns when something changed, and when that was first noticed; or at the deadline.
    pub(crate) async fn changed(&mut self, full_check: Duration) -> Option<Instant> {
        if timeout(full_check, self.events.recv()).await.is_err() {
            return None;
        }
        let noticed = Instant::now();
        let limit = sleep_until(noticed + MAX_DEBOUNCE);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                () = &mut limit => break,
                quiet = timeout(DEBOUNCE, self.events.recv()) => if quiet.is_err() { break },
            }
        }
        Some(noticed)
    }
}

fn watch(path: &Path, root: Option<&Path>, events: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let changed = move |event: notify::Result<Event>| {
        // Reading the tree makes events too. A full channel means that a scan is due anyway.
        if event.map_or(true, |event| is_change(event.kind)) {
            let _due = events.try_send(());
        }
    };
    // Links in the tree may lead to all of the file system.
    let mut watcher = RecommendedWatcher::new(changed, notify::Config::default().with_follow_symlinks(false))?;
    // The link itself is swapped in the directory that holds it.
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    if let Some(root) = root {
        watcher.watch(root, RecursiveMode::Recursive)?;
    }
    Ok(watcher)
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
