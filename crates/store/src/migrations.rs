//! Schema changes.

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A migrator for these schema changes, oldest first: number, name, and SQL. They are listed by hand because the macro
/// `sqlx::migrate!` would compile SQLite and the asynchronous runtime a second time, for the build machine.
pub(crate) fn migrator<const N: usize>(changes: [(i64, &'static str, &'static str); N]) -> Migrator {
    let migrations = changes.map(|(version, name, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.to_vec())
}
