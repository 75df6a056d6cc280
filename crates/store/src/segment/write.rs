//! Writing segments.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use sidevault_model::Timestamp;

use super::format::{Action, FORMAT, Head, Lines, Link, store_id};
use crate::StoreError;
use crate::backup::io;
use crate::connection::Connection;
use crate::database::Database;
use crate::keyring::STORE;
use crate::tables::{
    CHANGES, FILE_CHUNKS, FILES, ITEM_VERSIONS, ITEMS, PAGE, RETIRED_VAULT_IDS, Rows, TOKENS, TableRow, VAULT_KEYS,
    VAULTS, Value,
};

/// Writes segments of a store. While it runs, the store may be served and written.
///
/// It remembers 16 bytes for each content of a file, so that a content goes into one segment only.
pub struct SegmentWriter {
    database: Database,
    conn: Option<Connection>,
    /// The newest change that is in the backup or in a segment.
    through: i64,
    /// Digests of the ids of the contents that are in the backup or in a segment. None before the first segment.
    contents: Option<HashSet<ContentDigest>>,
    /// The ids of the data keys of each vault, as of the last segment.
    keys: BTreeMap<String, BTreeSet<i64>>,
    /// What the last segment adds when it is kept.
    written: Option<Written>,
}

type ContentDigest = [u8; 16];

struct Written {
    through: i64,
    contents: Vec<ContentDigest>,
    keys: BTreeMap<String, BTreeSet<i64>>,
}

/// A segment that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The newest change in it.
    pub through: i64,
    /// When that was made.
    pub last_at: Timestamp,
    /// A vault has lost a data key, because all its rows were sealed anew. That is not in segments, so the key is still needed to read what
    /// they give, until there is a new backup.
    pub has_resealed: bool,
}

type Out = Lines<BufWriter<File>>;

impl SegmentWriter {
    /// A writer of the changes after the change `through`, which is in the backup or in a segment.
    pub fn new(database: &Database, through: i64) -> Self {
        Self {
            database: database.clone(),
            conn: None,
            through,
            contents: None,
            keys: BTreeMap::new(),
            written: None,
        }
    }

    /// The newest change that is in the backup or in a segment that was kept.
    pub fn through(&self) -> i64 {
        self.through
    }

    /// Writes the first segment of a backup, which has no rows, into the new file `file`.
    ///
    /// # Errors
    /// If the store can't be read, or the file can't be written.
    pub async fn write_first(&mut self, link: &Link, file: &Path) -> Result<Segment, StoreError> {
        let mut conn = self.connection().await?;
        let store = store_id(&mut conn).await?;
        let head = self.head(store, link, self.through, (0, 0));
        self.conn = Some(conn);
        finished(
            Lines::begin(create(file)?, &head).map_err(|cause| io(file, cause))?,
            file,
        )?;
        self.written = None;
        Ok(Segment {
            through: self.through,
            last_at: Timestamp::from_millis(0),
            has_resealed: false,
        })
    }

    /// Writes what has changed since the last segment that was kept into the new file `file`, which is on disk then. None if nothing has
    /// changed; then there is no file. Call [`Self::kept`] when the segment is in its place.
    ///
    /// # Errors
    /// [`StoreError::ChangeUnknown`] if the change log does not reach back so far, or the store is another one: then a new backup is needed.
    /// Other errors of the store and of the file. The next call tries again.
    pub async fn write(&mut self, link: &Link, file: &Path) -> Result<Option<Segment>, StoreError> {
        self.written = None;
        let mut conn = self.connection().await?;
        conn.run(self.database.begin_snapshot()).await?;
        let segment = self.write_changes(&mut conn, link, file).await?;
        conn.run("COMMIT").await?;
        // After an error the connection is dropped, because its transaction may be open.
        self.conn = Some(conn);
        Ok(segment)
    }

    /// Notes that the last segment is in its place.
    pub fn kept(&mut self) {
        let Some(written) = self.written.take() else { return };
        self.through = written.through;
        self.contents.get_or_insert_default().extend(written.contents);
        self.keys.extend(written.keys);
    }

    async fn connection(&mut self) -> Result<Connection, StoreError> {
        if let Some(conn) = self.conn.take().filter(|conn| !conn.is_broken()) {
            return Ok(conn);
        }
        let mut conn = self.database.connect_reader().await?;
        self.database.check_readable(&mut conn).await?;
        Ok(conn)
    }

    fn head(&self, store: String, link: &Link, through: i64, (first_at, last_at): (i64, i64)) -> Head {
        Head {
            sidevault_segment: FORMAT,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            store,
            backup: link.backup.clone(),
            number: link.number,
            previous: link.previous.clone(),
            after: self.through,
            through,
            first_at,
            last_at,
        }
    }

    async fn write_changes(
        &mut self,
        conn: &mut Connection,
        link: &Link,
        file: &Path,
    ) -> Result<Option<Segment>, StoreError> {
        let known = [vec![Value::Number(Some(self.through))]];
        if CHANGES.rows().of(&known).page(conn).await?.is_empty() {
            return Err(StoreError::ChangeUnknown(self.through));
        }
        let changes = CHANGES.rows().after(&known[0]);
        let Some(touched) = Touched::read(changes, conn).await? else {
            return Ok(None);
        };
        let before = self.load(conn, &touched).await?;
        let times = (touched.first_at, touched.last_at);
        let store = store_id(conn).await?;
        let head = self.head(store, link, touched.through, times);
        let mut out = Lines::begin(create(file)?, &head).map_err(|cause| io(file, cause))?;
        let keys = write_vaults(conn, &touched, &mut out, file).await?;
        let contents = write_items(conn, &touched, &before, &mut out, file).await?;
        set_rows(changes, conn, &mut out, file).await?;
        self.contents = Some(before);
        finished(out, file)?;
        let has_lost = |(vault, now): (&String, &BTreeSet<i64>)| {
            let before = self.keys.get(vault);
            !now.is_empty() && before.is_some_and(|before| !before.is_subset(now))
        };
        let segment = Segment {
            through: touched.through,
            last_at: Timestamp::from_millis(touched.last_at),
            has_resealed: keys.iter().any(has_lost),
        };
        self.written = Some(Written {
            through: touched.through,
            contents,
            keys,
        });
        Ok(Some(segment))
    }

    /// What is in the backup or in a segment. Before the first segment of this process, the contents of the items that have
    /// changed since are not known to be, and the others are.
    async fn load(&mut self, conn: &mut Connection, touched: &Touched) -> Result<HashSet<ContentDigest>, StoreError> {
        if let Some(contents) = self.contents.take() {
            return Ok(contents);
        }
        self.keys = data_keys(VAULT_KEYS.rows(), conn).await?;
        let mut contents = HashSet::new();
        let add = |row: &TableRow| {
            let text = |column| FILES.value(row, column).as_text();
            if !touched.has_item(text("vault_id"), text("item_id")) {
                contents.insert(digest_of(text("content_id")));
            }
            Ok(())
        };
        FILES.rows().each(conn, add).await?;
        Ok(contents)
    }
}

/// What some changes are about. The change log has [`crate::tables::KEPT_CHANGES`] changes at most.
struct Touched {
    vaults: BTreeSet<String>,
    items: BTreeSet<(String, String)>,
    /// The list of tokens has changed.
    tokens: bool,
    /// A vault was made, renamed or deleted.
    names: bool,
    through: i64,
    first_at: i64,
    last_at: i64,
}

impl Touched {
    /// None if there are no changes.
    async fn read(changes: Rows<'_>, conn: &mut Connection) -> Result<Option<Self>, StoreError> {
        let mut touched: Option<Self> = None;
        let add = |row: &TableRow| {
            let text = |column| CHANGES.value(row, column).as_text();
            let number = |column| CHANGES.value(row, column).as_number();
            let touched = touched.get_or_insert_with(|| Self {
                vaults: BTreeSet::new(),
                items: BTreeSet::new(),
                tokens: false,
                names: false,
                through: 0,
                first_at: number("at"),
                last_at: 0,
            });
            touched.through = number("seq");
            touched.last_at = number("at").max(touched.last_at);
            match (text("vault_id"), text("item_id")) {
                // The key that seals tokens may be a new one, too.
                (STORE, _) => touched.tokens = true,
                (_, "") => touched.names = true,
                (vault, item) => {
                    touched.items.insert((vault.to_owned(), item.to_owned()));
                }
            }
            touched.vaults.insert(text("vault_id").to_owned());
            Ok(())
        };
        changes.each(conn, add).await?;
        Ok(touched)
    }

    fn has_item(&self, vault: &str, item: &str) -> bool {
        // Most stores have few files, so the two words are copied.
        self.items.contains(&(vault.to_owned(), item.to_owned()))
    }
}

/// Writes vaults with their keys, the tokens, and retired ids. Returns the ids of the data keys of each of the vaults.
async fn write_vaults(
    conn: &mut Connection,
    touched: &Touched,
    out: &mut Out,
    file: &Path,
) -> Result<BTreeMap<String, BTreeSet<i64>>, StoreError> {
    let mut keys = BTreeMap::new();
    let names: Vec<&String> = touched.vaults.iter().collect();
    for names in names.chunks(PAGE) {
        let vaults: Vec<TableRow> = names.iter().map(|vault| vec![Value::text(vault)]).collect();
        let there = VAULTS.rows().of(&vaults).page(conn).await?;
        for vault in &vaults {
            if vault[0].as_text() != STORE && !there.iter().any(|row| row[0] == vault[0]) {
                put(out, file, Action::Remove, &VAULTS, vault)?;
            }
        }
        for row in &there {
            put(out, file, Action::Set, &VAULTS, row)?;
        }
        // Keys are never removed: rows that were sealed anew are not in the change log, so what the segments give may need an old key.
        set_rows(VAULT_KEYS.rows().of(&vaults), conn, out, file).await?;
        keys.append(&mut data_keys(VAULT_KEYS.rows().of(&vaults), conn).await?);
    }
    for (table, is_touched) in [(&TOKENS, touched.tokens), (&RETIRED_VAULT_IDS, touched.names)] {
        if is_touched {
            put(out, file, Action::Remove, table, &[])?;
            set_rows(table.rows(), conn, out, file).await?;
        }
    }
    Ok(keys)
}

/// Writes items with their old versions, and the contents of their files that are not in `known`. Returns these contents.
async fn write_items(
    conn: &mut Connection,
    touched: &Touched,
    known: &HashSet<ContentDigest>,
    out: &mut Out,
    file: &Path,
) -> Result<Vec<ContentDigest>, StoreError> {
    let mut written = Vec::new();
    let items: Vec<&(String, String)> = touched.items.iter().collect();
    for items in items.chunks(PAGE) {
        let keys: Vec<TableRow> = items
            .iter()
            .map(|(vault, item)| vec![Value::text(vault), Value::text(item)])
            .collect();
        for table in [&ITEMS, &ITEM_VERSIONS, &FILES] {
            for key in &keys {
                put(out, file, Action::Remove, table, key)?;
            }
            set_rows(table.rows().of(&keys), conn, out, file).await?;
        }
        let mut contents = BTreeSet::new();
        let add = |row: &TableRow| {
            contents.insert(FILES.value(row, "content_id").as_text().to_owned());
            Ok(())
        };
        FILES.rows().of(&keys).each(conn, add).await?;
        for content in contents {
            let digest = digest_of(&content);
            if !known.contains(&digest) {
                let chunks = [vec![Value::text(&content)]];
                set_rows(FILE_CHUNKS.rows().of(&chunks), conn, out, file).await?;
                written.push(digest);
            }
        }
    }
    Ok(written)
}

async fn set_rows(rows: Rows<'_>, conn: &mut Connection, out: &mut Out, file: &Path) -> Result<(), StoreError> {
    rows.each(conn, |row| put(out, file, Action::Set, rows.table(), row))
        .await
}

fn put(
    out: &mut Out,
    file: &Path,
    action: Action,
    table: &crate::tables::Table,
    values: &[Value],
) -> Result<(), StoreError> {
    out.line(action, table, values).map_err(|cause| io(file, cause))
}

/// The ids of data keys of each vault.
async fn data_keys(keys: Rows<'_>, conn: &mut Connection) -> Result<BTreeMap<String, BTreeSet<i64>>, StoreError> {
    let mut ids: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    let add = |row: &TableRow| {
        let value = |column| VAULT_KEYS.value(row, column);
        if value("purpose").as_text() == "seal" {
            let vault = ids.entry(value("vault_id").as_text().to_owned()).or_default();
            vault.insert(value("key_id").as_number());
        }
        Ok(())
    };
    keys.each(conn, add).await?;
    Ok(ids)
}

fn digest_of(content: &str) -> ContentDigest {
    let mut digest = ContentDigest::default();
    let length = digest.len();
    digest.copy_from_slice(&Sha256::digest(content)[..length]);
    digest
}

fn create(file: &Path) -> Result<BufWriter<File>, StoreError> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    let created = options.open(file).map_err(|cause| io(file, cause))?;
    Ok(BufWriter::new(created))
}

/// Writes the last line, and waits until the file is on disk.
fn finished(out: Out, file: &Path) -> Result<(), StoreError> {
    out.end()
        .and_then(|to| to.get_ref().sync_all())
        .map_err(|cause| io(file, cause))
}
