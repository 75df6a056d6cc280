//! Compares an export with what the server has.

use std::collections::HashSet;

use sidevault_exchange::compare::{Difference, differences};
use sidevault_exchange::import::{Entry, ImportedItem};
use sidevault_exchange::plan;
use sidevault_model::{Item, ItemId, VaultId, printable};

use super::entries::Export;
use super::places::Places;
use super::served::Served;
use crate::exit::Failure;
use crate::output;

/// What is compared.
pub(crate) struct Check<'a> {
    pub(crate) export: &'a Export,
    pub(crate) places: &'a Places,
    pub(crate) served: &'a Served,
    /// Only items of this vault of the server.
    pub(crate) only: Option<VaultId>,
    /// Items that the import left as they were.
    pub(crate) left: &'a HashSet<ItemId>,
}

#[derive(Default)]
struct Totals {
    equal: u64,
    different: u64,
    missing: u64,
    fields: u64,
    files: u64,
}

impl Check<'_> {
    /// Compares every item, and prints a line for each that differs or is missing, and a summary.
    ///
    /// # Errors
    /// [`Failure::Found`] if anything differs or is missing.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let mut totals = Totals::default();
        let mut entries = self.export.entries();
        while let Some(entry) = entries.next().await? {
            let Entry::Item(imported) = entry else { continue };
            let Some(vault) = self.places.vaults.get(imported.vault) else {
                continue;
            };
            let wanted = self.places.item(&imported)?;
            if self.only.is_some_and(|only| vault.id != Some(only)) || self.left.contains(&wanted.id) {
                continue;
            }
            let served = match vault.id {
                Some(id) if plan::obstacles(&wanted).is_empty() => self.served.item(id, wanted.id).await?,
                _ => None,
            };
            let name = format!(
                "{} \"{}\" in \"{}\"",
                wanted.id,
                printable(&wanted.title),
                printable(&vault.name)
            );
            let Some(served) = served else {
                totals.missing += 1;
                output::line(&format!("missing    {name}"))?;
                continue;
            };
            totals.fields += wanted.fields.len() as u64;
            totals.files += wanted.files.len() as u64;
            let mut found = differences(&imported, &wanted, &served);
            let changed = changed_files(self.export, self.served, &imported, &wanted, &served).await?;
            found.extend(changed.into_iter().map(|file| Difference::File(file, "content")));
            if found.is_empty() {
                totals.equal += 1;
                continue;
            }
            totals.different += 1;
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            output::line(&format!("different  {name}: {}", found.join(", ")))?;
        }
        let Totals {
            equal,
            different,
            missing,
            fields,
            files,
        } = totals;
        if different == 0 && missing == 0 {
            return output::line(&format!(
                "verified: {equal} items, {fields} fields, {files} files: equal"
            ));
        }
        output::line(&format!(
            "verified: {equal} items equal, {different} different, {missing} missing"
        ))?;
        Err(Failure::Found(
            "the server does not have everything as the export has it; the lines above say what".to_owned(),
        ))
    }
}

/// The names of files whose bytes differ, of those that both have with the same size.
pub(crate) async fn changed_files(
    export: &Export,
    served: &Served,
    imported: &ImportedItem,
    wanted: &Item,
    there: &Item,
) -> Result<Vec<String>, Failure> {
    let mut changed = Vec::new();
    for (file, wanted) in imported.files.iter().zip(&wanted.files) {
        let same = there
            .files
            .iter()
            .find(|other| other.id == wanted.id && other.size == wanted.size);
        let Some(other) = same else { continue };
        if export.digest(file).await? != served.digest(there, other).await? {
            changed.push(file.name.clone());
        }
    }
    Ok(changed)
}
