//! The right to write, which one process has at a time: the leader.
//!
//! The table `lease` has one row. It says who the leader is, and until when by the database's clock. Each new leader gets the next
//! `term`. The last statement of each of its transactions checks the term and locks the row until the commit. So a leader that was
//! paused, and was replaced meanwhile, can commit nothing (its term is a fencing token). The statement checks the leader's name, too:
//! a failover to a server that lacks the newest term, which only asynchronous replication allows, gives out that term again.

use std::time::Duration;

use sqlx::Row as _;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::PostgresServer;
use crate::connection::Connection;
use crate::{StoreError, migrations};

/// How often the leader renews its lease. A commit renews it, too.
const RENEWAL: Duration = Duration::from_secs(5);

/// How often the database is asked whether a commit succeeded whose answer was lost.
const OUTCOME_ATTEMPTS: u32 = 20;
/// The pause between these attempts.
const OUTCOME_PAUSE: Duration = Duration::from_millis(500);

/// `commits` is the number of the newest commit of this term. It tells whether a commit succeeded whose answer was lost.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS lease (
    one        BIGINT      NOT NULL PRIMARY KEY CHECK (one = 1),
    term       BIGINT      NOT NULL,
    holder     TEXT        NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    commits    BIGINT      NOT NULL
)";

/// The lease while this process holds it.
pub(crate) struct Lease {
    server: PostgresServer,
    term: i64,
    /// The number of the newest commit that was tried.
    commits: i64,
    /// Whether another process has taken it.
    lost: watch::Sender<bool>,
    renewals: AbortHandle,
}

impl Lease {
    /// Takes the lease if nobody holds it, or its holder has not renewed it in time.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds it: then the connection can still be used.
    pub(crate) async fn take(server: &PostgresServer, conn: &mut Connection) -> Result<Self, StoreError> {
        conn.run(super::BEGIN).await?;
        let term = match claim(conn).await? {
            Claim::Taken { term } => term,
            Claim::HeldBy(holder) => {
                conn.run("ROLLBACK").await?;
                return Err(StoreError::Locked(format!("{server} ({holder})")));
            }
        };
        conn.run(super::COMMIT).await?;
        let lost = watch::Sender::new(false);
        let renewals = tokio::spawn(renew(server.clone(), term, lost.clone())).abort_handle();
        Ok(Self {
            server: server.clone(),
            term,
            commits: 0,
            lost,
            renewals,
        })
    }

    /// The number of this leader. It grows with each new one.
    pub(crate) fn term(&self) -> i64 {
        self.term
    }

    /// Becomes true when another process has taken the lease.
    pub(crate) fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    /// Commits the open transaction of the connection, and renews the lease with it.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`] if another process has taken the lease; [`StoreError::OutcomeUnknown`] if the database does not
    /// answer any more. After every other error nothing was committed.
    pub(crate) async fn commit(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        // A number is used once, even if it is not known whether its commit succeeded.
        self.commits += 1;
        // The last statement before the commit: it locks the row until then, so nobody can take the lease in between.
        let fenced = sqlx::query(
            "UPDATE lease SET expires_at = clock_timestamp() + INTERVAL '15 seconds', commits = $3
             WHERE term = $1 AND holder = $2",
        )
        .bind(self.term)
        .bind(process_name())
        .bind(self.commits)
        .execute(&mut *conn)
        .await?;
        if fenced.rows_affected() != 1 {
            self.lost.send_replace(true);
            return Err(StoreError::NotLeader);
        }
        if let Err(error) = conn.run(super::COMMIT).await
            && !self.was_committed().await?
        {
            return Err(error);
        }
        Ok(())
    }

    /// Whether the transaction was committed, although its commit failed: the answer may have been lost.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] if the database can't be asked within ten seconds, or another process has taken the lease
    /// since.
    async fn was_committed(&self) -> Result<bool, StoreError> {
        for _ in 0..OUTCOME_ATTEMPTS {
            match self.newest_commit().await {
                Ok(Some(newest)) => return Ok(newest == self.commits),
                Ok(None) => return Err(StoreError::OutcomeUnknown),
                Err(error) => tracing::debug!(%error, "the database can't be asked whether the last commit succeeded"),
            }
            tokio::time::sleep(OUTCOME_PAUSE).await;
        }
        Err(StoreError::OutcomeUnknown)
    }

    /// The number of this term's newest commit that the database has. Waits for a commit that is still in progress, because it
    /// holds the lock of the row. None if there is a later term.
    async fn newest_commit(&self) -> Result<Option<i64>, StoreError> {
        let mut conn = self.server.connect().await?;
        conn.run(super::BEGIN).await?;
        let row = sqlx::query("SELECT commits FROM lease WHERE term = $1 AND holder = $2 FOR UPDATE")
            .bind(self.term)
            .bind(process_name())
            .fetch_optional(&mut conn)
            .await?;
        conn.run(super::COMMIT).await?;
        conn.close().await.ok();
        Ok(row.map(|row| row.try_get("commits")).transpose()?)
    }

    /// Gives the lease back, so that a standby need not wait until it expires.
    pub(crate) async fn release(self, conn: &mut Connection) -> Result<(), StoreError> {
        self.renewals.abort();
        conn.run(super::BEGIN).await?;
        sqlx::query("UPDATE lease SET expires_at = clock_timestamp() WHERE term = $1 AND holder = $2")
            .bind(self.term)
            .bind(process_name())
            .execute(&mut *conn)
            .await?;
        conn.run(super::COMMIT).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewals.abort();
    }
}

/// The result of an attempt to take the lease.
enum Claim {
    Taken { term: i64 },
    HeldBy(String),
}

/// Writes this process into the lease, unless another one holds it.
async fn claim(conn: &mut Connection) -> Result<Claim, StoreError> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('lease') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    if !exists && let Err(error) = conn.run(TABLE).await {
        if is_duplicate(&error) {
            return Ok(Claim::HeldBy("another process, which is making the store".to_owned()));
        }
        return Err(error);
    }
    let holder: Option<String> = sqlx::query_scalar("SELECT holder FROM lease WHERE expires_at > clock_timestamp()")
        .fetch_optional(&mut *conn)
        .await?;
    if let Some(holder) = holder {
        return Ok(Claim::HeldBy(holder));
    }
    let is_migrated: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    if is_migrated {
        // Before the lease is taken: an older version must not keep a newer one from leading.
        migrations::check_writable(conn).await?;
    }
    let term = sqlx::query_scalar(
        "INSERT INTO lease (one, term, holder, expires_at, commits)
         VALUES (1, 1, $1, clock_timestamp() + INTERVAL '15 seconds', 0)
         ON CONFLICT (one) DO UPDATE
         SET term = lease.term + 1, holder = excluded.holder, expires_at = excluded.expires_at, commits = 0
         WHERE lease.expires_at <= clock_timestamp()
         RETURNING term",
    )
    .bind(process_name())
    .fetch_optional(conn)
    .await?;
    // Without a term, another standby was faster.
    Ok(term.map_or_else(
        || Claim::HeldBy("another process".to_owned()),
        |term| Claim::Taken { term },
    ))
}

/// Whether another process created the same table at the same moment: PostgreSQL's `unique_violation` in its catalogue, or
/// `duplicate_table`.
fn is_duplicate(error: &StoreError) -> bool {
    let StoreError::Sql(sqlx::Error::Database(error)) = error else {
        return false;
    };
    error.code().is_some_and(|code| ["23505", "42P07"].contains(&&*code))
}

/// Renews the lease until another process has taken it. While the database can't be reached, nobody can take the lease.
async fn renew(server: PostgresServer, term: i64, lost: watch::Sender<bool>) {
    let mut conn = None;
    loop {
        tokio::time::sleep(RENEWAL).await;
        match renew_once(&server, &mut conn, term).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!(term, "another sync process has become the leader");
                lost.send_replace(true);
                return;
            }
            Err(error) => {
                conn = None;
                tracing::warn!(term, %error, "the lease could not be renewed");
            }
        }
    }
}

async fn renew_once(server: &PostgresServer, conn: &mut Option<Connection>, term: i64) -> Result<bool, StoreError> {
    let conn = match conn {
        Some(conn) => conn,
        None => conn.insert(server.connect().await?),
    };
    conn.run(super::BEGIN).await?;
    let renewed = sqlx::query(
        "UPDATE lease SET expires_at = clock_timestamp() + INTERVAL '15 seconds' WHERE term = $1 AND holder = $2",
    )
    .bind(term)
    .bind(process_name())
    .execute(&mut *conn)
    .await?;
    conn.run(super::COMMIT).await?;
    Ok(renewed.rows_affected() == 1)
}

/// The name of this process in the table: its host, which is the Pod's name in Kubernetes, and the process's number.
fn process_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}/{}", std::process::id())
}
