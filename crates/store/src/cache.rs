//! The readers' cache. It holds rows as they are on disk, still sealed.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sidevault_keys::IndexKey;
use sidevault_model::{ItemId, VaultId};

use crate::row_aad::{ItemTimes, ListColumns};

pub(crate) type ItemKey = (VaultId, ItemId);
/// A vault, and the hash of a title or of a path.
pub(crate) type TitleKey = (VaultId, [u8; 32]);

/// The hash of a path in comparable form. It is never the hash of a title, because no text begins with the byte 0xFF.
pub(crate) fn path_hash(index: &IndexKey, path: &str) -> [u8; 32] {
    index.hash(&[b"\xff", path.as_bytes()].concat())
}

/// The sealed content of a row of `items`.
pub(crate) struct SealedDetail {
    pub(crate) version: u32,
    pub(crate) times: ItemTimes,
    pub(crate) detail: Box<[u8]>,
}

/// The sealed summary of a row of `items`.
pub(crate) struct SealedSummary {
    pub(crate) item: ItemId,
    pub(crate) version: u32,
    pub(crate) columns: ListColumns,
    pub(crate) sealed: Box<[u8]>,
}

/// About how many bytes an entry takes besides its sealed bytes.
const ENTRY_OVERHEAD: usize = 200;

/// About how many bytes a summary takes besides its sealed bytes.
const SUMMARY_OVERHEAD: usize = 96;

/// Weighs entries by the bytes that they take.
#[derive(Clone)]
pub(crate) struct Bytes;

impl Weighter<ItemKey, Arc<SealedDetail>> for Bytes {
    fn weight(&self, _: &ItemKey, item: &Arc<SealedDetail>) -> u64 {
        (item.detail.len() + ENTRY_OVERHEAD) as u64
    }
}

impl Weighter<TitleKey, Arc<[SealedSummary]>> for Bytes {
    fn weight(&self, _: &TitleKey, hits: &Arc<[SealedSummary]>) -> u64 {
        (hits
            .iter()
            .map(|hit| hit.sealed.len() + SUMMARY_OVERHEAD)
            .sum::<usize>()
            + ENTRY_OVERHEAD) as u64
    }
}

/// Items by id, and summaries by the hash of their title or path.
pub(crate) struct SealedCache {
    pub(crate) items: Cache<ItemKey, Arc<SealedDetail>, Bytes>,
    pub(crate) titles: Cache<TitleKey, Arc<[SealedSummary]>, Bytes>,
}

impl SealedCache {
    /// `bytes` is the most that both caches hold together, overhead included.
    pub(crate) fn new(bytes: u64) -> Self {
        // An estimate, by which the caches size their tables: an item and its overhead take about this many bytes.
        let entries = usize::try_from(bytes / 1500).unwrap_or(usize::MAX);
        Self {
            items: Cache::with_weighter(entries, bytes / 2, Bytes),
            titles: Cache::with_weighter(entries, bytes / 2, Bytes),
        }
    }

    pub(crate) fn clear(&self) {
        self.items.clear();
        self.titles.clear();
    }
}
