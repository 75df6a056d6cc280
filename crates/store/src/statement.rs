//! A statement whose text depends on how many values it has.

use std::fmt::{Display, Write as _};

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, Arguments as _, AssertSqlSafe, Encode, Type};

use crate::StoreError;
use crate::connection::Connection;

/// Text with numbered placeholders (`$1`), and their values. sqlx's `QueryBuilder` writes `?` for the driver `Any`, which
/// PostgreSQL does not take.
pub(crate) struct Statement {
    sql: String,
    values: AnyArguments,
    rows: usize,
}

impl Statement {
    pub(crate) fn new(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            values: AnyArguments::default(),
            rows: 0,
        }
    }

    /// Appends text, which must not come from outside.
    pub(crate) fn push(&mut self, sql: impl Display) -> &mut Self {
        // Writing to a String can't fail.
        let _ = write!(self.sql, "{sql}");
        self
    }

    /// Appends a placeholder for `value`.
    pub(crate) fn bind<'t>(&mut self, value: impl Encode<'t, Any> + Type<Any>) -> Result<&mut Self, StoreError> {
        self.values.add(value).map_err(sqlx::Error::Encode)?;
        let number = self.values.len();
        Ok(self.push(format_args!("${number}")))
    }

    /// Appends a row of an INSERT. `values` appends its values.
    pub(crate) fn row(
        &mut self,
        values: impl FnOnce(&mut Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.push(if self.rows > 0 { ", (" } else { "(" });
        self.rows += 1;
        values(&mut Row {
            statement: self,
            values: 0,
        })?;
        self.push(")");
        Ok(())
    }

    pub(crate) async fn execute(self, conn: &mut Connection) -> Result<(), StoreError> {
        sqlx::query_with(AssertSqlSafe(self.sql), self.values)
            .execute(conn)
            .await?;
        Ok(())
    }

    pub(crate) async fn fetch_all(self, conn: &mut Connection) -> Result<Vec<AnyRow>, StoreError> {
        Ok(sqlx::query_with(AssertSqlSafe(self.sql), self.values)
            .fetch_all(conn)
            .await?)
    }
}

/// A row of an INSERT.
pub(crate) struct Row<'s> {
    statement: &'s mut Statement,
    values: usize,
}

impl Row<'_> {
    pub(crate) fn bind<'t>(&mut self, value: impl Encode<'t, Any> + Type<Any>) -> Result<&mut Self, StoreError> {
        if self.values > 0 {
            self.statement.push(", ");
        }
        self.values += 1;
        self.statement.bind(value)?;
        Ok(self)
    }
}
