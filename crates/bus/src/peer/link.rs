//! The task that runs a link.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::pending::Pending;
use super::{CallError, InUse, Incoming, Infallible, Outgoing, Reply, ReplyFrame};
use crate::connection::Connection;
use crate::frame::{FrameReader, FrameWriter, LinkError};
use crate::message::{self, Kind};

/// How often each side sends a ping.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How long to wait for the other side to close the connection after this side has.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The link's ends of the queues.
pub(super) struct Queues {
    pub(super) pending: Arc<Pending>,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) in_use: InUse,
    pub(super) users: mpsc::Receiver<Infallible>,
}

/// Runs the link until it breaks or this side uses it no more.
pub(super) async fn run(connection: Connection, queues: Queues) {
    let Queues {
        pending,
        outgoing,
        incoming,
        in_use,
        users,
    } = queues;
    let Connection {
        reader,
        writer,
        remote,
        ended,
        short_lived,
    } = connection;
    // All callers must get an error when this task ends, even by a panic or with its runtime.
    let close = CloseOnDrop(Arc::clone(&pending));
    let (answers, answer_queue) = mpsc::unbounded_channel();
    let reading = LinkReader {
        pending: Arc::clone(&pending),
        incoming: incoming.clone(),
        in_use: in_use.downgrade(),
        answers,
    };
    let writing = LinkWriter {
        pending,
        outgoing,
        answers: answer_queue,
    };
    let reading = reading.run(reader);
    tokio::pin!(reading);
    let result = tokio::select! {
        result = &mut reading => result,
        result = writing.run(writer, unused(incoming, in_use, users)) => result,
    };
    if result.is_ok() {
        // If a TCP connection is closed with unread data in it, the last messages may be lost. So read on until the other
        // side has closed its end.
        let _ = timeout(CLOSE_TIMEOUT, reading).await;
    }
    drop(close);
    drop(ended);
    match result {
        Ok(()) => tracing::debug!(%remote, "bus link closed: this side uses it no more"),
        Err(LinkError::Closed) => tracing::debug!(%remote, "bus link closed by the other side"),
        Err(error) if short_lived => tracing::debug!(%remote, %error, "bus link lost"),
        Err(error) => tracing::warn!(%remote, %error, "bus link lost"),
    }
}

struct CloseOnDrop(Arc<Pending>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Waits until the receiver of messages and all `Peer`s and `Reply`s are dropped.
async fn unused(incoming: mpsc::Sender<Incoming>, in_use: InUse, mut users: mpsc::Receiver<Infallible>) {
    incoming.closed().await;
    drop(in_use);
    users.recv().await;
}

struct LinkReader {
    pending: Arc<Pending>,
    incoming: mpsc::Sender<Incoming>,
    in_use: mpsc::WeakSender<Infallible>,
    answers: mpsc::UnboundedSender<ReplyFrame>,
}

impl LinkReader {
    async fn run<R: AsyncRead + Unpin>(self, mut reader: FrameReader<R>) -> Result<(), LinkError> {
        loop {
            let (kind, body) = message::parse(reader.read().await?)?;
            match kind {
                Kind::Ping => {}
                Kind::Call(number) => {
                    self.hand_out(Incoming::Request {
                        body,
                        reply: self.reply(number),
                    })
                    .await
                }
                Kind::Notice => self.hand_out(Incoming::Notice(body)).await,
                Kind::Answer(number) => self.resolve(number, Ok(body))?,
                Kind::NoAnswer(number) => self.resolve(number, Err(CallError::Unanswered))?,
            }
        }
    }

    fn reply(&self, number: u64) -> Reply {
        Reply {
            number,
            answers: Some(self.answers.clone()),
            _in_use: self.in_use.upgrade(),
        }
    }

    async fn hand_out(&self, message: Incoming) {
        // An error means that the receiver was dropped. A request is dropped with it, and its `Reply` tells the caller.
        let _ = self.incoming.send(message).await;
    }

    fn resolve(&self, number: u64, outcome: Result<bytes::Bytes, CallError>) -> Result<(), LinkError> {
        if self.pending.resolve(number, outcome) {
            Ok(())
        } else {
            Err(LinkError::Protocol("answer to no call"))
        }
    }
}

struct LinkWriter {
    pending: Arc<Pending>,
    outgoing: mpsc::Receiver<Outgoing>,
    answers: mpsc::UnboundedReceiver<ReplyFrame>,
}

impl LinkWriter {
    async fn run<W>(mut self, mut writer: FrameWriter<W>, unused: impl Future<Output = ()>) -> Result<(), LinkError>
    where
        W: AsyncWrite + Unpin,
    {
        let mut keepalive = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(unused);
        loop {
            tokio::select! {
                Some(answer) = self.answers.recv() => write_answer(&mut writer, answer).await?,
                Some(message) = self.outgoing.recv() => self.write_outgoing(&mut writer, message).await?,
                _ = keepalive.tick() => writer.write(&Kind::Ping.head(), &[]).await?,
                () = &mut unused => {
                    self.write_waiting(&mut writer).await?;
                    return writer.close().await;
                }
            }
            self.write_waiting(&mut writer).await?;
            writer.flush().await?;
        }
    }

    /// Writes all waiting messages, so that many small ones are sent with one system call.
    async fn write_waiting<W: AsyncWrite + Unpin>(&mut self, writer: &mut FrameWriter<W>) -> Result<(), LinkError> {
        loop {
            let answer = self.answers.try_recv();
            let message = self.outgoing.try_recv();
            if matches!(
                (&answer, &message),
                (Err(_), Err(TryRecvError::Empty | TryRecvError::Disconnected))
            ) {
                return Ok(());
            }
            if let Ok(answer) = answer {
                write_answer(writer, answer).await?;
            }
            if let Ok(message) = message {
                self.write_outgoing(writer, message).await?;
            }
        }
    }

    async fn write_outgoing<W>(&mut self, writer: &mut FrameWriter<W>, message: Outgoing) -> Result<(), LinkError>
    where
        W: AsyncWrite + Unpin,
    {
        match message {
            Outgoing::Notice(body) => writer.write(&Kind::Notice.head(), &body).await,
            Outgoing::Call { number, body } if self.pending.about_to_send(number) => {
                writer.write(&Kind::Call(number).head(), &body).await
            }
            Outgoing::Call { .. } => Ok(()),
        }
    }
}

async fn write_answer<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    (number, body): ReplyFrame,
) -> Result<(), LinkError> {
    match body {
        Some(body) => writer.write(&Kind::Answer(number).head(), &body).await,
        None => writer.write(&Kind::NoAnswer(number).head(), &[]).await,
    }
}
