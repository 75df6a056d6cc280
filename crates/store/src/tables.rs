//! The tables of a store, for code that copies or deletes rows without reading them. Rows stay sealed, so no keys are needed.

use Kind::{Bytes, Number, Text};
use sidevault_keys::{KeyId, OVERHEAD, sealed_key_id};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::StoreError;
use crate::connection::Connection;
use crate::sealed_columns::{self, AadOf};
use crate::statement::{Row, Statement};

/// How many rows are read, written and compared at a time. A row has at most a few megabytes, most have about one kilobyte.
pub(crate) const PAGE: usize = 64;

/// How many rows one INSERT has.
const ROWS: usize = 16;

/// A table. Its rows are copied in the order of its key.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns of the primary key come first.
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// How many columns the primary key has.
    pub(crate) key: usize,
    /// The columns that are sealed with a data key, and how each is bound to its row.
    pub(crate) sealed: &'static [(&'static str, AadOf)],
}

/// What a column holds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Number,
    Bytes,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }

    /// The text. Empty for a value of another kind.
    pub(crate) fn as_text(&self) -> &str {
        match self {
            Self::Text(Some(text)) => text,
            _ => "",
        }
    }

    /// The number. 0 for a value of another kind.
    pub(crate) fn as_number(&self) -> i64 {
        self.number().unwrap_or_default()
    }

    /// The number, if there is one.
    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => *number,
            _ => None,
        }
    }

    /// Calls `take` with bytes that differ for any two values, and for any two lists of values.
    pub(crate) fn feed(&self, mut take: impl FnMut(&[u8])) {
        let number;
        let (kind, bytes) = match self {
            Self::Text(text) => (1, text.as_deref().map(str::as_bytes)),
            Self::Number(value) => {
                number = value.map(i64::to_be_bytes);
                (2, number.as_ref().map(|bytes| &bytes[..]))
            }
            Self::Bytes(bytes) => (3, bytes.as_deref()),
        };
        take(&[kind, u8::from(bytes.is_some())]);
        let bytes = bytes.unwrap_or_default();
        take(&(bytes.len() as u64).to_be_bytes());
        take(bytes);
    }

    /// The bytes. Empty for a value of another kind.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(Some(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Appends a placeholder for the value.
    fn push_to(&self, statement: &mut Statement) -> Result<(), StoreError> {
        match self {
            Self::Text(text) => statement.bind(text.as_deref())?,
            Self::Number(number) => statement.bind(*number)?,
            Self::Bytes(bytes) => statement.bind(bytes.as_deref())?,
        };
        Ok(())
    }

    fn bind_to(&self, row: &mut Row<'_>) -> Result<(), StoreError> {
        match self {
            Self::Text(text) => row.bind(text.as_deref())?,
            Self::Number(number) => row.bind(*number)?,
            Self::Bytes(bytes) => row.bind(bytes.as_deref())?,
        };
        Ok(())
    }
}

/// The values of a row, in the order of [`Table::columns`].
pub(crate) type TableRow = Vec<Value>;

/// All tables but `store`, whose row says whether the copy is complete.
pub(crate) static TABLES: [&Table; 10] = [
    &VAULTS,
    &VAULT_KEYS,
    &RETIRED_VAULT_IDS,
    &ITEMS,
    &ITEM_VERSIONS,
    &FILES,
    &FILE_CHUNKS,
    &CHANGES,
    &ACTIVITY,
    &TOKENS,
];

/// The tables with sealed columns, each after those whose rows a check of its own rows needs.
pub(crate) static SEALED_TABLES: [&Table; 6] = [&VAULTS, &FILE_CHUNKS, &ITEMS, &ITEM_VERSIONS, &ACTIVITY, &TOKENS];

pub(crate) static VAULTS: Table = Table {
    name: "vaults",
    columns: &[
        ("id", Text),
        ("sealed", Bytes),
        ("attribute_version", Number),
        ("content_version", Number),
        ("items", Number),
        ("created_at", Number),
        ("updated_at", Number),
    ],
    key: 1,
    sealed: &[("sealed", sealed_columns::vault)],
};

pub(crate) static VAULT_KEYS: Table = Table {
    name: "vault_keys",
    columns: &[
        ("vault_id", Text),
        ("key_id", Number),
        ("purpose", Text),
        ("wrapped", Bytes),
        ("seals", Number),
        ("created_at", Number),
    ],
    key: 2,
    sealed: &[],
};

pub(crate) static RETIRED_VAULT_IDS: Table = Table {
    name: "retired_vault_ids",
    columns: &[("id", Text), ("source", Text)],
    key: 1,
    sealed: &[],
};

pub(crate) static ITEMS: Table = Table {
    name: "items",
    columns: &[
        ("vault_id", Text),
        ("id", Text),
        ("version", Number),
        ("state", Text),
        ("title_hash", Bytes),
        ("path_hash", Bytes),
        ("origin", Text),
        ("commit_id", Text),
        ("commit_at", Number),
        ("created_at", Number),
        ("updated_at", Number),
        ("summary", Bytes),
        ("detail", Bytes),
    ],
    key: 2,
    sealed: &[
        ("summary", sealed_columns::item_summary),
        ("detail", sealed_columns::item_detail),
    ],
};

pub(crate) static ITEM_VERSIONS: Table = Table {
    name: "item_versions",
    columns: &[
        ("vault_id", Text),
        ("item_id", Text),
        ("version", Number),
        ("updated_at", Number),
        ("commit_id", Text),
        ("commit_at", Number),
        ("detail", Bytes),
    ],
    key: 3,
    sealed: &[("detail", sealed_columns::old_version)],
};

pub(crate) static FILES: Table = Table {
    name: "files",
    columns: &[
        ("vault_id", Text),
        ("item_id", Text),
        ("id", Text),
        ("content_id", Text),
    ],
    key: 3,
    sealed: &[],
};

pub(crate) static FILE_CHUNKS: Table = Table {
    name: "file_chunks",
    columns: &[("content_id", Text), ("n", Number), ("sealed", Bytes)],
    key: 2,
    sealed: &[("sealed", sealed_columns::file_chunk)],
};

pub(crate) static CHANGES: Table = Table {
    name: "changes",
    columns: &[
        ("seq", Number),
        ("at", Number),
        ("kind", Text),
        ("vault_id", Text),
        ("item_id", Text),
        ("version", Number),
        ("title_hash", Bytes),
        ("other_title_hash", Bytes),
        ("path_hash", Bytes),
        ("commit_id", Text),
        ("commit_at", Number),
    ],
    key: 1,
    sealed: &[],
};

pub(crate) static ACTIVITY: Table = Table {
    name: "activity",
    columns: &[
        ("seq", Number),
        ("handover", Number),
        ("vault_id", Text),
        ("token", Bytes),
        ("kind", Number),
        ("records", Number),
        ("bytes", Number),
        ("sealed", Bytes),
    ],
    key: 1,
    sealed: &[("sealed", sealed_columns::activity)],
};

pub(crate) static TOKENS: Table = Table {
    name: "tokens",
    columns: &[("jti", Text), ("sealed", Bytes), ("revoked_at", Number)],
    key: 1,
    sealed: &[("sealed", sealed_columns::token)],
};

impl Table {
    /// All rows.
    pub(crate) fn rows(&'static self) -> Rows<'static> {
        Rows {
            table: self,
            keys: None,
            after: None,
            up_to: None,
        }
    }

    /// Sets columns of the row with this key.
    pub(crate) async fn update(
        &self,
        conn: &mut Connection,
        key: &[Value],
        columns: &[(&str, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let mut update = Statement::new(&format!("UPDATE {} SET ", self.name));
        for (n, (column, value)) in columns.iter().enumerate() {
            update.push(if n > 0 { ", " } else { "" }).push(column).push(" = ");
            update.bind(value.as_slice())?;
        }
        for (n, (value, (column, _))) in key.iter().zip(self.columns).enumerate() {
            update
                .push(if n > 0 { " AND " } else { " WHERE " })
                .push(column)
                .push(" = ");
            value.push_to(&mut update)?;
        }
        update.execute(conn).await
    }

    /// How many rows the table has.
    pub(crate) async fn count(&self, conn: &mut Connection) -> Result<u64, StoreError> {
        let rows = Statement::new(&format!("SELECT COUNT(*) AS n FROM {}", self.name))
            .fetch_all(conn)
            .await?;
        rows.first().map_or(Ok(0), |row| crate::row::number(row, "n"))
    }

    /// How many rows have a column that is sealed with this key.
    pub(crate) async fn count_sealed_with(&self, conn: &mut Connection, key: KeyId) -> Result<u64, StoreError> {
        let mut query = Statement::new(&format!("SELECT COUNT(*) AS n FROM {}", self.name));
        for (n, (column, _)) in self.sealed.iter().enumerate() {
            query.push(if n > 0 { " OR " } else { " WHERE " });
            query.push(format_args!("substr({column}, 2, 8) = "));
            query.bind(&key.0.to_be_bytes()[..])?;
        }
        let rows = query.fetch_all(conn).await?;
        rows.first().map_or(Ok(0), |row| crate::row::number(row, "n"))
    }

    /// A value of a row. The static tables have the column.
    pub(crate) fn value<'r>(&self, row: &'r [Value], column: &str) -> &'r Value {
        const NONE: &Value = &Value::Text(None);
        let position = self.columns.iter().position(|(name, _)| *name == column);
        position.and_then(|position| row.get(position)).unwrap_or(NONE)
    }

    /// Inserts rows, in statements of [`ROWS`] rows.
    pub(crate) async fn insert(&self, conn: &mut Connection, rows: &[TableRow]) -> Result<(), StoreError> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        for rows in rows.chunks(ROWS) {
            let mut insert = Statement::new(&format!("INSERT INTO {} ({}) VALUES ", self.name, names.join(", ")));
            for values in rows {
                insert.row(|row| values.iter().try_for_each(|value| value.bind_to(row)))?;
            }
            insert.execute(conn).await?;
        }
        Ok(())
    }
}

/// Some rows of a table.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'v> {
    table: &'static Table,
    /// Only rows whose key begins with one of these.
    keys: Option<&'v [Vec<Value>]>,
    /// Only rows after this one.
    after: Option<&'v [Value]>,
    /// Only rows up to this one.
    up_to: Option<&'v [Value]>,
}

impl<'v> Rows<'v> {
    /// Those whose key begins with one of these, which all have the same number of values.
    pub(crate) fn of(self, keys: &'v [Vec<Value>]) -> Self {
        Self {
            keys: Some(keys),
            ..self
        }
    }

    /// Those after the row that begins with these values.
    pub(crate) fn after(self, row: &'v [Value]) -> Self {
        Self {
            after: Some(row),
            ..self
        }
    }

    /// Those up to the row that begins with these values.
    pub(crate) fn up_to(self, row: &'v [Value]) -> Self {
        Self {
            up_to: Some(row),
            ..self
        }
    }

    /// The table.
    pub(crate) fn table(self) -> &'static Table {
        self.table
    }

    /// The first rows, [`PAGE`] at most, in the order of the key.
    pub(crate) async fn page(self, conn: &mut Connection) -> Result<Vec<TableRow>, StoreError> {
        self.select(conn, "ASC", PAGE).await
    }

    /// The keys of the first rows, [`PAGE`] at most, each with the ids of the data keys that its columns are sealed with. Only the
    /// beginnings of the sealed columns are fetched.
    pub(crate) async fn sealing_keys(self, conn: &mut Connection) -> Result<Vec<(TableRow, Vec<KeyId>)>, StoreError> {
        let key = &self.table.columns[..self.table.key];
        let names: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
        let mut query = Statement::new(&format!("SELECT {}", names.join(", ")));
        for (column, _) in self.table.sealed {
            query.push(format_args!(", substr({column}, 1, {OVERHEAD}) AS {column}"));
        }
        query.push(format_args!(" FROM {}", self.table.name));
        self.push_conditions(&mut query)?;
        query.push(format_args!(" ORDER BY {} LIMIT {PAGE}", names.join(", ")));
        let rows = query.fetch_all(conn).await?;
        let read = |row: &AnyRow| {
            let mut ids = Vec::with_capacity(self.table.sealed.len());
            for (column, _) in self.table.sealed {
                ids.extend(sealed_key_id(row.try_get(column)?));
            }
            Ok((read_columns(row, key)?, ids))
        };
        rows.iter().map(read).collect()
    }

    /// The last row.
    pub(crate) async fn last(self, conn: &mut Connection) -> Result<Option<TableRow>, StoreError> {
        Ok(self.select(conn, "DESC", 1).await?.pop())
    }

    /// Calls `take` with each row, in the order of the key. One page of rows is in memory at a time.
    pub(crate) async fn each(
        self,
        conn: &mut Connection,
        mut take: impl FnMut(&TableRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut page = self.page(conn).await?;
        while let Some(last) = page.last() {
            page.iter().try_for_each(&mut take)?;
            page = self.after(last).page(conn).await?;
        }
        Ok(())
    }

    /// Makes the rows of `target` equal to those of `source`. The caller has begun a transaction of each.
    pub(crate) async fn replace(self, source: &mut Connection, target: &mut Connection) -> Result<(), StoreError> {
        self.delete(target).await?;
        let mut rows = self.page(source).await?;
        while let Some(last) = rows.last() {
            self.table.insert(target, &rows).await?;
            if rows.len() < PAGE {
                break;
            }
            rows = self.after(last).page(source).await?;
        }
        Ok(())
    }

    /// Deletes the rows.
    pub(crate) async fn delete(self, conn: &mut Connection) -> Result<(), StoreError> {
        let mut delete = Statement::new(&format!("DELETE FROM {}", self.table.name));
        self.push_conditions(&mut delete)?;
        delete.execute(conn).await
    }

    async fn select(self, conn: &mut Connection, order: &str, limit: usize) -> Result<Vec<TableRow>, StoreError> {
        let names: Vec<&str> = self.table.columns.iter().map(|(name, _)| *name).collect();
        let mut query = Statement::new(&format!("SELECT {} FROM {}", names.join(", "), self.table.name));
        self.push_conditions(&mut query)?;
        let order: Vec<String> = names[..self.table.key]
            .iter()
            .map(|name| format!("{name} {order}"))
            .collect();
        query
            .push(format_args!(" ORDER BY {} LIMIT ", order.join(", ")))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))?;
        let rows = query.fetch_all(conn).await?;
        rows.iter().map(|row| read_columns(row, self.table.columns)).collect()
    }

    fn push_conditions(self, statement: &mut Statement) -> Result<(), StoreError> {
        let columns = &self.table.columns[..self.table.key];
        let mut word = "WHERE";
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        if let Some(keys) = self.keys {
            let parts = keys.first().map_or(0, Vec::len);
            statement.push(format_args!(" {word} ({}) IN (VALUES ", names[..parts].join(", ")));
            for key in keys {
                statement.row(|row| key.iter().try_for_each(|value| value.bind_to(row)))?;
            }
            statement.push(")");
            word = "AND";
        }
        for (limit, comparison) in [(self.after, ">"), (self.up_to, "<=")] {
            let Some(limit) = limit else { continue };
            statement.push(format_args!(" {word} ({}) {comparison} (", names.join(", ")));
            for (n, value) in limit[..self.table.key].iter().enumerate() {
                statement.push(if n > 0 { ", " } else { "" });
                value.push_to(statement)?;
            }
            statement.push(")");
            word = "AND";
        }
        Ok(())
    }
}

fn read_columns(row: &AnyRow, columns: &[(&str, Kind)]) -> Result<TableRow, StoreError> {
    columns
        .iter()
        .map(|(name, kind)| {
            Ok(match kind {
                Text => Value::Text(row.try_get(name)?),
                Number => Value::Number(row.try_get(name)?),
                Bytes => Value::Bytes(row.try_get(name)?),
            })
        })
        .collect()
}

/// Deletes a vault and everything in it.
pub(crate) async fn delete_vault(conn: &mut Connection, vault: &str) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM file_chunks WHERE content_id IN (SELECT content_id FROM files WHERE vault_id = $1)",
        "DELETE FROM files WHERE vault_id = $1",
        "DELETE FROM item_versions WHERE vault_id = $1",
        "DELETE FROM items WHERE vault_id = $1",
        "DELETE FROM activity WHERE vault_id = $1",
        "DELETE FROM vault_keys WHERE vault_id = $1",
        "DELETE FROM vaults WHERE id = $1",
    ] {
        sqlx::query(sql).bind(vault).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Deletes contents of files that no item names. Returns how many chunks were deleted.
pub(crate) async fn delete_orphaned_contents(conn: &mut Connection) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM file_chunks WHERE content_id NOT IN (SELECT content_id FROM files)")
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// How many changes are kept for readers that are behind. A change takes about 150 bytes.
const KEPT_CHANGES: i64 = 100_000;

/// Deletes changes that are too old.
pub(crate) async fn delete_old_changes(conn: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM changes WHERE seq <= (SELECT seq FROM changes ORDER BY seq DESC LIMIT 1 OFFSET $1)")
        .bind(KEPT_CHANGES)
        .execute(conn)
        .await?;
    Ok(())
}
