//! What was last read of each file of a tree.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use sidevault_model::ItemId;

use super::beneath::FileStamp;
use super::folder::FileSettings;
use super::write::Answered;

/// What was last read of a file.
pub(super) struct FileRecord {
    /// What `.sidevault.yaml` files said of the file when it was read.
    pub(super) settings: Arc<FileSettings>,
    /// The metadata of the file when it was read; `None` if it must be read again at the next scan.
    pub(super) stamp: Option<FileStamp>,
    pub(super) digest: [u8; 32],
    /// Whether the file was encrypted.
    pub(super) sealed: bool,
    /// The path as the file system has it, if clients may write to the file.
    pub(super) path: PathBuf,
    /// The ids of its items, in the order of the file, if clients may write to it.
    pub(super) items: Vec<ItemId>,
    /// The last change of a client, unless the file changed since.
    pub(super) answered: Option<Box<Answered>>,
    /// The titles of its items, sorted and without repetitions.
    pub(super) titles: Vec<String>,
    /// Why the file is not served; `None` if it is.
    pub(super) error: Option<FileError>,
}

impl FileRecord {
    /// A file of which nothing was read.
    pub(super) fn unread(settings: Arc<FileSettings>, path: PathBuf) -> Self {
        Self {
            settings,
            stamp: None,
            digest: [0; 32],
            sealed: false,
            path,
            items: Vec::new(),
            answered: None,
            titles: Vec::new(),
            error: None,
        }
    }
}

/// Why a file is not served.
pub(super) struct FileError {
    pub(super) message: String,
    /// Whether the file is encrypted and sync has no age key at all.
    pub(super) needs_age_key: bool,
}

/// The records of the files, by path in the tree.
#[derive(Default)]
pub(super) struct Records {
    files: HashMap<String, FileRecord>,
    /// The file of each item, if clients may write to it.
    of_items: HashMap<ItemId, String>,
}

impl Records {
    pub(super) fn get(&self, relative: &str) -> Option<&FileRecord> {
        self.files.get(relative)
    }

    pub(super) fn get_mut(&mut self, relative: &str) -> Option<&mut FileRecord> {
        self.files.get_mut(relative)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &FileRecord)> {
        self.files.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The path in the tree of the file that has an item, and what was last read of that file.
    pub(super) fn of_item(&self, item: ItemId) -> Option<(&str, &FileRecord)> {
        let relative = self.of_items.get(&item)?;
        Some((relative, self.files.get(relative)?))
    }

    /// Puts a record in the place of the file's earlier one.
    pub(super) fn insert(&mut self, relative: String, record: FileRecord) {
        self.remove(&relative);
        let items = record.items.iter().map(|item| (*item, relative.clone()));
        self.of_items.extend(items);
        self.files.insert(relative, record);
    }

    pub(super) fn remove(&mut self, relative: &str) {
        for item in self.files.remove(relative).into_iter().flat_map(|record| record.items) {
            self.of_items.remove(&item);
        }
    }

    /// Forgets the files for which `is_kept` does not hold.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.files.retain(|relative, _| is_kept(relative));
        self.of_items.retain(|_, relative| is_kept(relative));
    }

    pub(super) fn clear(&mut self) {
        self.files.clear();
        self.of_items.clear();
    }
}
