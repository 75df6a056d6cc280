//! The queries that an ExternalSecret sends to a store, and the state of the queries of one reconcile.

use std::collections::BTreeSet;
use std::sync::Arc;

use sidevault_go::regex::Regex;
use sidevault_model::filter::fold;
use sidevault_model::remote_ref::{self, Property};
use sidevault_model::{Item, ItemId, Timestamp, VaultId};

use super::dependencies::{Dependencies, Dependency};
use super::fields;
use super::{Connection, Freshness, ProviderError};
use crate::types::{Find, OnePassword, RemoteRef};
use crate::values::Values;

/// One entry of an ExternalSecret as a query to a store.
#[derive(Clone, Copy)]
pub(crate) enum RemoteQuery<'a> {
    /// One value: `data[].remoteRef`. The result has this value under the empty name.
    Value(&'a RemoteRef),
    /// All values of an item: `dataFrom[].extract`.
    Extract(&'a RemoteRef),
    /// Values of all items that match: `dataFrom[].find`.
    Find(&'a Find),
}

/// Identifies one state of an item: vault, id, version, and the time of its last change. The version alone does not:
/// the versions of an item that Sidevault reads from a directory start again at 1 after the data directory was lost.
pub(crate) type ItemVersion = (VaultId, ItemId, u32, Timestamp);

fn version_of(item: &Item) -> ItemVersion {
    (item.vault, item.id, item.version, item.updated_at)
}

/// The queries of one reconcile to one store. Records what their results depend on.
pub(crate) struct ProviderSession<'a> {
    pub(super) connection: &'a Connection,
    /// Names or ids of the store's vaults, in the order in which they are searched.
    pub(super) vaults: Vec<&'a str>,
    /// The vaults as External Secrets' messages show them.
    vaults_in_go: String,
    pub(super) freshness: Freshness,
    /// Whether an item counts as missing only if it is not in the lists of all items of the vaults either: a server may
    /// misread the filter for a title, and a 404 for an id may come from a proxy.
    pub(crate) lists_show_absence: bool,
    /// What the results so far depend on.
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
            vaults_in_go: format!("map[{}]", pairs.join(" ")),
            freshness,
            lists_show_absence: false,
            dependencies: Dependencies::default(),
            items: BTreeSet::new(),
        }
    }

    /// Runs a query and returns its values by name.
    ///
    /// # Errors
    /// See [`ProviderError`].
    pub(crate) async fn query(&mut self, query: RemoteQuery<'_>) -> Result<Values, ProviderError> {
        match query {
            RemoteQuery::Value(reference) => Ok(Values::from([(String::new(), self.value(reference).await?)])),
            RemoteQuery::Extract(reference) => self.values(reference).await,
            RemoteQuery::Find(find) => self.find(find).await,
        }
    }

    async fn value(&mut self, reference: &RemoteRef) -> Result<Vec<u8>, ProviderError> {
        let item = self.item(reference).await?;
        match Property::parse(item.category, &reference.property) {
            Property::Field(label) => fields::field(&item, label),
            Property::File(name) => {
                let file = remote_ref::files(&item, name).next();
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
        match Property::parse(item.category, &reference.property) {
            Property::Field(label) => fields::fields(&item, label, |_| true),
            Property::File(name) => {
                let mut values = Values::new();
                for file in remote_ref::files(&item, name) {
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

    /// Values of all items that match. If several values have the same name, the first is kept: vaults are searched in
    /// the store's order, items in the server's order, and the files of an item before its fields.
    async fn find(&mut self, find: &Find) -> Result<Values, ProviderError> {
        let pattern = match &find.name {
            None => None,
            Some(name) => Some(Regex::new(&name.regexp).map_err(|error| {
                let (pattern, why) = (&name.regexp, error.quoting(&name.regexp));
                ProviderError::Invalid(format!("could not compile find.name.regexp [{pattern}]: {why}"))
            })?),
        };
        let mut found = Values::new();
        for vault in self.vaults.clone() {
            let vault = self.connection.vault(vault, self.freshness).await?;
            self.dependencies.insert(Dependency::Vault(vault));
            for summary in self.connection.list(vault, self.freshness).await?.iter() {
                let tags = find.tags.as_ref().map(|tags| tags.keys().map(String::as_str));
                if remote_ref::find_selects(summary, tags, find.path.as_deref()) {
                    self.add(summary, pattern.as_ref(), &mut found).await?;
                }
            }
            // External Secrets searches tags in the first vault only.
            if find.tags.is_some() {
                break;
            }
        }
        Ok(found)
    }

    /// Adds the files and fields of an item whose names match, unless a value with the same name was found before.
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

    /// The item that a reference names, in the version that the reference names.
    async fn item(&mut self, reference: &RemoteRef) -> Result<Arc<Item>, ProviderError> {
        let version = match reference.version.as_str() {
            "" | "latest" => None,
            number => Some(number.parse().map_err(|_| {
                ProviderError::Invalid(format!(
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

    /// Finds an item by title or id in the first vault that has it.
    ///
    /// # Errors
    /// [`ProviderError::NoItem`] if no vault has it, [`ProviderError::Count`] if several items of a vault have the
    /// title.
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
            vaults: self.vaults_in_go.clone(),
        })
    }

    /// Fails if the list of all items of a vault contains an item that a query did not find.
    async fn check_lists(&self, key: &str) -> Result<(), ProviderError> {
        for vault in &self.vaults {
            let vault = self.connection.vault(vault, self.freshness).await?;
            let list = self.connection.list(vault, self.freshness).await?;
            if list
                .iter()
                .any(|item| item.id.as_str() == key || fold(&item.title) == fold(key))
            {
                return Err(ProviderError::Count(format!(
                    "the server's list of items contains '{key}', but the server did not find it by that name"
                )));
            }
        }
        Ok(())
    }
}

/// The names of the store's vaults in the order in which they are searched.
pub(super) fn in_order(store: &OnePassword) -> Vec<&str> {
    let mut vaults: Vec<_> = store.vaults.iter().collect();
    vaults.sort_by_key(|(_, order)| **order);
    vaults.into_iter().map(|(name, _)| name.as_str()).collect()
}
