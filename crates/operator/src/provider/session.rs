//! The questions an ExternalSecret can ask of a store.

use std::collections::BTreeSet;
use std::sync::Arc;

use sidevault_go::regex::Regex;
use sidevault_model::filter::fold;
use sidevault_model::{Item, ItemId, Timestamp, VaultId};

use super::dependencies::{Dependencies, Dependency};
use super::fields::{self, Property};
use super::{Connection, Freshness, ProviderError};
use crate::types::{Find, OnePassword, RemoteRef};
use crate::values::Values;

/// A query of an ExternalSecret.
#[derive(Clone, Copy)]
pub(crate) enum RemoteQuery<'a> {
    /// One value: `data[].remoteRef`. The answer has it under an empty name.
    Value(&'a RemoteRef),
    /// All values of an item: `dataFrom[].extract`.
    Extract(&'a RemoteRef),
    /// Values of all items that match: `dataFrom[].find`.
    Find(&'a Find),
}

/// An item as it was at a time: its vault, its id, its version, and when it was changed. A version alone does not tell:
/// one that is read from a directory starts anew with an empty disk.
pub(crate) type ItemVersion = (VaultId, ItemId, u32, Timestamp);

fn version_of(item: &Item) -> ItemVersion {
    (item.vault, item.id, item.version, item.updated_at)
}

/// A store, as asked for one reconcile. Keeps note of all that the answers hang on.
pub(crate) struct ProviderSession<'a> {
    pub(super) connection: &'a Connection,
    pub(super) vaults: Vec<&'a str>,
    shown: String,
    pub(super) freshness: Freshness,
    /// Whether an item counts as missing only if its vaults' lists do not have it either: a server may misread the filter
    /// for a title, and a 404 for an id may be a proxy's.
    pub(crate) lists_show_absence: bool,
    /// What the answers so far hang on.
    pub(crate) dependencies: Dependencies,
    /// The items that were read.
    pub(crate) items: BTreeSet<ItemVersion>,
}

impl<'a> ProviderSession<'a> {
    pub(crate) fn new(connection: &'a Connection, store: &'a OnePassword, freshness: Freshness) -> Self {
        let pairs: Vec<String> = store
            .vaults
            .iter()
            .map(|(name, order)| format!("{name}:{order}"))
            .collect();
        Self {
            connection,
            vaults: in_order(store),
            shown: format!("map[{}]", pairs.join(" ")),
            freshness,
            lists_show_absence: false,
            dependencies: Dependencies::default(),
            items: BTreeSet::new(),
        }
    }

    /// Answers a query.
    pub(crate) async fn query(&mut self, query: RemoteQuery<'_>) -> Result<Values, ProviderError> {
        match query {
            RemoteQuery::Value(reference) => Ok(Values::from([(String::new(), self.value(reference).await?)])),
            RemoteQuery::Extract(reference) => self.values(reference).await,
            RemoteQuery::Find(find) => self.find(find).await,
        }
    }

    async fn value(&mut self, reference: &RemoteRef) -> Result<Vec<u8>, ProviderError> {
        let item = self.item(reference).await?;
        match fields::property(&item.category, &reference.property) {
            Property::Field(label) => fields::field(&item, label),
            Property::File(name) => {
                let file = item.files.iter().find(|file| name.is_empty() || file.name == name);
                let Some(file) = file else {
                    return Err(ProviderError::Count(format!(
                        "error finding 1Password Document: '{}', '{name}'",
                        item.title
                    )));
                };
                let content = self
                    .connection
                    .file(item.vault, item.id, file.id, self.freshness)
                    .await?;
                Ok(content.to_vec())
            }
        }
    }

    async fn values(&mut self, reference: &RemoteRef) -> Result<Values, ProviderError> {
        let item = self.item(reference).await?;
        match fields::property(&item.category, &reference.property) {
            Property::Field(label) => fields::fields(&item, label, |_| true),
            Property::File(name) => {
                let mut values = Values::new();
                for file in item.files.iter().filter(|file| name.is_empty() || file.name == name) {
                    let content = self
                        .connection
                        .file(item.vault, item.id, file.id, self.freshness)
                        .await?;
                    values.insert(file.name.clone(), content.to_vec());
                }
                Ok(values)
            }
        }
    }

    /// Of two with one name the first stays: the first vault's, the
    /// oldest item's, a file's before a field's.
    async fn find(&mut self, find: &Find) -> Result<Values, ProviderError> {
        let pattern = match &find.name {
            None => None,
            Some(name) => Some(Regex::new(&name.regexp).map_err(|error| {
                let (pattern, why) = (&name.regexp, error.quoting(&name.regexp));
                ProviderError::Refused(format!("could not compile find.name.regexp [{pattern}]: {why}"))
            })?),
        };
        let mut found = Values::new();
        for vault in self.vaults.clone() {
            let vault = self.connection.vault(vault, self.freshness).await?;
            self.dependencies.insert(Dependency::Vault(vault));
            for summary in self.connection.list(vault, self.freshness).await?.iter() {
                let chosen = match &find.tags {
                    Some(tags) => tags.keys().all(|tag| summary.tags.contains(tag)),
                    None => find.path.as_ref().is_none_or(|path| *path == summary.title),
                };
                if chosen {
                    self.add(summary, pattern.as_ref(), &mut found).await?;
                }
            }
            // External Secrets looks for tags in the first vault only.
            if find.tags.is_some() {
                break;
            }
        }
        Ok(found)
    }

    async fn add(&mut self, summary: &Item, pattern: Option<&Regex>, found: &mut Values) -> Result<(), ProviderError> {
        let matches = |name: &str| pattern.is_none_or(|pattern| pattern.is_match(name));
        for file in &summary.files {
            if matches(&file.name) && !found.contains_key(&file.name) {
                let content = self
                    .connection
                    .file(summary.vault, summary.id, file.id, self.freshness)
                    .await?;
                found.insert(file.name.clone(), content.to_vec());
            }
        }
        let item = self
            .connection
            .item(summary.vault, summary.id, None, self.freshness)
            .await?;
        self.items.insert(version_of(&item));
        for (label, value) in fields::fields(&item, "", matches)? {
            found.entry(label).or_insert(value);
        }
        Ok(())
    }

    /// The item a reference names, in the version it names.
    async fn item(&mut self, reference: &RemoteRef) -> Result<Arc<Item>, ProviderError> {
        let version = match reference.version.as_str() {
            "" | "latest" => None,
            number => Some(number.parse().map_err(|_| {
                ProviderError::Refused(format!(
                    "'remoteRef.version' is {number:?}: it must be empty, \"latest\", or the number of a version"
                ))
            })?),
        };
        let (vault, item) = self.locate(&reference.key).await?;
        self.dependencies.insert(Dependency::Item(vault, item));
        let item = self.connection.item(vault, item, version, self.freshness).await?;
        self.items.insert(version_of(&item));
        Ok(item)
    }

    /// Where an item is: the first vault that has it.
    pub(super) async fn locate(&mut self, key: &str) -> Result<(VaultId, ItemId), ProviderError> {
        for vault in self.vaults.clone() {
            let vault = self.connection.vault(vault, self.freshness).await?;
            if let Ok(id) = ItemId::parse(key) {
                match self.connection.item(vault, id, None, self.freshness).await {
                    Ok(_) => return Ok((vault, id)),
                    Err(ProviderError::Client { cause, .. }) if cause.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            } else {
                match *self.connection.titled(vault, key, self.freshness).await?.as_slice() {
                    [] => {}
                    [item] => return Ok((vault, item)),
                    ref several => {
                        self.dependencies.insert(Dependency::Absent(vault, key.to_owned()));
                        return Err(ProviderError::Count(format!(
                            "expected one 1Password Item matching: '{key}', got {}",
                            several.len()
                        )));
                    }
                }
            }
            self.dependencies.insert(Dependency::Absent(vault, key.to_owned()));
        }
        if self.lists_show_absence {
            self.check_lists(key).await?;
        }
        Err(ProviderError::NoItem {
            key: key.to_owned(),
            vaults: self.shown.clone(),
        })
    }

    /// Refuses to call an item missing that a vault's list has.
    async fn check_lists(&self, key: &str) -> Result<(), ProviderError> {
        for vault in &self.vaults {
            let vault = self.connection.vault(vault, self.freshness).await?;
            let list = self.connection.list(vault, self.freshness).await?;
            if list
                .iter()
                .any(|item| item.id.as_str() == key || fold(&item.title) == fold(key))
            {
                return Err(ProviderError::Count(format!(
                    "the server does not find '{key}', though its list of items has it"
                )));
            }
        }
        Ok(())
    }
}

/// The vaults in the order they are searched.
pub(super) fn in_order(store: &OnePassword) -> Vec<&str> {
    let mut vaults: Vec<_> = store.vaults.iter().collect();
    vaults.sort_by_key(|(_, order)| **order);
    vaults.into_iter().map(|(name, _)| name.as_str()).collect()
}
