//! The sealed columns, each with the associated data that its row is sealed with.
//!
//! Each [`Table`] names its sealed columns by a function of this module. So the code that opens every row
//! ([`crate::row_check`]) and the code that seals every row anew ([`crate::writer`]) can't forget a table.

use sidevault_model::{FileId, ItemId, State, Timestamp, VaultId};

use crate::StoreError;
use crate::row_aad::{ItemTimes, ListColumns, RowAad};
use crate::tables::{ACTIVITY, FILE_CHUNKS, ITEM_VERSIONS, ITEMS, TOKENS, Table, TableRow, VAULTS};

/// The associated data of a sealed column of a row. The second argument is the vault of a file's content, which a row of
/// `file_chunks` does not name; the other tables do not use it.
pub(crate) type AadOf = fn(&TableRow, Option<VaultId>) -> Result<RowAad, StoreError>;

pub(crate) fn vault(row: &TableRow, _: Option<VaultId>) -> Result<RowAad, StoreError> {
    Ok(RowAad::vault(VAULTS.value(row, "id").as_text()))
}

pub(crate) fn item_summary(row: &TableRow, _: Option<VaultId>) -> Result<RowAad, StoreError> {
    let (vault, item, version) = item_of(row)?;
    let damaged = || StoreError::corrupt(format!("item {vault} {item}"));
    let columns = ListColumns {
        title_hash: ITEMS
            .value(row, "title_hash")
            .as_bytes()
            .try_into()
            .map_err(|_| damaged())?,
        path_hash: match ITEMS.value(row, "path_hash").as_bytes() {
            [] => None,
            hash => Some(hash.try_into().map_err(|_| damaged())?),
        },
        created_at: ITEMS.value(row, "created_at").as_number(),
        state: match ITEMS.value(row, "state").as_text() {
            "" => None,
            word => Some(State::from_word(word).ok_or_else(damaged)?),
        },
    };
    Ok(RowAad::summary(vault, item, version, &columns))
}

pub(crate) fn item_detail(row: &TableRow, _: Option<VaultId>) -> Result<RowAad, StoreError> {
    let (vault, item, version) = item_of(row)?;
    let times = ItemTimes {
        created_at: time(&ITEMS, row, "created_at"),
        updated_at: time(&ITEMS, row, "updated_at"),
    };
    Ok(RowAad::detail(vault, item, version, times))
}

pub(crate) fn old_version(row: &TableRow, _: Option<VaultId>) -> Result<RowAad, StoreError> {
    Ok(RowAad::history(
        vault_id(&ITEM_VERSIONS, row)?,
        item_id(&ITEM_VERSIONS, row, "item_id")?,
        version(&ITEM_VERSIONS, row)?,
        time(&ITEM_VERSIONS, row, "updated_at"),
    ))
}

pub(crate) fn file_chunk(row: &TableRow, vault: Option<VaultId>) -> Result<RowAad, StoreError> {
    let damaged = || StoreError::corrupt("file chunk");
    let content = FileId::parse(FILE_CHUNKS.value(row, "content_id").as_text()).map_err(|_| damaged())?;
    let n = FILE_CHUNKS.value(row, "n").as_number();
    Ok(RowAad::chunk(vault.ok_or_else(damaged)?, content, n))
}

pub(crate) fn activity(row: &TableRow, _: Option<VaultId>) -> Result<RowAad, StoreError> {
    let seq = ACTIVITY.value(row, "seq").as_number();
    Ok(RowAad::activity(ACTIVITY.value(row, "vault_id").as_text(), seq))
}

pub(crate) fn token(row: &TableRow, _: Option<VaultId>) -> Result<RowAad, StoreError> {
    let revoked_at = TOKENS.value(row, "revoked_at").number().map(Timestamp::from_millis);
    Ok(RowAad::token(TOKENS.value(row, "jti").as_text(), revoked_at))
}

fn item_of(row: &TableRow) -> Result<(VaultId, ItemId, u32), StoreError> {
    Ok((
        vault_id(&ITEMS, row)?,
        item_id(&ITEMS, row, "id")?,
        version(&ITEMS, row)?,
    ))
}

fn time(table: &Table, row: &TableRow, column: &str) -> Timestamp {
    Timestamp::from_millis(table.value(row, column).as_number())
}

pub(crate) fn vault_id(table: &Table, row: &TableRow) -> Result<VaultId, StoreError> {
    VaultId::parse(table.value(row, "vault_id").as_text())
        .map_err(|_| StoreError::corrupt(format!("a vault id in {}", table.name)))
}

fn item_id(table: &Table, row: &TableRow, column: &str) -> Result<ItemId, StoreError> {
    ItemId::parse(table.value(row, column).as_text())
        .map_err(|_| StoreError::corrupt(format!("an item id in {}", table.name)))
}

fn version(table: &Table, row: &TableRow) -> Result<u32, StoreError> {
    u32::try_from(table.value(row, "version").as_number())
        .map_err(|_| StoreError::corrupt(format!("a version in {}", table.name)))
}
