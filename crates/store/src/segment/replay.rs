//! Replaying segments over the backup that they follow.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use sidevault_model::Timestamp;

use super::format::{Action, Line, Link, Reading, SegmentFault, store_id};
use crate::backup::{Manifest, check_backup, io, sync_file, write_manifest};
use crate::connection::Connection;
use crate::tables::{self, PAGE, Table, TableRow, VAULTS};
use crate::{StoreError, sqlite};

/// Rows are set in groups of at most this many bytes.
const GROUP_BYTES: usize = 1 << 20;

/// A backup over which segments are replayed, in a file of its own. [`Self::finish`] makes an ordinary backup of it.
pub struct Assembly {
    conn: Connection,
    file: std::path::PathBuf,
    store: String,
    manifest: Manifest,
    through: i64,
    last_at: Timestamp,
}

impl Assembly {
    /// Copies a backup into the new file `file`, after a comparison with its manifest.
    ///
    /// # Errors
    /// As [`check_backup`]; if the file can't be written.
    pub async fn begin(backup: &Path, file: &Path) -> Result<Self, StoreError> {
        let manifest = check_backup(backup).await?;
        let mut from = File::open(backup).map_err(|cause| io(backup, cause))?;
        let mut to = sqlite::create_empty(file)?;
        std::io::copy(&mut from, &mut to).map_err(|cause| io(file, cause))?;
        let mut conn = sqlite::connect_single_file(file).await?;
        // If this process is killed, the file is useless in any case.
        conn.run("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")
            .await?;
        Ok(Self {
            store: store_id(&mut conn).await?,
            conn,
            file: file.to_owned(),
            through: manifest.newest_change,
            last_at: manifest.taken_at,
            manifest,
        })
    }

    /// SHA-256 of the backup's manifest, to which the first segment is linked.
    pub fn manifest_sha256(&self) -> &str {
        &self.manifest.sha256
    }

    /// Replays the segment that `link` describes. After an error the rows are as before.
    ///
    /// # Errors
    /// If it is another segment, or is damaged. [`SegmentFault::Store`] if the file can't be written.
    pub async fn apply(&mut self, segment: &Path, link: &Link) -> Result<(), SegmentFault> {
        let from = File::open(segment).map_err(|cause| io(segment, cause))?;
        let (mut reading, head) = Reading::begin(BufReader::new(from))?;
        if head.store != self.store {
            return Err(SegmentFault::Foreign("another store".to_owned()));
        }
        if head.backup != link.backup {
            return Err(SegmentFault::Foreign(format!("the backup {}", head.backup)));
        }
        if head.number != link.number {
            return Err(SegmentFault::Misplaced {
                found: head.number,
                expected: link.number,
            });
        }
        if head.previous != link.previous {
            return Err(SegmentFault::Unlinked);
        }
        if head.after != self.through {
            return Err(SegmentFault::Gap {
                found: head.after,
                expected: self.through,
            });
        }
        self.conn.run("BEGIN").await?;
        let replayed = self.replay(&mut reading).await;
        match replayed {
            Ok(()) => self.conn.run("COMMIT").await?,
            Err(fault) => {
                self.conn.run("ROLLBACK").await?;
                return Err(fault);
            }
        }
        self.through = head.through;
        self.last_at = self.last_at.max(Timestamp::from_millis(head.last_at));
        Ok(())
    }

    async fn replay(&mut self, reading: &mut Reading<BufReader<File>>) -> Result<(), SegmentFault> {
        let mut group = Group::default();
        while let Some(line) = reading.next()? {
            if !group.takes(&line) {
                group.write(&mut self.conn).await?;
            }
            match line.action {
                Action::Set if line.table.name == VAULTS.name => self.set_vault(&line.values).await?,
                Action::Set => group.add(line),
                Action::Remove if line.table.name == VAULTS.name && !line.values.is_empty() => {
                    tables::delete_vault(&mut self.conn, line.values[0].as_text()).await?;
                }
                Action::Remove if line.values.is_empty() => line.table.rows().delete(&mut self.conn).await?,
                Action::Remove => line.table.rows().of(&[line.values]).delete(&mut self.conn).await?,
            }
        }
        group.write(&mut self.conn).await?;
        Ok(())
    }

    /// A vault that was deleted, and made again with the same id, has other keys: nothing of the old one stays.
    async fn set_vault(&mut self, row: &TableRow) -> Result<(), StoreError> {
        let key = [vec![row[0].clone()]];
        let made_at = |row: &TableRow| VAULTS.value(row, "created_at").as_number();
        if let Some(old) = VAULTS.rows().of(&key).page(&mut self.conn).await?.first() {
            match made_at(old) == made_at(row) {
                true => VAULTS.rows().of(&key).delete(&mut self.conn).await?,
                false => tables::delete_vault(&mut self.conn, row[0].as_text()).await?,
            }
        }
        VAULTS.insert(&mut self.conn, std::slice::from_ref(row)).await
    }

    /// Makes a backup of what was replayed, and returns its manifest: the time is that of the newest change.
    ///
    /// # Errors
    /// If the file can't be written.
    pub async fn finish(mut self) -> Result<Manifest, StoreError> {
        self.conn.run("BEGIN").await?;
        tables::delete_orphaned_contents(&mut self.conn).await?;
        tables::delete_old_changes(&mut self.conn).await?;
        self.conn.run("DELETE FROM backup").await?;
        let manifest = write_manifest(&mut self.conn, self.last_at).await?;
        self.conn.run("COMMIT").await?;
        self.conn.close().await?;
        sync_file(&self.file)?;
        Ok(manifest)
    }
}

/// Rows of one table that are set together.
#[derive(Default)]
struct Group {
    table: Option<&'static Table>,
    rows: Vec<TableRow>,
    bytes: usize,
}

impl Group {
    /// Whether the line can be carried out when the rows are not set yet.
    fn takes(&self, line: &Line) -> bool {
        let is_same = self.table.is_none_or(|table| table.name == line.table.name);
        let has_room = self.rows.len() < PAGE && self.bytes < GROUP_BYTES;
        self.rows.is_empty() || (line.action == Action::Set && is_same && has_room)
    }

    fn add(&mut self, line: Line) {
        self.table = Some(line.table);
        self.bytes += line.values.iter().map(|value| value.as_bytes().len()).sum::<usize>();
        self.rows.push(line.values);
    }

    async fn write(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        let Some(table) = self.table.take() else { return Ok(()) };
        let keys: Vec<TableRow> = self.rows.iter().map(|row| row[..table.key].to_vec()).collect();
        table.rows().of(&keys).delete(conn).await?;
        table.insert(conn, &self.rows).await?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}
