//! Waits for a tree to change: for a file event, or at most until the next full check.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::run_blocking;

/// One change of a tree causes several file events. A scan starts when none came for this time.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// A scan starts at the latest after this time, even if file events still come.
const MAX_DEBOUNCE: Duration = Duration::from_millis(100);

/// Watches the tree of one source.
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

    /// Watches the tree that `path` leads to now. Call it before the tree is listed, so that no change is missed in between.
    pub(crate) async fn follow(&mut self, path: &Path) {
        let (at, events) = (path.to_owned(), self.sender.clone());
        let (before, is_watched) = (self.root.clone(), self.watcher.is_some());
        // The watcher visits every directory, which blocks.
        let watching = run_blocking(move || {
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
                tracing::warn!(path = %path.display(), %error, "the tree can't be watched for file events, so only full checks find changes");
                None
            }
        };
    }

    /// Waits for a file event and the pause after it, and returns the time of the event. Returns `None` if no event comes
    /// within `full_check`.
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
        // Reads of the tree cause events, too. On an error, an event may have been lost, so a scan is due.
        if event.map_or(true, |event| is_change(event.kind)) {
            // If the channel is full, a scan is due already.
            events.try_send(()).ok();
        }
    };
    // Symbolic links are not followed: they may lead to any part of the file system.
    let mut watcher = RecommendedWatcher::new(changed, notify::Config::default().with_follow_symlinks(false))?;
    // If the path is a symbolic link, its replacement is an event of the directory that it is in.
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
