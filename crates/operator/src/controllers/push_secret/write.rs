//! Writes the values of a plan to a store, and deletes values from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use sidevault_model::remote_ref::label;

use super::plan::{Entry, status_key};
use crate::metrics::Metrics;
use crate::provider::{Connections, Freshness, ProviderError, ProviderSession, Put, PutMetadata, Write};
use crate::types::{PushData, Store, UpdatePolicy};

/// What the status has of one store: the written values by item (and property).
pub(super) type Synced = BTreeMap<String, PushData>;

/// What was written to a store.
#[derive(Default)]
pub(super) struct Written {
    /// The values that are in the store now.
    pub(super) synced: Synced,
    /// Whether any of them was written.
    pub(super) changed: bool,
    /// The first error. It does not keep the other items from being written.
    pub(super) error: Option<String>,
}

/// Writes items to the Connect servers of stores.
pub(crate) struct ItemWriter {
    pub(crate) connections: Arc<Connections>,
    pub(crate) metrics: Arc<Metrics>,
}

impl ItemWriter {
    /// Writes a plan. Each item is written in one request, so that no reader sees an item with half of its values.
    pub(super) async fn put(&self, store: &Store, entries: &[Entry], policy: UpdatePolicy) -> Written {
        let name = store.metadata.name.as_deref().unwrap_or_default();
        let mut written = Written::default();
        for (put, of) in by_item(entries, policy) {
            if let Some(error) = of.iter().find_map(|entry| entry.value.as_ref().err()) {
                written.error.get_or_insert_with(|| error.clone());
                continue;
            }
            let result = match put {
                Ok(put) => self.write(store, Write::Put(&put)).await,
                Err(error) => Err(error),
            };
            self.metrics.called("PushSecret", result.is_ok());
            match result {
                Ok(changed) => {
                    written.changed |= changed;
                    let synced = of.iter().map(|entry| (status_key(&entry.data), entry.data.clone()));
                    written.synced.extend(synced);
                }
                Err(error) => {
                    let keys: Vec<&str> = of.iter().map(|entry| entry.data.match_.secret_key.as_str()).collect();
                    let keys = keys.join(", ");
                    let error = format!("could not write remote ref {keys} to target secretstore {name}: {error}");
                    written.error.get_or_insert(error);
                }
            }
        }
        written
    }

    /// Deletes from a store the values that are `synced` and not `wanted`, and removes them from `synced`. Returns whether
    /// anything was deleted.
    ///
    /// # Errors
    /// The first item that could not be changed.
    pub(super) async fn delete(&self, store: &Store, synced: &mut Synced, wanted: &Synced) -> Result<bool, String> {
        let mut changed = false;
        for (title, outdated) in outdated(synced, wanted) {
            let properties: Vec<&str> = outdated.iter().map(|(_, property)| property.as_str()).collect();
            let result = self.write(store, Write::Withdraw(&title, &properties)).await;
            self.metrics.called("DeleteSecret", result.is_ok());
            changed |= result.map_err(|error| error.to_string())?;
            for (key, _) in &outdated {
                synced.remove(key);
            }
        }
        synced.retain(|key, _| wanted.contains_key(key));
        Ok(changed)
    }

    /// Writes to one item. If the server refuses the token, the token's Secret is read again, and with a new token the write is
    /// repeated once.
    async fn write(&self, store: &Store, write: Write<'_>) -> Result<bool, ProviderError> {
        match self.write_once(store, write).await {
            Err((error, connection)) if error.is_denied() => {
                self.connections.forget_token(store);
                let renewed = self.connections.of(store).await;
                if renewed.is_ok_and(|renewed| renewed.id != connection) {
                    self.write_once(store, write).await.map_err(|(error, _)| error)
                } else {
                    Err(error)
                }
            }
            result => result.map_err(|(error, _)| error),
        }
    }

    /// As [`write`](Self::write), without the repetition. An error comes with the id of the connection, 0 if there is none.
    async fn write_once(&self, store: &Store, write: Write<'_>) -> Result<bool, (ProviderError, u64)> {
        let connection = self.connections.of(store).await.map_err(|error| (error, 0))?;
        let Some(config) = &store.spec.provider.onepassword else {
            return Err((ProviderError::Store("nil spec.provider.onepassword".to_owned()), 0));
        };
        let freshness = Freshness {
            not_before: Instant::now(),
            or_unchanged: false,
        };
        let written = ProviderSession::new(&connection, config, freshness).write(write).await;
        written.map_err(|error| (error, connection.id))
    }
}

/// The write of one item, and the entries that are in it.
type Item<'a> = (Result<Put, ProviderError>, Vec<&'a Entry>);

/// Groups entries by item, in the order of each item's first entry. Of two values for one field the later counts, as if they
/// were written one after the other; with the policy `IfNotExists`, the earlier.
fn by_item(entries: &[Entry], policy: UpdatePolicy) -> Vec<Item<'_>> {
    let mut items: Vec<(&str, Item<'_>)> = Vec::new();
    for entry in entries {
        let to = &entry.data.match_.remote_ref;
        let metadata = PutMetadata::parse(entry.data.metadata.as_ref());
        let known = items.iter().position(|(title, _)| *title == to.remote_key);
        let index = known.unwrap_or_else(|| {
            let new = Put {
                title: to.remote_key.clone(),
                only_missing: policy == UpdatePolicy::IfNotExists,
                ..Put::default()
            };
            items.push((&to.remote_key, (Ok(new), Vec::new())));
            items.len() - 1
        });
        let (put, of) = &mut items[index].1;
        of.push(entry);
        match (&mut *put, metadata) {
            (Ok(put), Ok(metadata)) => {
                put.metadata.tags = metadata.tags.or(put.metadata.tags.take());
                // A new item is created in the vault that its first entry names.
                put.metadata.vault = put.metadata.vault.take().or(metadata.vault);
                let value = (to.property.clone(), entry.value.clone().unwrap_or_default());
                match put
                    .values
                    .iter_mut()
                    .find(|(property, _)| label(property) == label(&to.property))
                {
                    None => put.values.push(value),
                    Some(known) if policy == UpdatePolicy::Replace => *known = value,
                    Some(_) => {}
                }
            }
            (Ok(_), Err(error)) => *put = Err(error),
            (Err(_), _) => {}
        }
    }
    items.into_iter().map(|(_, item)| item).collect()
}

/// The synced values that are not wanted, by item: their keys in the status, with their properties. Without those that go to
/// the same field as a wanted value under another spelling of the property.
fn outdated(known: &Synced, wanted: &Synced) -> BTreeMap<String, Vec<(String, String)>> {
    let field = |data: &PushData| {
        let at = &data.match_.remote_ref;
        (at.remote_key.clone(), label(&at.property).to_owned())
    };
    let wanted_fields: BTreeSet<(String, String)> = wanted.values().map(field).collect();
    let mut outdated: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (key, data) in known
        .iter()
        .filter(|(key, data)| !wanted.contains_key(*key) && !wanted_fields.contains(&field(data)))
    {
        let at = &data.match_.remote_ref;
        outdated
            .entry(at.remote_key.clone())
            .or_default()
            .push((key.clone(), at.property.clone()));
    }
    outdated
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data(title: &str, property: &str, metadata: serde_json::Value) -> PushData {
        serde_json::from_value(json!({
            "match": { "secretKey": "k", "remoteRef": { "remoteKey": title, "property": property } },
            "metadata": metadata,
        }))
        .unwrap()
    }

    fn entry(title: &str, property: &str, value: &str, metadata: serde_json::Value) -> Entry {
        let value = Ok(value.to_owned());
        Entry {
            data: data(title, property, metadata),
            value,
        }
    }

    fn spec(spec: serde_json::Value) -> serde_json::Value {
        json!({ "apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata", "spec": spec })
    }

    fn synced(all: &[(&str, &str)]) -> Synced {
        let all = all
            .iter()
            .map(|(title, property)| data(title, property, serde_json::Value::Null));
        all.map(|data| (status_key(&data), data)).collect()
    }

    #[test]
    fn all_values_of_an_item_are_written_in_one_request() {
        let entries = [
            entry("db", "user", "u", spec(json!({ "vault": "Home", "tags": ["a"] }))),
            entry("api", "", "k", json!(null)),
            entry("db", "", "old", json!(null)),
            entry("db", "password", "new", spec(json!({ "tags": ["b"] }))),
        ];
        let items = by_item(&entries, UpdatePolicy::Replace);
        let titles: Vec<&str> = items
            .iter()
            .map(|(put, _)| put.as_ref().unwrap().title.as_str())
            .collect();
        assert_eq!(titles, ["db", "api"]);
        let (db, of) = &items[0];
        let db = db.as_ref().unwrap();
        let value = |property: &str, value: &str| (property.to_owned(), value.to_owned());
        assert_eq!(db.values, [value("user", "u"), value("password", "new")]);
        assert_eq!(
            (db.metadata.vault.as_deref(), db.metadata.tags.as_deref()),
            (Some("Home"), Some(&["b".to_owned()][..]))
        );
        assert_eq!(of.len(), 3);
        let kept = by_item(&entries, UpdatePolicy::IfNotExists);
        assert_eq!(kept[0].0.as_ref().unwrap().values[1], value("", "old"));
    }

    #[test]
    fn invalid_metadata_fails_its_own_item_only() {
        let entries = [
            entry("db", "", "x", json!({ "tags": [] })),
            entry("api", "", "x", json!(null)),
        ];
        let items = by_item(&entries, UpdatePolicy::Replace);
        assert!(items[0].0.is_err() && items[1].0.is_ok());
    }

    #[test]
    fn unwanted_values_are_deleted_unless_their_field_is_still_wanted() {
        let known = synced(&[("db", ""), ("db", "user"), ("api", "key")]);
        let gone = outdated(&known, &synced(&[("db", "password")]));
        let pair = |key: &str, property: &str| (key.to_owned(), property.to_owned());
        assert_eq!(gone.len(), 2);
        assert_eq!(gone["db"], [pair("db/user", "user")]);
        assert_eq!(gone["api"], [pair("api/key", "key")]);
    }
}
