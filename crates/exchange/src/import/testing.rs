//! What the tests of readers share.

use std::fs::File;
use std::io::Write as _;

use super::{Entry, ImportedItem, Source};

/// A file with this content.
pub(crate) fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

/// All entries of an export.
pub(crate) fn entries_of(source: &dyn Source) -> Vec<Entry> {
    let mut entries = Vec::new();
    source
        .items(&mut |entry| {
            entries.push(entry);
            Ok(())
        })
        .unwrap();
    entries
}

/// The item of an entry that is not skipped.
pub(crate) fn item_of(entry: Entry) -> ImportedItem {
    match entry {
        Entry::Item(item) => item,
        skipped => panic!("{skipped:?}"),
    }
}
