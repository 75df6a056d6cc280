//! Decrypts every row of a store, to find those that are damaged, were changed, or are missing.

use std::collections::{HashMap, HashSet};

use sidevault_keys::KeyEncryptionKey;
use sidevault_model::{FileId, ItemId, State, Timestamp, VaultId};

use crate::StoreError;
use crate::connection::Connection;
use crate::keyring::{Keyring, STORE};
use crate::row_aad::{ItemTimes, ListColumns, RowAad};
use crate::seal::parse_detail;
use crate::tables::{ACTIVITY, FILE_CHUNKS, FILES, ITEM_VERSIONS, ITEMS, TOKENS, Table, TableRow, VAULT_KEYS, VAULTS};

/// How many rows were decrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Vaults.
    pub vaults: u64,
    /// Items, archived ones included.
    pub items: u64,
    /// Old versions of items.
    pub versions: u64,
    /// Chunks of files' contents.
    pub chunks: u64,
    /// Batches of the activity log.
    pub activity: u64,
    /// Tokens.
    pub tokens: u64,
}

/// Decrypts every sealed row.
///
/// # Errors
/// [`StoreError::WrongKeys`] for other keys; [`StoreError::Corrupt`] names the first row that can't be decrypted, or that is missing
/// although another row names it.
pub(crate) async fn check_rows(conn: &mut Connection, kek: KeyEncryptionKey) -> Result<RowCounts, StoreError> {
    let keyring = Keyring::new(kek);
    let mut vaults = HashSet::from([STORE.to_owned()]);
    VAULT_KEYS
        .rows()
        .each(conn, |row| {
            vaults.insert(text(&VAULT_KEYS, row, "vault_id"));
            Ok(())
        })
        .await?;
    for vault in &vaults {
        keyring.load(conn, vault).await?;
    }
    let mut check = RowCheck {
        keyring,
        chunks: HashMap::new(),
        contents: HashMap::new(),
        counts: RowCounts::default(),
    };
    FILES.rows().each(conn, |row| check.file(row)).await?;
    VAULTS.rows().each(conn, |row| check.vault(row)).await?;
    FILE_CHUNKS.rows().each(conn, |row| check.chunk(row)).await?;
    ITEMS.rows().each(conn, |row| check.item(row)).await?;
    ITEM_VERSIONS.rows().each(conn, |row| check.version(row)).await?;
    ACTIVITY.rows().each(conn, |row| check.activity(row)).await?;
    TOKENS.rows().each(conn, |row| check.token(row)).await?;
    Ok(check.counts)
}

struct RowCheck {
    keyring: Keyring,
    /// How many chunks each content has.
    chunks: HashMap<String, i64>,
    /// The vault of each content.
    contents: HashMap<String, VaultId>,
    counts: RowCounts,
}

impl RowCheck {
    fn file(&mut self, row: &TableRow) -> Result<(), StoreError> {
        self.contents
            .insert(text(&FILES, row, "content_id"), vault_id(&FILES, row)?);
        Ok(())
    }

    fn vault(&mut self, row: &TableRow) -> Result<(), StoreError> {
        let aad = RowAad::vault(&text(&VAULTS, row, "id"));
        self.open(&VAULTS, row, "sealed", &aad)?;
        self.counts.vaults += 1;
        Ok(())
    }

    fn chunk(&mut self, row: &TableRow) -> Result<(), StoreError> {
        let content = text(&FILE_CHUNKS, row, "content_id");
        // The writer deletes a content that no file has when it opens the store.
        let Some(vault) = self.contents.get(&content) else {
            return Ok(());
        };
        let n = number(&FILE_CHUNKS, row, "n");
        let id = FileId::parse(&content).map_err(|_| StoreError::corrupt("file chunk"))?;
        let aad = RowAad::chunk(*vault, id, n);
        self.open(&FILE_CHUNKS, row, "sealed", &aad)?;
        let known = self.chunks.entry(content).or_default();
        if n != *known {
            return Err(StoreError::corrupt(format!("{aad}, the chunk before it is missing")));
        }
        *known += 1;
        self.counts.chunks += 1;
        Ok(())
    }

    fn item(&mut self, row: &TableRow) -> Result<(), StoreError> {
        let (vault, item, version) = (
            vault_id(&ITEMS, row)?,
            item_id(&ITEMS, row, "id")?,
            version(&ITEMS, row)?,
        );
        let damaged = || StoreError::corrupt(format!("item {vault} {item}"));
        let state = ITEMS.value(row, "state").as_text();
        let columns = ListColumns {
            title_hash: ITEMS
                .value(row, "title_hash")
                .as_bytes()
                .try_into()
                .map_err(|_| damaged())?,
            created_at: number(&ITEMS, row, "created_at"),
            state: match state {
                "" => None,
                word => Some(State::from_word(word).ok_or_else(damaged)?),
            },
        };
        let summary = RowAad::summary(vault, item, version, &columns);
        self.open(&ITEMS, row, "summary", &summary)?;
        let times = ItemTimes {
            created_at: Timestamp::from_millis(columns.created_at),
            updated_at: Timestamp::from_millis(number(&ITEMS, row, "updated_at")),
        };
        let aad = RowAad::detail(vault, item, version, times);
        let detail = self.open(&ITEMS, row, "detail", &aad)?;
        for content in parse_detail(&aad, &detail)?
            .files
            .iter()
            .filter_map(|file| file.content)
        {
            if !self.chunks.contains_key(content.as_str()) {
                return Err(StoreError::corrupt(format!(
                    "{aad}, the content of one of its files is missing"
                )));
            }
        }
        self.counts.items += 1;
        Ok(())
    }

    fn version(&mut self, row: &TableRow) -> Result<(), StoreError> {
        let aad = RowAad::history(
            vault_id(&ITEM_VERSIONS, row)?,
            item_id(&ITEM_VERSIONS, row, "item_id")?,
            version(&ITEM_VERSIONS, row)?,
            Timestamp::from_millis(number(&ITEM_VERSIONS, row, "updated_at")),
        );
        self.open(&ITEM_VERSIONS, row, "detail", &aad)?;
        self.counts.versions += 1;
        Ok(())
    }

    fn activity(&mut self, row: &TableRow) -> Result<(), StoreError> {
        let aad = RowAad::activity(&text(&ACTIVITY, row, "vault_id"), number(&ACTIVITY, row, "seq"));
        self.open(&ACTIVITY, row, "sealed", &aad)?;
        self.counts.activity += 1;
        Ok(())
    }

    fn token(&mut self, row: &TableRow) -> Result<(), StoreError> {
        let revoked_at = TOKENS.value(row, "revoked_at").number().map(Timestamp::from_millis);
        let aad = RowAad::token(&text(&TOKENS, row, "jti"), revoked_at);
        self.open(&TOKENS, row, "sealed", &aad)?;
        self.counts.tokens += 1;
        Ok(())
    }

    fn open(&self, table: &Table, row: &TableRow, column: &str, aad: &RowAad) -> Result<Vec<u8>, StoreError> {
        self.keyring.open(aad, table.value(row, column).as_bytes())
    }
}

fn text(table: &Table, row: &TableRow, column: &str) -> String {
    table.value(row, column).as_text().to_owned()
}

fn number(table: &Table, row: &TableRow, column: &str) -> i64 {
    table.value(row, column).as_number()
}

fn vault_id(table: &Table, row: &TableRow) -> Result<VaultId, StoreError> {
    VaultId::parse(table.value(row, "vault_id").as_text())
        .map_err(|_| StoreError::corrupt(format!("a vault id in {}", table.name)))
}

fn item_id(table: &Table, row: &TableRow, column: &str) -> Result<ItemId, StoreError> {
    ItemId::parse(table.value(row, column).as_text())
        .map_err(|_| StoreError::corrupt(format!("an item id in {}", table.name)))
}

fn version(table: &Table, row: &TableRow) -> Result<u32, StoreError> {
    u32::try_from(number(table, row, "version"))
        .map_err(|_| StoreError::corrupt(format!("a version in {}", table.name)))
}
