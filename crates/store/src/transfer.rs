//! Copying a store from one database to another, row by row. Rows stay sealed, so no keys are needed.

use Kind::{Bytes, Number, Text};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::StoreError;
use crate::connection::Connection;
use crate::database::Database;
use crate::statement::Statement;
use crate::writer::WriteRight;

/// The value of `store.opening` while a copy is not complete. No process opens such a store.
pub(crate) const INCOMPLETE: &str = "incomplete copy";

/// How many rows are read, written and compared at a time. A row has at most a few megabytes, most have about one kilobyte.
const PAGE: i64 = 64;

/// How many rows one INSERT has.
const ROWS: usize = 16;

/// A table. Its rows are copied in the order of its key.
struct Table {
    name: &'static str,
    /// The columns of the primary key come first.
    columns: &'static [(&'static str, Kind)],
    /// How many columns the primary key has.
    key: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Bytes,
}

#[derive(Clone, PartialEq)]
enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

/// All tables but `store`, whose one row says that the copy is complete.
const TABLES: [Table; 10] = [
    Table {
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
    },
    Table {
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
    },
    Table {
        name: "retired_vault_ids",
        columns: &[("id", Text), ("source", Text)],
        key: 1,
    },
    Table {
        name: "items",
        columns: &[
            ("vault_id", Text),
            ("id", Text),
            ("version", Number),
            ("state", Text),
            ("title_hash", Bytes),
            ("origin", Text),
            ("created_at", Number),
            ("updated_at", Number),
            ("summary", Bytes),
            ("detail", Bytes),
        ],
        key: 2,
    },
    Table {
        name: "item_versions",
        columns: &[
            ("vault_id", Text),
            ("item_id", Text),
            ("version", Number),
            ("updated_at", Number),
            ("detail", Bytes),
        ],
        key: 3,
    },
    Table {
        name: "files",
        columns: &[
            ("vault_id", Text),
            ("item_id", Text),
            ("id", Text),
            ("content_id", Text),
        ],
        key: 3,
    },
    Table {
        name: "file_chunks",
        columns: &[("content_id", Text), ("n", Number), ("sealed", Bytes)],
        key: 2,
    },
    Table {
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
        ],
        key: 1,
    },
    Table {
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
    },
    Table {
        name: "tokens",
        columns: &[("jti", Text), ("sealed", Bytes), ("revoked_at", Number)],
        key: 1,
    },
];

/// Copies a store into an empty database, and then compares both row by row. While this runs, no sync can write to either. A copy
/// that was interrupted goes on where it stopped. The source is not changed.
///
/// `copied` is called with the name of each table and how many rows it has.
///
/// # Errors
/// [`StoreError::Locked`] if a sync writes to one of them; [`StoreError::Occupied`] if the target holds a store already;
/// [`StoreError::CopyDiffers`] if a row of the target is another than that of the source.
pub async fn copy_store(from: &Database, to: &Database, mut copied: impl FnMut(&str, u64)) -> Result<(), StoreError> {
    let (source, source_right) = WriteRight::take(from).await?;
    let (target, target_right) = match WriteRight::take(to).await {
        Ok(taken) => taken,
        Err(error) => {
            source_right.give_up(from).await;
            return Err(error);
        }
    };
    let mut copy = Copy {
        source,
        target,
        target_right,
        begin: to.begin(),
    };
    let done = copy.run(&mut copied).await;
    let Copy {
        source,
        target,
        target_right,
        ..
    } = copy;
    source.close().await?;
    target.close().await?;
    source_right.give_up(from).await;
    target_right.give_up(to).await;
    done
}

struct Copy {
    source: Connection,
    target: Connection,
    target_right: WriteRight,
    /// The statements that begin a transaction of the target.
    begin: &'static str,
}

impl Copy {
    async fn run(&mut self, copied: &mut impl FnMut(&str, u64)) -> Result<(), StoreError> {
        self.mark_incomplete().await?;
        for table in &TABLES {
            self.copy_table(table).await?;
        }
        for table in &TABLES {
            copied(table.name, self.compare(table).await?);
        }
        self.mark_complete().await
    }

    async fn mark_incomplete(&mut self) -> Result<(), StoreError> {
        let opening: Option<String> = sqlx::query_scalar("SELECT opening FROM store")
            .fetch_optional(&mut self.target)
            .await?;
        match opening.as_deref() {
            Some(INCOMPLETE) => return Ok(()),
            Some(_) => return Err(StoreError::Occupied),
            None => {}
        }
        self.target.run(self.begin).await?;
        sqlx::query("INSERT INTO store (one, opening, written_at) VALUES (1, $1, 0)")
            .bind(INCOMPLETE)
            .execute(&mut self.target)
            .await?;
        self.target_right.commit(&mut self.target).await
    }

    /// Copies the rows after the last one that the target has.
    async fn copy_table(&mut self, table: &Table) -> Result<(), StoreError> {
        let mut last = page(&mut self.target, table, None, "DESC", 1).await?.pop();
        loop {
            let rows = page(&mut self.source, table, last.as_deref(), "ASC", PAGE).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.target.run(self.begin).await?;
            for rows in rows.chunks(ROWS) {
                insert(&mut self.target, table, rows).await?;
            }
            self.target_right.commit(&mut self.target).await?;
            last = rows.into_iter().next_back();
        }
    }

    /// Compares the rows of both databases, and counts them.
    async fn compare(&mut self, table: &Table) -> Result<u64, StoreError> {
        let (mut last, mut count) = (None, 0);
        loop {
            let ours = page(&mut self.source, table, last.as_deref(), "ASC", PAGE).await?;
            let theirs = page(&mut self.target, table, last.as_deref(), "ASC", PAGE).await?;
            if ours != theirs {
                return Err(StoreError::CopyDiffers(table.name));
            }
            if ours.is_empty() {
                return Ok(count);
            }
            count += ours.len() as u64;
            last = ours.into_iter().next_back();
        }
    }

    async fn mark_complete(&mut self) -> Result<(), StoreError> {
        let row = sqlx::query("SELECT opening, written_at, unwiped FROM store")
            .fetch_one(&mut self.source)
            .await?;
        self.target.run(self.begin).await?;
        sqlx::query("UPDATE store SET opening = $1, written_at = $2, unwiped = $3")
            .bind(row.try_get::<String, _>("opening")?)
            .bind(row.try_get::<i64, _>("written_at")?)
            .bind(row.try_get::<i64, _>("unwiped")?)
            .execute(&mut self.target)
            .await?;
        self.target_right.commit(&mut self.target).await
    }
}

/// The first rows of a table, or those after the row `after`.
async fn page(
    conn: &mut Connection,
    table: &Table,
    after: Option<&[Value]>,
    order: &str,
    limit: i64,
) -> Result<Vec<Vec<Value>>, StoreError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let key = names[..table.key].join(", ");
    let mut query = Statement::new(&format!("SELECT {} FROM {}", names.join(", "), table.name));
    if let Some(after) = after {
        query.push(format_args!(" WHERE ({key}) > ("));
        for (n, value) in after[..table.key].iter().enumerate() {
            query.push(if n > 0 { ", " } else { "" });
            bind(&mut query, value)?;
        }
        query.push(")");
    }
    let order: Vec<String> = names[..table.key]
        .iter()
        .map(|name| format!("{name} {order}"))
        .collect();
    query
        .push(format_args!(" ORDER BY {} LIMIT ", order.join(", ")))
        .bind(limit)?;
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(|row| read(row, table)).collect()
}

async fn insert(conn: &mut Connection, table: &Table, rows: &[Vec<Value>]) -> Result<(), StoreError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let mut insert = Statement::new(&format!("INSERT INTO {} ({}) VALUES ", table.name, names.join(", ")));
    for values in rows {
        insert.row(|row| {
            for value in values {
                match value {
                    Value::Text(text) => row.bind(text.as_deref())?,
                    Value::Number(number) => row.bind(*number)?,
                    Value::Bytes(bytes) => row.bind(bytes.as_deref())?,
                };
            }
            Ok(())
        })?;
    }
    insert.execute(conn).await
}

fn bind(statement: &mut Statement, value: &Value) -> Result<(), StoreError> {
    match value {
        Value::Text(text) => statement.bind(text.as_deref())?,
        Value::Number(number) => statement.bind(*number)?,
        Value::Bytes(bytes) => statement.bind(bytes.as_deref())?,
    };
    Ok(())
}

fn read(row: &AnyRow, table: &Table) -> Result<Vec<Value>, StoreError> {
    let columns = table.columns.iter();
    columns
        .map(|(name, kind)| {
            Ok(match kind {
                Text => Value::Text(row.try_get(name)?),
                Number => Value::Number(row.try_get(name)?),
                Bytes => Value::Bytes(row.try_get(name)?),
            })
        })
        .collect()
}
