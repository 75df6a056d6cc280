//! Reading rows.

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
