//! The writer's queue: group commit.
//!
//! Whatever waits when the writer becomes free goes into one transaction, is committed with one
//! wait for the disk, and only then acknowledged. So 64 writers wait for one `fsync`, not for 64,
//! and no writer ever meets a locked database.

use std::sync::Arc;
use std::time::Instant;

use sidevault_keys::IdKey;
use sidevault_model::ApiRequest;
use sidevault_store::{Answer, Command, FailureKind, Refusal, StoreError, TokenRecord, Writer};
use tokio::sync::{mpsc, oneshot, watch};

use crate::directory::{self, DirectoryAnswer, DirectoryJob};
use crate::disk::Disk;
use crate::execute;
use crate::metrics::Metrics;

/// The most jobs of one transaction. More would make the first wait too long for the last.
const LARGEST_BATCH: usize = 256;

/// How many jobs may wait; the next one waits outside.
const WAITING: usize = 1024;

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

/// What came of it.
enum Outcome {
    Command(Answer),
    Directory(DirectoryAnswer),
    Done,
    Failed(String),
}

struct Job {
    work: Work,
    reply: Option<oneshot::Sender<Outcome>>,
}

impl Job {
    /// Whoever asked may have gone away: what was asked is done all the same.
    fn answer(self, outcome: Outcome) {
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
    pub(crate) metrics: Arc<Metrics>,
    /// Tells the number of the newest change after each commit.
    pub(crate) committed: watch::Sender<i64>,
}

impl Queue {
    /// Carries out a command. The answer comes when it is on disk.
    pub async fn command(&self, command: Command) -> Result<Answer, QueueClosed> {
        Ok(match self.ask(Work::Command(command)).await? {
            Outcome::Command(answer) => answer,
            _ => Answer::Refused(Refusal::new(
                FailureKind::Internal,
                "the store could not carry out this write; the log of sync says why. Nothing was changed",
            )),
        })
    }

    /// Carries out a step of a directory source; the error is for the source's status.
    pub(crate) async fn directory(&self, job: DirectoryJob) -> Result<Result<DirectoryAnswer, String>, QueueClosed> {
        Ok(match self.ask(Work::Directory(job)).await? {
            Outcome::Directory(answer) => Ok(answer),
            Outcome::Failed(error) => Err(error),
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

    async fn ask(&self, work: Work) -> Result<Outcome, QueueClosed> {
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
    let (jobs, waiting) = mpsc::channel(WAITING);
    (Queue { jobs }, tokio::spawn(run(writer, context, waiting)))
}

async fn run(mut writer: Writer, context: WriterContext, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(LARGEST_BATCH);
    while waiting.recv_many(&mut jobs, LARGEST_BATCH).await > 0 {
        commit_all(&mut writer, &context, std::mem::take(&mut jobs)).await;
    }
    if let Err(error) = writer.close().await {
        tracing::error!(%error, "closing the store failed");
    }
}

/// Commits all jobs in one transaction. If that fails, commits each in one of its own, so that
/// one that can't be carried out does not take the others with it.
async fn commit_all(writer: &mut Writer, context: &WriterContext, mut jobs: Vec<Job>) {
    match commit(writer, context, &jobs).await {
        Ok(outcomes) => jobs
            .into_iter()
            .zip(outcomes)
            .for_each(|(job, outcome)| job.answer(outcome)),
        Err(error) if jobs.len() > 1 => {
            tracing::warn!(%error, jobs = jobs.len(), "a batch failed; its jobs are tried one by one");
            for job in jobs {
                Box::pin(commit_all(writer, context, vec![job])).await;
            }
        }
        Err(error) => {
            tracing::error!(%error, "a write failed");
            if let Some(job) = jobs.pop() {
                job.answer(Outcome::Failed(error.to_string()));
            }
        }
    }
}

async fn commit(writer: &mut Writer, context: &WriterContext, jobs: &[Job]) -> Result<Vec<Outcome>, StoreError> {
    let started = Instant::now();
    let mut batch = writer.begin().await?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        outcomes.push(match &job.work {
            Work::Command(command) => Outcome::Command(execute::command(&mut batch, context, command).await?),
            Work::Directory(job) => Outcome::Directory(directory::apply(&mut batch, job).await?),
            Work::Activity(requests) => {
                batch.add_activity(requests).await?;
                Outcome::Done
            }
            Work::TokenSeen(record) => {
                batch.register_token(record).await?;
                Outcome::Done
            }
        });
    }
    let sequence = batch.commit().await?;
    context.metrics.committed(jobs.len(), started.elapsed());
    context
        .committed
        .send_if_modified(|last| std::mem::replace(last, sequence) != sequence);
    Ok(outcomes)
}
