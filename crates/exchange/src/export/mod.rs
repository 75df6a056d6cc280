//! Writes items in the formats of other programs.

mod base64_stream;
mod bitwarden;
mod dotenv;
mod json;
mod kubernetes;
mod onepux;
mod sops;
#[cfg(test)]
mod testing;

use std::collections::HashSet;
use std::io;

use sidevault_model::{File, Item, Vault};

pub use bitwarden::Bitwarden;
pub use dotenv::Dotenv;
pub use json::Json;
pub use kubernetes::{ExternalSecrets, KubernetesSecrets, Store};
pub(crate) use kubernetes::{external_secret_entry, external_secret_head, quoted};
pub use onepux::OnePux;
pub use sops::{SopsTree, WriteFile};

/// When a writer takes the contents of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOrder {
    /// Never: [`Writer::item`] names the files among what can't be carried.
    Never,
    /// After their item, before the next one.
    WithItem,
    /// After the last item.
    AfterItems,
}

/// Writes one export. The calls come in this order: for each vault [`vault`](Self::vault), then for each of its items
/// [`item`](Self::item); at the end [`finish`](Self::finish). Files are written with [`file`](Self::file) and
/// [`content`](Self::content), at the place that [`file_order`](Self::file_order) says.
///
/// A writer holds one item in memory at a time, and no content of a file.
pub trait Writer {
    /// Begins a vault. `summaries` are its items, without fields.
    ///
    /// # Errors
    /// Those of the output.
    fn vault(&mut self, vault: &Vault, summaries: &[Item]) -> io::Result<()>;

    /// Writes an item, and returns what of it the format can't carry, for people. No text has a value of the item.
    ///
    /// # Errors
    /// Those of the output.
    fn item(&mut self, item: &Item) -> io::Result<Vec<String>>;

    /// When the contents of files are written.
    fn file_order(&self) -> FileOrder {
        FileOrder::Never
    }

    /// Begins a file, and returns whether its content is wanted. If it is not, [`item`](Self::item) has said why.
    ///
    /// # Errors
    /// Those of the output.
    fn file(&mut self, _file: &File) -> io::Result<bool> {
        Ok(false)
    }

    /// Writes the next bytes of the file that was begun last.
    ///
    /// # Errors
    /// Those of the output.
    fn content(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// Ends the export.
    ///
    /// # Errors
    /// Those of the output.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A name that is not taken yet, which is taken then: `wanted`, or else its first numbered form, from 2 on.
fn free_name(taken: &mut HashSet<String>, wanted: &str, numbered: impl Fn(usize) -> String) -> String {
    let mut name = wanted.to_owned();
    let mut number = 1;
    while !taken.insert(name.clone()) {
        number += 1;
        name = numbered(number);
    }
    name
}

/// The files of an item, as what can't be carried.
fn lost_files(item: &Item) -> impl Iterator<Item = String> + '_ {
    item.files
        .iter()
        .map(|file| format!("file \"{}\"", sidevault_model::printable(&file.name)))
}

/// The label of the section that a field belongs to, or else the section's id. Empty without a section.
fn section_name<'a>(item: &'a Item, field: &'a sidevault_model::Field) -> &'a str {
    let Some(reference) = &field.section else { return "" };
    let section = item.sections.iter().find(|section| section.id == reference.id);
    let label = section
        .map(|section| section.label.as_str())
        .or(reference.label.as_deref());
    label.filter(|label| !label.is_empty()).unwrap_or(&reference.id)
}
