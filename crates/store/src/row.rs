//! Reading rows.

use sidevault_model::{Commit, Timestamp};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::StoreError;

/// A number in a column, as the type that the code uses.
///
/// # Errors
/// [`StoreError::Corrupt`] if the type can't hold the number.
pub(crate) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| StoreError::corrupt(format!("column {column}")))
}

/// The Git commit in a row's columns `commit_id` and `commit_at`.
pub(crate) fn commit(row: &AnyRow) -> Result<Option<Commit>, StoreError> {
    let Some(id) = row.try_get::<Option<String>, _>("commit_id")? else {
        return Ok(None);
    };
    let at: Option<i64> = row.try_get("commit_at")?;
    let time = Timestamp::from_millis(at.ok_or_else(|| StoreError::corrupt("column commit_at"))?);
    Ok(Some(Commit { id, time }))
}
