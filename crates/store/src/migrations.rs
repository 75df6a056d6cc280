//! Schema changes.
//!
//! A change whose name begins with [`EXPAND`] only adds to the schema, so that programs that do not know it may go on reading.
//! sqlx notes each change's number and name in the table `_sqlx_migrations`.

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::StoreError;
use crate::connection::Connection;

/// The number of the newest file in `migrations/sqlite/` and in `migrations/postgres/`: a change has the same number in both.
pub(crate) const NEWEST: i64 = 1;

/// How the names of changes begin that add tables, indexes, or columns that may be NULL, and nothing else. An older sync does not
/// fill them, so it does not write to such a database.
const EXPAND: &str = "expand";

/// A migrator for these schema changes, oldest first: number, name, and SQL. They are listed by hand because the macro
/// `sqlx::migrate!` would compile SQLite and the asynchronous runtime a second time, for the build machine.
pub(crate) fn migrator<const N: usize>(changes: [(i64, &'static str, &'static str); N]) -> Migrator {
    let migrations = changes.map(|(version, name, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.to_vec())
}

/// Refuses a database with a change that this version does not know and may not ignore.
pub(crate) async fn check_readable(conn: &mut Connection) -> Result<(), StoreError> {
    refuse(
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE version > $1 AND description NOT LIKE $2")
            .bind(NEWEST)
            .bind(format!("{EXPAND} %"))
            .fetch_one(conn)
            .await?,
    )
}

/// Refuses a database with any change that this version does not know.
pub(crate) async fn check_writable(conn: &mut Connection) -> Result<(), StoreError> {
    refuse(
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE version > $1")
            .bind(NEWEST)
            .fetch_one(conn)
            .await?,
    )
}

fn refuse(unknown: Option<i64>) -> Result<(), StoreError> {
    match unknown {
        Some(version) => Err(StoreError::newer(version)),
        None => Ok(()),
    }
}
