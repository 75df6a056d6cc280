//! The writer's queue: group commit.
//!
//! All jobs that wait when the writer becomes free go into one transaction. It is committed with one `fsync`, and its
//! jobs are acknowledged after that. So 64 clients that write at once wait for one `fsync` instead of 64, and none of
//! them meets a locked database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidevault_keys::IdKey;
use sidevault_model::ApiRequest;
use sidevault_store::{
    Command, CommandAnswer, CommandRefusal, FailureKind, Resealing, Space, StoreError, TokenRecord, Writer,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::Instrument as _;

use crate::directory::{self, DirectoryAnswer, DirectoryJob, TreeWriters};
use crate::disk::Disk;
use crate::execute;
use crate::low_disk::{CHECK_INTERVAL, LowDisk};
use crate::metrics::Metrics;
use crate::status::{Status, WriterState};

/// The most jobs in one transaction. In a larger batch, the first job would wait too long for the last.
const MAX_BATCH_JOBS: usize = 256;

/// How many jobs the queue holds. While it is full, senders wait.
const QUEUE_CAPACITY: usize = 1024;

/// How long a commit with deletions waits for other programs to end their reads, so that the deleted rows can be
/// overwritten in the write-ahead log.
const WIPE_TIMEOUT: Duration = Duration::from_millis(500);

/// The least time between two transactions that seal rows anew with new data keys. After a transaction that took longer, the pause
/// is as long as that: so sealing anew takes at most half of the writer's time, and a client's write waits for one such transaction at
/// most.
const RESEAL_PAUSE: Duration = Duration::from_millis(2);

/// The pause after rows could not be sealed anew, because the disk is full or fails.
const RESEAL_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A disk with fewer free bytes counts as full.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// The writer has ended, because sync is stopping.
#[derive(Debug, thiserror::Error)]
#[error("sync is stopping and takes no more writes")]
pub struct QueueClosed;

/// Why the writer did not carry out a job of a directory source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error(transparent)]
    Closed(#[from] QueueClosed),
    #[error(transparent)]
    Store(StoreError),
    /// The writer returned a result that does not fit the job.
    #[error("a fault in sync: the writer returned the result of another kind of job")]
    WrongAnswer,
}

/// What the writer is to do.
enum Work {
    Command(Command),
    Directory(DirectoryJob),
    Activity(Vec<ApiRequest>),
    TokenSeen(TokenRecord),
}

impl Work {
    /// Whether the file `reserve` may be removed to make room for this on a full disk.
    fn is_urgent(&self) -> bool {
        matches!(self, Self::Command(Command::RevokeToken { .. } | Command::Ping))
    }
}

/// The result of a job.
enum JobResult {
    Command(CommandAnswer),
    Directory(DirectoryAnswer),
    Done,
    Failed(StoreError),
}

struct Job {
    work: Work,
    reply: Option<oneshot::Sender<JobResult>>,
}

impl Job {
    /// Sends the result to the sender of the job, if it still waits for it.
    fn answer(self, outcome: JobResult) {
        if let Some(reply) = self.reply {
            reply.send(outcome).ok();
        }
    }
}

/// A handle to the writer's queue.
#[derive(Clone)]
pub struct Queue {
    jobs: mpsc::Sender<Job>,
    tree_writers: TreeWriters,
}

/// What the writer needs besides the store.
pub(crate) struct WriterContext {
    pub(crate) ids: IdKey,
    /// The names of the sources with `writable: true`.
    pub(crate) writable_sources: HashSet<String>,
    pub(crate) disk: Disk,
    pub(crate) low_disk: LowDisk,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) status: Arc<Status>,
    /// Gets the sequence number of the newest change after each commit.
    pub(crate) committed: watch::Sender<i64>,
}

impl Queue {
    /// Carries out a command. Returns when its changes are on disk.
    ///
    /// # Errors
    /// [`QueueClosed`] if the writer ended first. Whether the command was carried out is then unknown.
    pub async fn command(&self, command: Command) -> Result<CommandAnswer, QueueClosed> {
        if let Some(tree) = self.tree_writers.for_command(&command) {
            return tree.carry_out(command).await;
        }
        Ok(match self.ask(Work::Command(command)).await? {
            JobResult::Command(answer) => answer,
            JobResult::Failed(error) => CommandAnswer::Refused(refusal(&error)),
            _ => CommandAnswer::Refused(CommandRefusal::new(
                FailureKind::Internal,
                JobError::WrongAnswer.to_string(),
            )),
        })
    }

    /// The scanners that carry out writes to the files of their trees.
    pub(crate) fn tree_writers(&self) -> &TreeWriters {
        &self.tree_writers
    }

    /// Carries out a job of a directory source. Returns when its changes are on disk.
    pub(crate) async fn directory(&self, job: DirectoryJob) -> Result<DirectoryAnswer, JobError> {
        match self.ask(Work::Directory(job)).await? {
            JobResult::Directory(answer) => Ok(answer),
            JobResult::Failed(error) => Err(JobError::Store(error)),
            _ => Err(JobError::WrongAnswer),
        }
    }

    /// Adds records to the activity log. Waits until the queue has room for them, not until they are on disk.
    pub(crate) async fn activity(&self, requests: Vec<ApiRequest>) -> Result<(), QueueClosed> {
        self.send(Work::Activity(requests)).await
    }

    /// Lists a token that a client used. Waits until the queue has room for the job, not until it is on disk.
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
    let queue = Queue {
        jobs,
        tree_writers: TreeWriters::default(),
    };
    (queue, tokio::spawn(run(writer, context, waiting)))
}

/// The refusal that a client gets when its write failed in the store. It never has the store's own text, which names
/// rows and paths.
pub(crate) fn refusal(error: &StoreError) -> CommandRefusal {
    match error {
        StoreError::Full => CommandRefusal::new(
            FailureKind::Unavailable,
            format!("{error}. Nothing was changed. Once the disk has free space, writes work again without a restart"),
        ),
        StoreError::OutcomeUnknown => CommandRefusal::new(
            FailureKind::Unavailable,
            format!("{error}. Read the item before you try again"),
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
        batches: 0,
        space_read_at: None,
        space: None,
        has_unwiped: false,
        reseal_at: tokio::time::Instant::now(),
    };
    // Rows that were deleted before the start may still be in the write-ahead log.
    committer.wipe(WIPE_TIMEOUT).await;
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
            () = tokio::time::sleep_until(committer.reseal_at), if committer.has_rows_to_reseal() => {
                committer.reseal_some().await;
            }
        }
    }
    committer.context.status.data_keys(Resealing::Idle);
    if let Err(error) = committer.writer.close().await {
        tracing::error!(%error, "the store could not be closed");
    }
}

/// Commits jobs, and watches the free space on the store's disk.
struct Committer {
    writer: Writer,
    context: WriterContext,
    /// How many batches were begun; the log names each by its number.
    batches: u64,
    /// When `space` was read.
    space_read_at: Option<Instant>,
    /// The free space on the store's disk.
    space: Option<Space>,
    /// Whether deleted rows are still in the write-ahead log.
    has_unwiped: bool,
    /// When rows may be sealed anew again.
    reseal_at: tokio::time::Instant,
}

impl Committer {
    /// Commits all jobs in one transaction. If that fails, commits each job in its own transaction, so that one job that
    /// can't be carried out does not fail the others.
    async fn commit_all(&mut self, jobs: Vec<Job>) {
        self.batches += 1;
        let span = tracing::info_span!("batch", batch = self.batches, jobs = jobs.len());
        self.commit_batch(jobs).instrument(span).await;
    }

    async fn commit_batch(&mut self, mut jobs: Vec<Job>) {
        self.read_space();
        if self.is_short_of_room() {
            jobs = self.drop_activity(jobs);
        }
        // If even the reserve can't be written, the last free space is for urgent jobs only.
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
            // The jobs must not be carried out twice.
            Err(StoreError::OutcomeUnknown) => {
                self.failed(&StoreError::OutcomeUnknown);
                for job in jobs {
                    job.answer(JobResult::Failed(StoreError::OutcomeUnknown));
                }
            }
            Err(error) => {
                self.failed(&error);
                if jobs.len() > 1 {
                    tracing::debug!(%error, "the batch failed; its jobs are tried one by one");
                }
                if matches!(error, StoreError::Full) {
                    // Best effort: a checkpoint moves the write-ahead log's content into the database file, which may
                    // still have free pages, and so makes room in the log.
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
            tracing::warn!("the disk is full: the space of the file `reserve` is used for a revocation");
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
                Work::Command(command) => {
                    JobResult::Command(execute::command(&mut batch, &self.context, command).await?)
                }
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

    fn has_rows_to_reseal(&self) -> bool {
        matches!(self.writer.resealing(), Resealing::Running { .. })
    }

    /// Seals some rows anew with new data keys. While the disk is short of room this waits, because rows with old keys can be read as
    /// well as others.
    async fn reseal_some(&mut self) {
        self.read_space();
        let started = Instant::now();
        let mut pause = RESEAL_RETRY_PAUSE;
        if !self.is_short_of_room() {
            match self.writer.reseal_some().await {
                Ok(state) => {
                    self.context.status.data_keys(state);
                    if state == Resealing::Idle {
                        self.wipe(WIPE_TIMEOUT).await;
                    }
                    pause = started.elapsed().max(RESEAL_PAUSE);
                }
                Err(error) => self.failed(&error),
            }
        }
        self.reseal_at = tokio::time::Instant::now() + pause;
    }

    /// Overwrites deleted rows in the write-ahead log. If that fails, `recheck` tries it again later.
    async fn wipe(&mut self, wait: Duration) {
        let outcome = self.writer.wipe_deleted(wait).await;
        let is_wiped = matches!(outcome, Ok(true));
        if !is_wiped && !self.has_unwiped {
            let error = outcome.err().map(|error| error.to_string());
            tracing::warn!(
                error,
                "deleted rows stay in the write-ahead log until no other program reads the database"
            );
        }
        self.has_unwiped = !is_wiped;
    }

    /// Whether the disk has too little free space for activity records and old versions of items.
    fn is_short_of_room(&self) -> bool {
        self.is_low() || self.is_failing()
    }

    fn is_failing(&self) -> bool {
        matches!(self.context.status.writer_state(), WriterState::Failed { .. })
    }

    /// Whether the next write may well fail for lack of space, even if the last one did not.
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

    /// Reads the free space, unless it was read within the last second.
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

    /// Tries to write to a store that could not be written, so that `/health` becomes right without a client's write.
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
        // On a full disk a small write may succeed and the next one fail, so one success is not enough.
        if !(self.is_failing() && self.is_full()) {
            self.context.status.writer(self.usual_state());
        }
    }

    fn failed(&self, error: &StoreError) {
        if !error.is_disk_error() {
            tracing::error!(%error, "the store failed to carry out a write");
            return;
        }
        let status = &self.context.status;
        status.writer(WriterState::failed(error, status));
    }
}

fn ping_answer(status: &Status) -> CommandAnswer {
    match status.writer_state() {
        state @ WriterState::Failed { .. } => CommandAnswer::Refused(CommandRefusal::new(
            FailureKind::Unavailable,
            state.problem().unwrap_or_default(),
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
            row: "item abcd of vault efgh".to_owned(),
        };
        let refusal = refusal(&error);
        assert_eq!(refusal.kind, FailureKind::Internal);
        assert!(!refusal.message.contains("abcd"), "{}", refusal.message);
        assert!(refusal.message.contains("log of sync"), "{}", refusal.message);
    }
}
