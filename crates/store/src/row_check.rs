//! Decrypts every row of a store, to find those that are damaged, were changed, or are missing.

use std::collections::{HashMap, HashSet};

use sidevault_keys::KeyEncryptionKey;
use sidevault_model::VaultId;

use crate::StoreError;
use crate::connection::Connection;
use crate::keyring::{Keyring, STORE};
use crate::row_aad::RowAad;
use crate::seal::parse_detail;
use crate::sealed_columns::vault_id;
use crate::tables::{FILE_CHUNKS, FILES, ITEMS, SEALED_TABLES, Table, TableRow, VAULT_KEYS};

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
    for table in SEALED_TABLES {
        table.rows().each(conn, |row| check.row(table, row)).await?;
    }
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

    fn row(&mut self, table: &Table, row: &TableRow) -> Result<(), StoreError> {
        let content = text(table, row, "content_id");
        let vault = self.contents.get(&content).copied();
        // The writer deletes a content that no file has when it opens the store.
        if table.name == FILE_CHUNKS.name && vault.is_none() {
            return Ok(());
        }
        for (column, aad_of) in table.sealed {
            let aad = aad_of(row, vault)?;
            let plaintext = self.keyring.open(&aad, table.value(row, column).as_bytes())?;
            if (table.name, *column) == (ITEMS.name, "detail") {
                self.check_contents(&aad, &plaintext)?;
            }
            if table.name == FILE_CHUNKS.name {
                self.check_order(&aad, &content, FILE_CHUNKS.value(row, "n").as_number())?;
            }
        }
        if let Some(count) = self.counts.of(table) {
            *count += 1;
        }
        Ok(())
    }

    /// Fails if the content of a file of the item is missing.
    fn check_contents(&self, aad: &RowAad, detail: &[u8]) -> Result<(), StoreError> {
        let item = parse_detail(aad, detail)?;
        let mut contents = item.files.iter().filter_map(|file| file.content);
        if contents.any(|content| !self.chunks.contains_key(content.as_str())) {
            return Err(StoreError::corrupt(format!(
                "{aad}, the content of one of its files is missing"
            )));
        }
        Ok(())
    }

    /// Fails if this is not the chunk after the last one of the content.
    fn check_order(&mut self, aad: &RowAad, content: &str, n: i64) -> Result<(), StoreError> {
        let known = self.chunks.entry(content.to_owned()).or_default();
        if n != *known {
            return Err(StoreError::corrupt(format!("{aad}, the chunk before it is missing")));
        }
        *known += 1;
        Ok(())
    }
}

impl RowCounts {
    fn of(&mut self, table: &Table) -> Option<&mut u64> {
        Some(match table.name {
            "vaults" => &mut self.vaults,
            "items" => &mut self.items,
            "item_versions" => &mut self.versions,
            "file_chunks" => &mut self.chunks,
            "activity" => &mut self.activity,
            "tokens" => &mut self.tokens,
            _ => return None,
        })
    }
}

fn text(table: &Table, row: &TableRow, column: &str) -> String {
    table.value(row, column).as_text().to_owned()
}
