//! Everything that depends on PostgreSQL itself.
//!
//! Nothing here uses what a connection pooler in transaction mode can't offer: no `LISTEN`, no advisory locks, no settings of a
//! session.

mod lease;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;
use url::Url;

use crate::connection::{Connection, Settings};
use crate::{StoreError, migrations};

pub(crate) use lease::Lease;

/// How long it may take to connect, and to be authenticated.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement may take, as the client waits for it. [`BEGIN`] makes the server end a write after the same time.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Begins a transaction that writes. The server ends it if it stands still for this time.
macro_rules! begin {
    ($idle:literal) => {
        concat!(
            "BEGIN; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '10s'; ",
            "SET LOCAL idle_in_transaction_session_timeout = '",
            $idle,
            "'; SET LOCAL synchronous_commit = on"
        )
    };
}

/// Begins a transaction of the writer. The server ends it if the writer is paused, so that its locks do not outlive its lease.
/// A commit is acknowledged when it is on the server's disk, and on those of its synchronous standbys, whatever the default is.
pub(crate) const BEGIN: &str = begin!("5s");

/// Begins a transaction of a copy into an empty store. Nobody waits for its locks, so a machine that is slow for a while does not
/// end it.
pub(crate) const BEGIN_COPY: &str = begin!("60s");

/// Begins a transaction that sees one state of the database.
pub(crate) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Commits a transaction of the writer. Without a time limit: at the limit, the server would stop waiting for its synchronous standby
/// and confirm a commit that the standby does not have.
pub(crate) const COMMIT: &str = "SET LOCAL statement_timeout = 0; COMMIT";

/// The parameters of a URL that sqlx reads.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// A database of a PostgreSQL server.
#[derive(Clone)]
pub struct PostgresServer {
    /// Holds the password.
    url: Url,
    keeps_statements: bool,
    /// A connection that was not needed in the end, for the next caller: a standby looks at the lease again and again.
    spare: Arc<Mutex<Option<Connection>>>,
}

/// Whether a text is the URL of a PostgreSQL database, right or wrong.
pub(crate) fn is_url(text: &str) -> bool {
    text.starts_with("postgres:") || text.starts_with("postgresql:")
}

impl PostgresServer {
    /// Reads a URL: `postgres://user:password@host:port/database?sslmode=verify-full`.
    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        let wrong = |problem: String| StoreError::Setting(problem);
        if !is_url(text) {
            return Err(wrong("it does not begin with postgres://".to_owned()));
        }
        let mut url = Url::parse(text).map_err(|error| wrong(format!("not a URL: {error}")))?;
        let mut keeps_statements = true;
        for (name, value) in url.query_pairs() {
            // sqlx would ignore it, and log its value.
            if !PARAMETERS.contains(&&*name) {
                return Err(wrong(format!("\"{name}\" is not a parameter of the URL")));
            }
            if name == "statement-cache-capacity" {
                keeps_statements = value != "0";
            }
        }
        if url.query_pairs().all(|(name, _)| name != "application_name") {
            url.query_pairs_mut().append_pair("application_name", "sidevault");
        }
        Ok(Self {
            url,
            keeps_statements,
            spare: Arc::default(),
        })
    }

    /// Connects to the server.
    pub(crate) async fn connect(&self) -> Result<Connection, StoreError> {
        if let Some(spare) = self.spare.lock().await.take() {
            return Ok(spare);
        }
        if !cfg!(feature = "postgres") {
            return Err(StoreError::Setting(
                "this program was built without PostgreSQL (the crate feature `postgres`)".to_owned(),
            ));
        }
        sqlx::any::install_default_drivers();
        let options = AnyConnectOptions::from_url(&self.url)?.disable_statement_logging();
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
        let inner = connected.map_err(|_| {
            let message = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
            sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message))
        })??;
        let settings = Settings {
            keeps_statements: self.keeps_statements,
            timeout: Some(STATEMENT_TIMEOUT),
        };
        Ok(Connection::new(inner, settings))
    }

    /// Connects, and takes the lease.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds the lease.
    pub(crate) async fn take_lease(&self) -> Result<(Connection, Lease), StoreError> {
        let mut conn = self.connect().await?;
        match Lease::take(self, &mut conn).await {
            Ok(lease) => Ok((conn, lease)),
            Err(error @ StoreError::Locked(_)) => {
                *self.spare.lock().await = Some(conn);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Checks that the database holds a store that this version can read.
    pub(crate) async fn check_readable(&self, conn: &mut Connection) -> Result<(), StoreError> {
        let tables: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE relname = 'store' AND relkind = 'r' AND pg_table_is_visible(oid)",
        )
        .fetch_one(&mut *conn)
        .await?;
        if tables == 0 {
            return Err(StoreError::Missing(self.to_string()));
        }
        migrations::check_readable(conn).await
    }

    /// Brings the schema up to date, in one transaction. The caller holds the lease.
    pub(crate) async fn migrate(&self, conn: &mut Connection) -> Result<(), StoreError> {
        let leaves_statements = conn.needs_transactions();
        let mut tx = conn.inner().begin().await?;
        let migrated = migrator().run_direct(None, &mut *tx, false).await;
        migrated.map_err(StoreError::of_migration)?;
        if leaves_statements {
            // sqlx's migrator prepares statements by names that it counts, which another process may use on the same connection
            // of the pooler.
            sqlx::raw_sql("DEALLOCATE ALL").execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// The user, host and database, without the password.
impl fmt::Display for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameter = |wanted: &str| {
            self.url
                .query_pairs()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value)
        };
        let host = self.url.host_str().filter(|host| !host.is_empty()).map(Into::into);
        let host = parameter("host").or(host).unwrap_or_else(|| "localhost".into());
        write!(f, "postgres://{host}{}", self.url.path())
    }
}

impl fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The schema changes of `migrations/postgres/`, oldest first. They need no lock of sqlx's, which would be an advisory lock of
/// the session: whoever runs them holds the lease.
fn migrator() -> Migrator {
    let mut migrator =
        migrations::migrator([(1, "store", include_str!("../../../migrations/postgres/0001_store.sql"))]);
    migrator.set_locking(false);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let server = PostgresServer::parse("postgres://app:s3cret@db.example:5433/vaults?sslmode=require").unwrap();
        assert_eq!(
            format!("{server} {server:?}"),
            "postgres://db.example/vaults postgres://db.example/vaults"
        );
        for wrong in [
            "postgres://app:s3cret@db.example:port/vaults",
            "postgres://app@db.example/vaults?pasword=s3cret",
            "mysql://app:s3cret@db.example/vaults",
        ] {
            let error = PostgresServer::parse(wrong).unwrap_err().to_string();
            assert!(
                error.contains("SIDEVAULT_STORE") && !error.contains("s3cret"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_pooler_without_prepared_statements_is_told_by_the_url() {
        let keeps = |url| PostgresServer::parse(url).unwrap().keeps_statements;
        assert!(keeps("postgres:///vaults?host=/run/postgresql"));
        assert!(!keeps("postgres://pooler:6432/vaults?statement-cache-capacity=0"));
    }
}
