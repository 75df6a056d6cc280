//! A connection to the store's database, whichever it is.
//!
//! The store's SQL is limited to what SQLite and PostgreSQL share, so all code above this module uses sqlx's driver `Any`.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, AnyConnection, Connection as _, Either, Execute, Executor, SqlStr};

use crate::StoreError;

/// A connection to SQLite or PostgreSQL.
#[derive(Debug)]
pub(crate) struct Connection {
    inner: AnyConnection,
    settings: Settings,
    /// The last statement ended in a way that makes the connection useless.
    is_broken: bool,
}

/// What differs between the databases when a statement is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Whether statements stay prepared on the server between transactions. False behind a connection pooler that gives each
    /// transaction another connection and does not follow prepared statements.
    pub(crate) keeps_statements: bool,
    /// How long a statement may take. None for SQLite, whose own limit is the wait for a lock.
    pub(crate) timeout: Option<Duration>,
}

impl Settings {
    fn sent<E>(self, statement: E) -> Sent<E> {
        Sent {
            statement,
            keeps_statements: self.keeps_statements,
        }
    }
}

impl Connection {
    pub(crate) fn new(inner: AnyConnection, settings: Settings) -> Self {
        Self {
            inner,
            settings,
            is_broken: false,
        }
    }

    /// Whether the connection has to be replaced by a new one.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether each read must be in a transaction: outside of one, the pooler may run the two steps of a statement, to prepare
    /// and to execute it, on different connections.
    pub(crate) fn needs_transactions(&self) -> bool {
        !self.settings.keeps_statements
    }

    /// Sends one or more statements without parameters, separated by semicolons.
    pub(crate) async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(sql).execute(self).await?;
        Ok(())
    }

    /// Frees the memory that a large row has left in the connection's buffers.
    pub(crate) fn shrink_buffers(&mut self) {
        self.inner.shrink_buffers();
    }

    /// Closes the connection, and ends an open transaction without committing it.
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        Ok(self.inner.close().await?)
    }

    pub(crate) fn inner(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Waits for a statement's result, for as long as a statement may take.
    async fn limited<T>(
        timeout: Option<Duration>,
        is_broken: &mut bool,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let result = match timeout {
            Some(limit) => tokio::time::timeout(limit, statement).await.unwrap_or_else(|_| {
                let message = format!("the database did not answer within {} s", limit.as_secs());
                Err(std::io::Error::new(std::io::ErrorKind::TimedOut, message).into())
            }),
            None => statement.await,
        };
        if let Err(error) = &result {
            *is_broken |= ends_connection(error);
        }
        result
    }
}

/// Whether nothing more can be sent on the connection after this error.
fn ends_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => true,
        // PostgreSQL's classes "connection exception" and "operator intervention", and a transaction that was idle too long.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.len() == 5 && (code.starts_with("08") || code.starts_with("57P") || code == "25P03")
        }),
        _ => false,
    }
}

/// A statement as the connection sends it.
struct Sent<E> {
    statement: E,
    keeps_statements: bool,
}

impl<'q, E: Execute<'q, Any>> Execute<'q, Any> for Sent<E> {
    fn sql(self) -> SqlStr {
        self.statement.sql()
    }

    fn statement(&self) -> Option<&AnyStatement> {
        self.statement.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<AnyArguments>, sqlx::error::BoxDynError> {
        self.statement.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.keeps_statements && self.statement.persistent()
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        statement: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        self.inner.fetch_many(self.settings.sent(statement))
    }

    fn execute<'e, 'q: 'e, E>(self, statement: E) -> BoxFuture<'e, Result<AnyQueryResult, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let Settings { timeout, .. } = self.settings;
        let sent = self.settings.sent(statement);
        Box::pin(Connection::limited(
            timeout,
            &mut self.is_broken,
            self.inner.execute(sent),
        ))
    }

    fn fetch_all<'e, 'q: 'e, E>(self, statement: E) -> BoxFuture<'e, Result<Vec<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let Settings { timeout, .. } = self.settings;
        let sent = self.settings.sent(statement);
        Box::pin(Connection::limited(
            timeout,
            &mut self.is_broken,
            self.inner.fetch_all(sent),
        ))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, statement: E) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let Settings { timeout, .. } = self.settings;
        let sent = self.settings.sent(statement);
        Box::pin(Connection::limited(
            timeout,
            &mut self.is_broken,
            self.inner.fetch_optional(sent),
        ))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.inner.prepare_with(sql, parameters)
    }
}
