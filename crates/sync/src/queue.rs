//! The writer's queue: group commit.
//!
//! Whatever waits when the writer becomes free goes into one transaction, is committed with one
//! wait for the disk, and only then acknowledged. So 64 writers wait for one `fsync`, not for 64,
//! and no writer ever meets a locked database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sidevault_keys::IdKey;
use sidevault_model::{ApiRequest, Timestamp};
use sidevault_store::{Command, CommandAnswer, CommandRefusal, FailureKind, Space, StoreError, TokenRecord, Writer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::directory::{self, DirectoryAnswer, DirectoryJob};
use crate::disk::Disk;
use crate::execute;
use crate::metrics::Metrics;
use crate::low_disk::{CHECK_INTERVAL, LowDisk};
use crate::status::{Status, WriterState};

/// The most jobs of one transaction. More would make the first wait too long for the last.
const MAX_BATCH_JOBS: usize = 256;

/// How many jobs may wait; the next one waits outside.
const QUEUE_CAPACITY: usize = 1024;

/// How long a deletion waits for other programs that read the database.
const WIPE_TIMEOUT: Duration = Duration::from_millis(500);

/// A disk that was full is not full any more once so many bytes are free.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// The writer is gone: sync is stopping, or the disk failed for good.
#[derive(Debug, thiserror::Error)]
#[error("sync is stopping and takes no more writes")]
pub struct QueueClosed;

/// Something for the writer to do.
enum Work {
    Command(Command),
    Directory(DirectoryJob),
    Activity(Vec<ApiRequest>),
    TokenSeen(TokenRecord),
}

impl Work {
    /// Whether the room that is kept on the disk is kept for it.
    fn is_urgent(&self) -> bool {
        matches!(self, Self::Command(Command::RevokeToken { .. } | Command::Ping))
    }
}

/// What came of it.
enum JobResult {
    Command(Answer),
    Directory(DirectoryAnswer),
    Done,
    Failed(StoreError),
}

struct Job {
    work: Work,
    reply: Option<oneshot::Sender<JobResult>>,
}

impl Job {
    /// Whoever asked may have gone away: what was asked is done all the same.
    fn answer(self, outcome: JobResult) {
        if let Some(reply) = self.reply {
            let _gone = reply.send(outcome);
        }
    }
}

/// A handle to the writer's queue.
#[derive(Clone)]
pub struct Queue {
    jobs: mpsc::Sender<Job>,
}

/// What the writer needs besides the store.
pub(crate) struct WriterContext {
    pub(crate) ids: IdKey,
    pub(crate) disk: Disk,
    pub(crate) low_disk: LowDisk,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) status: Arc<Status>,
    /// Tells the number of the newest change after each commit.
    pub(crate) committed: watch::Sender<i64>,
}

impl Queue {
    /// Carries out a command. The answer comes when it is on disk.
    pub async fn command(&self, command: Command) -> Result<CommandAnswer, QueueClosed> {
        Ok(match self.ask(Work::Command(command)).await? {
            JobResult::Command(answer) => answer,
            JobResult::Failed(error) => Answer::Refused(refusal(&error)),
            _ => Answer::Refused(Refusal::new(FailureKind::Internal, "sync answered something else")),
        })
    }

    /// Carries out a step of a directory source; the error is for the source's status.
    pub(crate) async fn directory(&self, job: DirectoryJob) -> Result<Result<DirectoryAnswer, String>, QueueClosed> {
        Ok(match self.ask(Work::Directory(job)).await? {
            JobResult::Directory(answer) => Ok(answer),
            JobResult::Failed(error) => Err(error.to_string()),
            _ => Ok(DirectoryAnswer::Done),
        })
    }

    /// Adds to the activity log. Waits for room, not for the disk.
    pub(crate) async fn activity(&self, requests: Vec<ApiRequest>) -> Result<(), QueueClosed> {
        self.send(Work::Activity(requests)).await
    }

    /// Makes a token known. Waits for room, not for the disk.
    pub(crate) async fn token_seen(&self, record: TokenRecord) -> Result<(), QueueClosed> {
        self.send(Work::TokenSeen(record)).await
    }

    async fn send(&self, work: Work) -> Result<(), QueueClosed> {
        self.jobs.send(Job { work, reply: None }).await.map_err(|_| QueueClosed)
    }

    async fn ask(&self, work: Work) -> Result<JobResult, QueueClosed> {
        let (reply, outcome) = oneshot::channel();
        self.jobs
            .send(Job {
                work,
                reply: Some(reply),
            })
            .await
            .map_err(|_| QueueClosed)?;
        outcome.await.map_err(|_| QueueClosed)
    }
}

/// Starts the writer's task. It ends, and closes the store, when every [`Queue`] is dropped.
pub(crate) fn start(writer: Writer, context: WriterContext) -> (Queue, tokio::task::JoinHandle<()>) {
    let (jobs, waiting) = mpsc::channel(QUEUE_CAPACITY);
    (Queue { jobs }, tokio::spawn(run(writer, context, waiting)))
}

/// What a client is told whose write failed in the store. Never the store's own text, which names rows and paths.
pub(crate) fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full => CommandRefusal::new(
            FailureKind::Unavailable,
            format!("{error}: nothing was changed. Once there is room on it, writes work again, without a restart"),
        ),
        error if error.is_disk_error() => CommandRefusal::new(
            FailureKind::Unavailable,
            "the store can't be written at the moment; /health and the log of sync say why. Nothing was changed",
        ),
        _ => CommandRefusal::new(
            FailureKind::Internal,
            "the store could not carry out this write; the log of sync says why. Nothing was changed",
        ),
    }
}

async fn run(writer: Writer, context: WriterContext, mut waiting: mpsc::Receiver<Job>) {
    let mut committer = Committer {
        writer,
        context,
        space_read_at: None,
        space: None,
        has_unwiped: false,
    };
    let mut jobs = Vec::with_capacity(MAX_BATCH_JOBS);
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            taken = waiting.recv_many(&mut jobs, MAX_BATCH_JOBS) => match taken {
                0 => break,
                _ => committer.commit_all(std::mem::take(&mut jobs)).await,
            },
            _ = check.tick() => committer.recheck().await,
        }
    }
    if let Err(error) = committer.writer.close().await {
        tracing::error!(%error, "closing the store failed");
    }
}

/// The writer, and the free room that was last seen on its disk.
struct Committer {
    writer: Writer,
    context: WriterContext,
    /// When the free room was last read.
    space_read_at: Option<Instant>,
    /// The free room at that time.
    space: Option<Space>,
    /// Deleted rows in the write-ahead log are not overwritten yet.
    has_unwiped: bool,
}

impl Committer {
    /// Commits all jobs in one transaction. If that fails, commits each in one of its own, so that
    /// one that can't be carried out does not take the others with it.
    async fn commit_all(&mut self, mut jobs: Vec<Job>) {
        self.read_space();
        if self.is_short_of_room() {
            jobs = self.drop_activity(jobs);
        }
        // Without the reserve, the room that is left is for urgent writes only.
        if !self.writer.hold_reserve() && self.is_full() {
            let (urgent, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.work.is_urgent());
            jobs = urgent;
            if !others.is_empty() {
                self.failed(&StoreError::Full);
            }
            for job in others {
                job.answer(JobResult::Failed(StoreError::Full));
            }
        }
        match self.commit(&jobs).await {
            Ok(outcomes) => jobs
                .into_iter()
                .zip(outcomes)
                .for_each(|(job, outcome)| job.answer(outcome)),
            Err(error) => {
                self.failed(&error);
                if jobs.len() > 1 {
                    tracing::debug!(%error, jobs = jobs.len(), "a batch failed; its jobs are tried one by one");
                }
                if matches!(error, StoreError::Full) {
                    // The database may have room for the log's content; moving it there makes room in the log.
                    let _ = self.writer.empty_log(Duration::ZERO).await;
                }
                jobs.sort_by_key(|job| !job.work.is_urgent());
                for job in jobs {
                    self.commit_alone(job).await;
                }
            }
        }
    }

    async fn commit_alone(&mut self, job: Job) {
        let one = std::slice::from_ref(&job);
        let mut outcome = self.commit(one).await;
        if matches!(outcome, Err(StoreError::Full)) && job.work.is_urgent() && self.writer.release_reserve() {
            tracing::warn!("the disk is full: what was reserved on it is used for a revocation");
            outcome = self.commit(one).await;
            self.writer.hold_reserve();
        }
        match outcome {
            Ok(mut outcomes) => job.answer(outcomes.pop().unwrap_or(JobResult::Done)),
            Err(error) => {
                self.failed(&error);
                job.answer(JobResult::Failed(error));
            }
        }
    }

    async fn commit(&mut self, jobs: &[Job]) -> Result<Vec<JobResult>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let mut batch = self.writer.begin().await?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(match &job.work {
                Work::Command(Command::Ping) => JobResult::Command(ping_answer(&self.context.status)),
                Work::Command(command) => JobResult::Command(execute::command(&mut batch, &self.context, command).await?),
                Work::Directory(job) => JobResult::Directory(directory::apply(&mut batch, job).await?),
                Work::Activity(requests) => {
                    batch.add_activity(requests).await?;
                    JobResult::Done
                }
                Work::TokenSeen(record) => {
                    batch.register_token(record).await?;
                    JobResult::Done
                }
            });
        }
        let sequence = batch.commit().await?;
        self.context.metrics.committed(jobs.len(), started.elapsed());
        let has_written = self
            .context
            .committed
            .send_if_modified(|last| std::mem::replace(last, sequence) != sequence);
        if has_written {
            self.succeeded();
        }
        if !self.has_unwiped {
            self.wipe(WIPE_TIMEOUT).await;
        }
        Ok(outcomes)
    }

    /// Overwrites the rows of deleted vaults in the write-ahead log. If that fails, `recheck` does it later.
    async fn wipe(&mut self, wait: Duration) {
        let outcome = self.writer.wipe_deleted(wait).await;
        let is_wiped = matches!(outcome, Ok(true));
        if !is_wiped && !self.has_unwiped {
            let error = outcome.err().map(|error| error.to_string());
            tracing::warn!(
                error,
                "what was deleted is in the write-ahead log until no other program reads the database"
            );
        }
        self.has_unwiped = !is_wiped;
    }

    /// Whether there is too little room for activity and old versions, which are least important.
    fn is_short_of_room(&self) -> bool {
        self.is_low() || self.is_failing()
    }

    fn is_failing(&self) -> bool {
        matches!(self.context.status.writer_state(), WriterState::Failed { .. })
    }

    /// Whether there is so little room that the next write may well fail, though the last one did not.
    fn is_full(&self) -> bool {
        self.writer.space().is_some_and(|space| space.free < MIN_FREE_BYTES)
    }

    fn is_low(&self) -> bool {
        self.space.is_some_and(|space| self.context.low_disk.is_low(space))
    }

    fn drop_activity(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        jobs.retain(|job| match &job.work {
            Work::Activity(requests) => {
                self.context.metrics.activity_not_kept(requests.len());
                false
            }
            _ => true,
        });
        jobs
    }

    /// Reads how much room is free, unless that was done just now.
    fn read_space(&mut self) {
        if self.space_read_at.is_some_and(|at| at.elapsed() < CHECK_INTERVAL) {
            return;
        }
        self.space_read_at = Some(Instant::now());
        self.space = self.writer.space();
        if let Some(space) = self.space {
            self.context.metrics.disk_free(space.free);
            let threshold = self.context.low_disk.threshold(space);
            self.context.metrics.low_disk_threshold(threshold);
        }
        self.writer.keep_history(!self.is_low());
        if !self.is_failing() {
            self.context.status.writer(self.usual_state());
        }
    }

    /// The state of a writer whose last write succeeded.
    fn usual_state(&self) -> WriterState {
        match self.space {
            Some(space) if self.is_low() => WriterState::Low(self.context.low_disk.warning(space)),
            _ => WriterState::Good,
        }
    }

    /// Tries to write to a store that could not be written, so that `/health` is right although no client writes.
    async fn recheck(&mut self) {
        self.read_space();
        if self.has_unwiped {
            self.wipe(Duration::ZERO).await;
        }
        if !self.is_failing() {
            if !self.is_low() {
                self.writer.refill_reserve();
            }
            return;
        }
        let outcome = if !self.writer.hold_reserve() && self.is_full() {
            Err(StoreError::Full)
        } else {
            self.writer.probe().await
        };
        match outcome {
            Ok(()) => self.succeeded(),
            Err(error) => self.failed(&error),
        }
    }

    fn succeeded(&self) {
        // A small write may still find room where the next one does not, so one success does not mean that the disk has room.
        if !(self.is_failing() && self.is_full()) {
            self.context.status.writer(self.usual_state());
        }
    }

    fn failed(&self, error: &StoreError) {
        if !error.is_disk_error() {
            tracing::error!(%error, "a write failed");
            return;
        }
        let since = match self.context.status.writer_state() {
            WriterState::Failed { since, .. } => since,
            _ => Timestamp::now(),
        };
        self.context.status.writer(WriterState::Failed {
            since,
            error: error.to_string(),
        });
    }
}

fn ping_answer(status: &Status) -> Answer {
    match status.writer_state() {
        state @ WriterState::Failed { .. } => CommandAnswer::Refused(CommandRefusal::new(
            FailureKind::Unavailable,
            state.trouble().unwrap_or_default(),
        )),
        _ => CommandAnswer::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_not_told_which_row_is_damaged() {
        let error = StoreError::Corrupt {
            place: "item abcd of vault efgh".to_owned(),
        };
        let refusal = refusal(&error);
        assert_eq!(refusal.kind, FailureKind::Internal);
        assert!(!refusal.message.contains("abcd"), "{}", refusal.message);
        assert!(refusal.message.contains("log of sync"), "{}", refusal.message);
    }
}
