//! Follows a remote: asks it at each interval, and at once when a webhook says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidevault_git::{Checked, GitError, Mirror, Pushed};
use sidevault_model::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::of_model;
use super::publish::{Publisher, PushRequest, WAITING_PUSHES};
use super::settings::GitSource;
use crate::config::DirectorySource;
use crate::directory::{self, SourceContext};
use crate::metrics::Metrics;
use crate::status::{RemoteState, Status};

/// The shortest time between two checks, so that a webhook can't be used to ask a remote without end.
const SHORTEST: Duration = Duration::from_millis(500);
/// How many names of what a commit has and sync leaves out are logged.
const MAX_NAMED: usize = 10;

/// Serves a Git source until `stop` is cancelled or the writer is gone.
pub(crate) async fn run(
    source: DirectorySource,
    git: GitSource,
    dir: PathBuf,
    mut context: SourceContext,
    pushed: Arc<Notify>,
    stop: CancellationToken,
) {
    let (sender, pushes) = mpsc::channel(WAITING_PUSHES);
    context.publisher = Some(Publisher {
        pushes: sender,
        message: git.message.clone(),
    });
    let (has_tree, mut waiting) = watch::channel(false);
    let follower = Follower {
        name: source.name.clone(),
        git,
        status: context.status.clone(),
        metrics: context.metrics.clone(),
        has_tree,
        state: RemoteState::default(),
    };
    let following = follower.follow(dir, pushed, pushes, stop.clone());
    let scanning = async {
        // Without a first commit there is nothing to scan.
        let ready = async { waiting.wait_for(|ready| *ready).await.is_ok() };
        if stop.run_until_cancelled(ready).await == Some(true) {
            directory::run(source, context, stop.clone()).await;
        }
    };
    tokio::join!(following, scanning);
}

struct Follower {
    name: String,
    git: GitSource,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    /// Becomes true when there is a commit to scan.
    has_tree: watch::Sender<bool>,
    state: RemoteState,
}

impl Follower {
    async fn follow(
        mut self,
        dir: PathBuf,
        pushed: Arc<Notify>,
        mut pushes: mpsc::Receiver<PushRequest>,
        stop: CancellationToken,
    ) {
        let mut mirror = loop {
            let (dir, settings) = (dir.clone(), self.git.settings.clone());
            let opened = directory::run_blocking(move || Mirror::open(dir, settings)).await;
            match opened.and_then(|opened| opened.map_err(|error| error.to_string())) {
                Ok(mirror) => break mirror,
                Err(error) => self.failed(&GitError::Disk(error)),
            }
            if stop
                .run_until_cancelled(tokio::time::sleep(self.git.interval))
                .await
                .is_none()
            {
                return;
            }
        };
        if let Some(commit) = mirror.commit() {
            self.state.commit = Some(of_model(commit));
            tracing::info!(
                source = self.name,
                commit = commit.id,
                "the commit that was served before is served again"
            );
            self.publish();
            self.has_tree.send_replace(true);
        }
        loop {
            let begun = Instant::now();
            let span = tracing::info_span!("check", source = self.name);
            match mirror.check(&stop).instrument(span).await {
                Ok(checked) => self.succeeded(&checked, begun.elapsed()),
                Err(GitError::Stopped) => return,
                Err(error) => self.failed(&error),
            }
            let interval = self.git.interval;
            let pause = async {
                tokio::time::sleep(SHORTEST).await;
                tokio::time::timeout(interval.saturating_sub(SHORTEST), pushed.notified())
                    .await
                    .ok();
            };
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = &mut pause => break,
                    Some(request) = pushes.recv() => self.push(&mut mirror, request, &stop).await,
                }
            }
        }
    }

    /// Pushes a change of a client.
    async fn push(&mut self, mirror: &mut Mirror, request: PushRequest, stop: &CancellationToken) {
        let begun = Instant::now();
        let span = tracing::info_span!("push", source = self.name);
        let outcome = mirror
            .push(request.change, request.deadline, stop)
            .instrument(span)
            .await;
        match &outcome {
            Ok(Pushed::Done(checked) | Pushed::Moved(checked)) if checked.is_new => {
                self.succeeded(checked, begun.elapsed());
            }
            Ok(_) => {}
            // The client is told. What is wrong with the remote as such is found at the next check.
            Err(error) => tracing::warn!(source = self.name, %error, "a client's change could not be pushed"),
        }
        // Fails only if the source is stopping.
        request.reply.send(outcome).ok();
    }

    fn succeeded(&mut self, checked: &Checked, took: Duration) {
        let commit = &checked.commit;
        if self.state.error.take().is_some() {
            tracing::info!(source = self.name, commit = commit.id, "the Git server answers again");
        }
        if checked.is_new {
            let named: Vec<String> = checked
                .left_out
                .iter()
                .take(MAX_NAMED)
                .map(|(path, reason)| format!("{path} ({reason})"))
                .collect();
            if !named.is_empty() {
                let left_out = checked.left_out.len();
                tracing::warn!(
                    source = self.name,
                    commit = commit.id,
                    left_out,
                    "parts of the tree are not served: {}",
                    named.join(", ")
                );
            }
            tracing::info!(
                source = self.name,
                commit = commit.id,
                time = %of_model(commit).time,
                signed_by = commit.signed_by,
                took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "a new commit is served"
            );
        }
        self.state.commit = Some(of_model(commit));
        self.state.checked = Some(Timestamp::now());
        self.publish();
        self.has_tree.send_replace(true);
    }

    fn failed(&mut self, error: &GitError) {
        let detail = error.to_string();
        let since = match &self.state.error {
            Some(before) if before.detail == detail => before.since,
            before => {
                tracing::warn!(
                    source = self.name,
                    remote = %self.git.settings.remote,
                    error = detail,
                    "the source has no newer commit; what was served before still is"
                );
                before.as_ref().map_or_else(Timestamp::now, |before| before.since)
            }
        };
        self.state.error = Some(crate::status::RemoteError {
            summary: error.summary(),
            detail,
            since,
        });
        self.publish();
    }

    fn publish(&self) {
        self.metrics.remote(&self.name, &self.state);
        self.status.remote(&self.name, self.state.clone());
    }
}
