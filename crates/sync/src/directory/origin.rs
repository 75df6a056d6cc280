//! The key under which the store finds all items of a file.

use sidevault_keys::IdKey;
use sidevault_model::VaultId;

/// What the origin of an item ends with if its file was encrypted when it was read.
const SEALED: &str = ".sealed";

/// A file, as the store knows it: a keyed hash of the source's name and the file's path, and whether the file was encrypted. The store
/// keeps the latter, so that a file which was decrypted while sync did not run is known to be one.
#[derive(Clone)]
pub(crate) struct FileOrigin {
    file: String,
    /// Whether the file was encrypted when its items were read.
    sealed: bool,
}

impl FileOrigin {
    /// The file at `relative` in the tree of a source.
    pub(crate) fn of(ids: &IdKey, source: &str, vault: VaultId, relative: &str, sealed: bool) -> Self {
        Self {
            file: ids.item(vault, &format!("origin\0{source}\0{relative}")).to_string(),
            sealed,
        }
    }

    /// The origin that the store has for the file's items, and the one that it has if the file was encrypted and is plaintext now, or
    /// the reverse.
    pub(crate) fn all_stored(&self) -> [String; 2] {
        let (plain, sealed) = (self.file.clone(), format!("{}{SEALED}", self.file));
        if self.sealed { [sealed, plain] } else { [plain, sealed] }
    }

    /// The file, encrypted or not.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }
}

/// The file of an origin in the store, and whether it was encrypted.
pub(crate) fn of_stored(origin: &str) -> (&str, bool) {
    match origin.strip_suffix(SEALED) {
        Some(file) => (file, true),
        None => (origin, false),
    }
}
