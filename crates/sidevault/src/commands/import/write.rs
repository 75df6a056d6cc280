//! Sends items and files to the store's writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sidevault_exchange::import::ImportedItem;
use sidevault_keys::IdKey;
use sidevault_model::{FileId, Item};
use sidevault_store::{CHUNK_BYTES, Command};
use tokio::task::JoinSet;

use super::entries::Export;
use crate::admin::Writer;
use crate::exit::Failure;

/// How many items wait for their commit at once. The writer commits all that wait with one `fsync`.
const IN_FLIGHT: usize = 64;

/// How many chunks go into one message: 1 MiB before base64.
const CHUNKS: usize = 16;

/// The items on their way to the writer.
pub(crate) struct Sender {
    writer: Arc<Writer>,
    in_flight: JoinSet<Result<(), Failure>>,
}

impl Sender {
    pub(crate) fn new(writer: Arc<Writer>) -> Self {
        Self {
            writer,
            in_flight: JoinSet::new(),
        }
    }

    /// Sends an item whose files are stored. Waits while too many items are on their way.
    pub(crate) async fn item(
        &mut self,
        item: Item,
        contents: BTreeMap<FileId, FileId>,
        replaces: Option<u32>,
    ) -> Result<(), Failure> {
        while self.in_flight.len() >= IN_FLIGHT {
            self.next().await?;
        }
        let writer = self.writer.clone();
        self.in_flight.spawn(async move {
            let command = Command::ImportItem {
                item: Box::new(item),
                contents,
                replaces,
            };
            writer.command(command).await.map(drop)
        });
        Ok(())
    }

    /// Stores the contents of an item's files. `old` is the item that is replaced.
    pub(crate) async fn files(
        &self,
        export: &Export,
        imported: &ImportedItem,
        item: &Item,
        old: Option<&Item>,
        ids: &IdKey,
    ) -> Result<BTreeMap<FileId, FileId>, Failure> {
        let mut contents = BTreeMap::new();
        for (file, made) in imported.files.iter().zip(&item.files) {
            // The id is the same at each attempt, so that an attempt replaces what an interrupted one left behind, but another than
            // that of the content that the server's item has, because that one may be read now.
            let before = old.and_then(|old| old.files.iter().find(|other| other.id == made.id)?.content);
            let before = before.map(|content| content.to_string()).unwrap_or_default();
            let content = ids.file(item.vault, item.id, &format!("import {} {before}", made.id));
            let mut pieces = export.pieces(file, CHUNKS * CHUNK_BYTES);
            let mut first = 0;
            while let Some(piece) = pieces.next().await? {
                let chunks: Vec<String> = piece.chunks(CHUNK_BYTES).map(|chunk| BASE64.encode(chunk)).collect();
                let after = first + i64::try_from(chunks.len()).unwrap_or_default();
                let command = Command::ImportChunks {
                    vault: item.vault,
                    content,
                    first,
                    chunks,
                };
                self.writer.command(command).await?;
                first = after;
            }
            contents.insert(made.id, content);
        }
        Ok(contents)
    }

    /// Waits until every item is on disk.
    pub(crate) async fn finish(mut self) -> Result<(), Failure> {
        while !self.in_flight.is_empty() {
            self.next().await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<(), Failure> {
        match self.in_flight.join_next().await {
            Some(Ok(outcome)) => outcome,
            Some(Err(error)) => Err(Failure::Failed(error.to_string())),
            None => Ok(()),
        }
    }
}
