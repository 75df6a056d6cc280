//! Which database a store is in.

use std::path::{Path, PathBuf};

use crate::connection::Connection;
use crate::postgres::{self, PostgresServer};
use crate::{DATABASE_FILE, StoreError, sqlite};

/// The database of a store.
#[derive(Clone, Debug)]
pub enum Database {
    /// SQLite, in a data directory. All processes that read or write the store share this directory.
    Sqlite(PathBuf),
    /// PostgreSQL. The processes may run on different machines.
    Postgres(PostgresServer),
}

impl Database {
    /// Reads the setting `SIDEVAULT_STORE`: the URL of a PostgreSQL database, or the path of a file that holds the URL.
    ///
    /// # Errors
    /// [`StoreError::Setting`] if the file can't be read, or the text is not such a URL. The error does not show the URL,
    /// which may hold a password.
    pub fn from_setting(setting: &str) -> Result<Self, StoreError> {
        if postgres::is_url(setting) {
            return PostgresServer::parse(setting).map(Self::Postgres);
        }
        let url = std::fs::read_to_string(setting).map_err(|cause| {
            StoreError::Setting(format!(
                "neither a URL (postgres://user@host/database) nor a file that can be read ({cause})"
            ))
        })?;
        PostgresServer::parse(url.trim()).map(Self::Postgres)
    }

    /// Reads an argument of a command: as [`Self::from_setting`], or the path of a data directory, which may be missing.
    ///
    /// # Errors
    /// As [`Self::from_setting`].
    pub fn from_argument(argument: &str) -> Result<Self, StoreError> {
        if postgres::is_url(argument) || Path::new(argument).is_file() {
            return Self::from_setting(argument);
        }
        Ok(Self::Sqlite(argument.into()))
    }

    /// Whether the store is lost if the data directory is.
    pub fn is_in_directory(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Connects for reading.
    pub(crate) async fn connect_reader(&self) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(dir) => sqlite::connect_reader(&database_file(dir)).await,
            Self::Postgres(server) => server.connect().await,
        }
    }

    /// Connects for writing, to a database that exists.
    pub(crate) async fn connect_writer(&self) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(dir) => sqlite::connect_writer(&database_file(dir)).await,
            Self::Postgres(server) => server.connect().await,
        }
    }

    /// Checks that the database holds a store that this version can read.
    pub(crate) async fn check_readable(&self, conn: &mut Connection) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(dir) => sqlite::check_readable(conn, &database_file(dir)).await,
            Self::Postgres(server) => server.check_readable(conn).await,
        }
    }

    /// The statement that begins a transaction which reads one state of the database.
    pub(crate) fn begin_snapshot(&self) -> &'static str {
        match self {
            // The state is that of the first statement that reads.
            Self::Sqlite(_) => "BEGIN",
            Self::Postgres(_) => postgres::BEGIN_SNAPSHOT,
        }
    }

    /// The statements that begin the writer's transaction.
    pub(crate) fn begin(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => sqlite::BEGIN,
            Self::Postgres(_) => postgres::BEGIN,
        }
    }

    /// The statements that begin a transaction of a copy into this database.
    pub(crate) fn begin_copy(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => sqlite::BEGIN,
            Self::Postgres(_) => postgres::BEGIN_COPY,
        }
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(dir) => write!(f, "{}", dir.display()),
            Self::Postgres(server) => write!(f, "{server}"),
        }
    }
}

/// The database's file in a data directory.
pub(crate) fn database_file(dir: &Path) -> PathBuf {
    dir.join(DATABASE_FILE)
}

/// Whether a sync has ever made a store in a data directory.
pub fn has_store(dir: &Path) -> bool {
    database_file(dir).exists()
}
