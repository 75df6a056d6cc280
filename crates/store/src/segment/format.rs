//! The lines of a segment.

use std::io::{BufRead, Read as _, Write};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::StoreError;
use crate::connection::Connection;
use crate::keyring::STORE;
use crate::tables::{Kind, TABLES, Table, TableRow, VAULT_KEYS, Value};

/// The version of the format.
pub(super) const FORMAT: u32 = 1;

/// The longest line that is read, in bytes. The largest row is an item with its fields.
const LONGEST_LINE: u64 = 64 << 20;

/// Where a segment belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The name of the backup that the segments follow.
    pub backup: String,
    /// The number of the segment. The first has the number 0, and no rows.
    pub number: u64,
    /// SHA-256 of the file before, in hexadecimal; for the first segment that of the backup's manifest.
    pub previous: String,
}

/// Why a segment does not continue a backup.
#[derive(Debug, thiserror::Error)]
pub enum SegmentFault {
    /// It can't be read, or the store that is made can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was cut or changed.
    #[error("it is damaged, or was changed: {0}")]
    Damaged(String),
    /// It is of another store, or follows another backup.
    #[error("it belongs to {0}")]
    Foreign(String),
    /// It is not the next one.
    #[error("it is segment {found}, and segment {expected} should be there")]
    Misplaced {
        /// Its own number.
        found: u64,
        /// The number of the next one.
        expected: u64,
    },
    /// The file before it is another one than when it was made.
    #[error("what comes before it was changed or replaced")]
    Unlinked,
    /// Changes are missing between it and what comes before it.
    #[error("it begins after the change {found}, and what comes before it ends with the change {expected}")]
    Gap {
        /// The change before its first one.
        found: i64,
        /// The newest change before it.
        expected: i64,
    },
}

/// The first line.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    /// The version of the format: 1.
    pub(super) sidevault_segment: u32,
    /// The version of Sidevault that made the segment.
    pub(super) made_by: String,
    /// A digest that tells stores apart.
    pub(super) store: String,
    /// As in [`Link`].
    pub(super) backup: String,
    pub(super) number: u64,
    pub(super) previous: String,
    /// The segment has the changes after this one …
    pub(super) after: i64,
    /// … up to this one.
    pub(super) through: i64,
    /// When the first and the last of them were made, in Unix milliseconds. 0 if there are none.
    pub(super) first_at: i64,
    pub(super) last_at: i64,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct End {
    /// How many lines are between the first and the last.
    lines: u64,
    /// SHA-256 of all bytes before this line, in hexadecimal.
    sha256: String,
}

/// What a line does to a table.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Removes the rows whose key begins with these values; without values, all rows. Of a vault, everything in it.
    #[serde(rename = "-")]
    Remove,
    /// Sets the row with this key.
    #[serde(rename = "+")]
    Set,
}

/// A line between the first and the last: `["+", "items", […]]`.
pub(super) struct Line {
    pub(super) action: Action,
    pub(super) table: &'static Table,
    pub(super) values: TableRow,
}

/// Writes the lines of a segment.
pub(super) struct Lines<W> {
    to: W,
    sha256: Sha256,
    lines: u64,
}

impl<W: Write> Lines<W> {
    /// Writes the first line.
    pub(super) fn begin(to: W, head: &Head) -> std::io::Result<Self> {
        let mut lines = Self {
            to,
            sha256: Sha256::new(),
            lines: 0,
        };
        lines.put(head)?;
        Ok(lines)
    }

    /// Writes a line that removes or sets rows.
    pub(super) fn line(&mut self, action: Action, table: &Table, values: &[Value]) -> std::io::Result<()> {
        self.lines += 1;
        let values: Vec<serde_json::Value> = values.iter().map(to_json).collect();
        self.put(&(action, table.name, values))
    }

    /// Writes the last line.
    pub(super) fn end(mut self) -> std::io::Result<W> {
        let end = End {
            lines: self.lines,
            sha256: HEXLOWER.encode(&self.sha256.clone().finalize()),
        };
        self.put(&end)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn put(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.sha256.update(&text);
        self.to.write_all(&text)
    }
}

/// Reads the lines of a segment.
pub(super) struct Reading<R> {
    from: R,
    sha256: Sha256,
    lines: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Reading<R> {
    /// Reads the first line.
    pub(super) fn begin(from: R) -> Result<(Self, Head), SegmentFault> {
        let mut reading = Self {
            from,
            sha256: Sha256::new(),
            lines: 0,
            line: Vec::new(),
        };
        reading.read()?;
        // Of a later version, nothing but the format's number may be as it is here.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Format {
            sidevault_segment: u32,
        }
        let format: Format = serde_json::from_slice(&reading.line).map_err(|error| not_segment(&error))?;
        if format.sidevault_segment != FORMAT {
            return Err(StoreError::newer(format.sidevault_segment.into()).into());
        }
        let head = serde_json::from_slice(&reading.line).map_err(|error| not_segment(&error))?;
        reading.sha256.update(&reading.line);
        Ok((reading, head))
    }

    /// The next line. None after the last line, which was found to be right.
    pub(super) fn next(&mut self) -> Result<Option<Line>, SegmentFault> {
        self.read()?;
        if self.line.first() == Some(&b'{') {
            let end: End = serde_json::from_slice(&self.line).map_err(|error| damaged(&error))?;
            if end.lines != self.lines || end.sha256 != HEXLOWER.encode(&self.sha256.clone().finalize()) {
                return Err(SegmentFault::Damaged("its digest is another one".to_owned()));
            }
            self.line.clear();
            if !self.from.fill_buf().map_err(|error| damaged(&error))?.is_empty() {
                return Err(SegmentFault::Damaged("it goes on after its last line".to_owned()));
            }
            return Ok(None);
        }
        self.sha256.update(&self.line);
        self.lines += 1;
        let n = self.lines + 1;
        let wrong = || SegmentFault::Damaged(format!("line {n}"));
        let (action, table, values): (Action, String, Vec<serde_json::Value>) =
            serde_json::from_slice(&self.line).map_err(|_| wrong())?;
        let table = TABLES.into_iter().find(|known| known.name == table).ok_or_else(wrong)?;
        let columns = table.columns.len();
        let most = if action == Action::Set { columns } else { table.key };
        if values.len() > most || (action == Action::Set && values.len() != columns) {
            return Err(wrong());
        }
        let values = values.into_iter().zip(table.columns);
        let values: Option<TableRow> = values.map(|(value, (_, kind))| of_json(value, *kind)).collect();
        Ok(Some(Line {
            action,
            table,
            values: values.ok_or_else(wrong)?,
        }))
    }

    /// Reads a line, with the line break.
    fn read(&mut self) -> Result<(), SegmentFault> {
        self.line.clear();
        let mut limited = (&mut self.from).take(LONGEST_LINE);
        limited
            .read_until(b'\n', &mut self.line)
            .map_err(|error| damaged(&error))?;
        match self.line.last() {
            Some(b'\n') => Ok(()),
            _ if self.line.len() as u64 == LONGEST_LINE => Err(SegmentFault::Damaged("a line is too long".to_owned())),
            _ => Err(SegmentFault::Damaged("its end is missing".to_owned())),
        }
    }
}

fn damaged(error: &impl ToString) -> SegmentFault {
    SegmentFault::Damaged(error.to_string())
}

fn not_segment(error: &serde_json::Error) -> SegmentFault {
    SegmentFault::Damaged(format!("it does not begin as a segment does ({error})"))
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => text.as_deref().into(),
        Value::Number(number) => (*number).into(),
        Value::Bytes(bytes) => bytes.as_ref().map(|bytes| BASE64.encode(bytes)).into(),
    }
}

fn of_json(value: serde_json::Value, kind: Kind) -> Option<Value> {
    use serde_json::Value as Json;
    Some(match (kind, value) {
        (Kind::Text, Json::Null) => Value::Text(None),
        (Kind::Text, Json::String(text)) => Value::Text(Some(text)),
        (Kind::Number, Json::Null) => Value::Number(None),
        (Kind::Number, Json::Number(number)) => Value::Number(Some(number.as_i64()?)),
        (Kind::Bytes, Json::Null) => Value::Bytes(None),
        (Kind::Bytes, Json::String(text)) => Value::Bytes(Some(BASE64.decode(text.as_bytes()).ok()?)),
        _ => return None,
    })
}

/// A digest that tells stores apart: of the time when the store's index key was made, which is never replaced.
pub(super) async fn store_id(conn: &mut Connection) -> Result<String, StoreError> {
    let keys = VAULT_KEYS.rows().of(&[vec![Value::text(STORE)]]).page(conn).await?;
    let index = keys
        .iter()
        .find(|row| VAULT_KEYS.value(row, "purpose").as_text() == "index");
    let made_at = index.map(|row| VAULT_KEYS.value(row, "created_at").as_number());
    let made_at = made_at.ok_or_else(|| StoreError::corrupt("the keys of the store"))?;
    let digest = Sha256::digest([b"sidevault store ".as_slice(), &made_at.to_be_bytes()].concat());
    Ok(HEXLOWER.encode(&digest[..16]))
}
