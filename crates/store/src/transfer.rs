//! Copying a store from one database to another, row by row. Rows stay sealed, so no keys are needed.

use sidevault_model::Timestamp;

use crate::StoreError;
use crate::connection::Connection;
use crate::database::Database;
use crate::store_row::{StoreRow, StoreState};
use crate::tables::{TABLES, Table, TableRow, Value};
use crate::writer::WriteRight;

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
        source_name: from.to_string(),
        target,
        target_right,
        begin: to.begin_copy(),
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
    source_name: String,
    target: Connection,
    target_right: WriteRight,
    /// The statements that begin a transaction of the target.
    begin: &'static str,
}

impl Copy {
    async fn run(&mut self, copied: &mut impl FnMut(&str, u64)) -> Result<(), StoreError> {
        let original = match StoreRow::read(&mut self.source).await? {
            Some(row) if row.state == StoreState::Incomplete => return Err(StoreError::Incomplete),
            Some(row) => row,
            None => return Err(StoreError::Missing(self.source_name.clone())),
        };
        self.mark_incomplete().await?;
        for table in &TABLES {
            self.copy_table(table).await?;
        }
        for table in &TABLES {
            copied(table.name, self.compare(table).await?);
        }
        self.mark(StoreRow {
            state: StoreState::Complete,
            ..original
        })
        .await
    }

    async fn mark_incomplete(&mut self) -> Result<(), StoreError> {
        match StoreRow::read(&mut self.target).await?.map(|row| row.state) {
            Some(StoreState::Incomplete) => return Ok(()),
            Some(_) => return Err(StoreError::Occupied),
            None => {}
        }
        self.mark(StoreRow {
            state: StoreState::Incomplete,
            written_at: Timestamp::now(),
            is_unwiped: false,
            min_version: 0,
        })
        .await
    }

    /// Copies the rows after the last one that the target has.
    async fn copy_table(&mut self, table: &'static Table) -> Result<(), StoreError> {
        let mut last = table.rows().last(&mut self.target).await?;
        loop {
            let rows = page_after(table, last.as_deref(), &mut self.source).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.target.run(self.begin).await?;
            table.insert(&mut self.target, &rows).await?;
            self.target_right.commit(&mut self.target).await?;
            last = rows.into_iter().next_back();
        }
    }

    /// Compares the rows of both databases, and counts them.
    async fn compare(&mut self, table: &'static Table) -> Result<u64, StoreError> {
        let (mut last, mut count): (Option<TableRow>, u64) = (None, 0);
        loop {
            let ours = page_after(table, last.as_deref(), &mut self.source).await?;
            let theirs = page_after(table, last.as_deref(), &mut self.target).await?;
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

    async fn mark(&mut self, row: StoreRow) -> Result<(), StoreError> {
        self.target.run(self.begin).await?;
        row.write(&mut self.target).await?;
        self.target_right.commit(&mut self.target).await
    }
}

async fn page_after(
    table: &'static Table,
    last: Option<&[Value]>,
    conn: &mut Connection,
) -> Result<Vec<TableRow>, StoreError> {
    let rows = table.rows();
    last.map_or(rows, |last| rows.after(last)).page(conn).await
}
