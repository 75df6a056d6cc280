//! Values of a plan are written to a store, and taken out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::plan::{Entry, status_key};
use crate::operator::Operator;
use crate::provider::{Freshness, ProviderError, ProviderSession, Put, PutMetadata, Write, label};
use crate::types::{PushData, Store, UpdatePolicy};

/// What the status tells of one store: by item (and property), what was written.
pub(super) type Synced = BTreeMap<String, PushData>;

/// What came of writing to a store.
#[derive(Default)]
pub(super) struct Written {
    /// What is there now.
    pub(super) synced: Synced,
    /// Whether that took a write.
    pub(super) changed: bool,
    /// The first thing that went wrong. The other items are written all the same.
    pub(super) error: Option<String>,
}

/// Writes a plan: one write an item, so that no item is ever there with half of its values.
pub(super) async fn put(operator: &Operator, store: &Store, entries: &[Entry], policy: UpdatePolicy) -> Written {
    let name = store.metadata.name.as_deref().unwrap_or_default();
    let mut written = Written::default();
    for (put, of) in by_item(entries, policy) {
        if let Some(why) = of.iter().find_map(|entry| entry.value.as_ref().err()) {
            written.error.get_or_insert_with(|| why.clone());
            continue;
        }
        let outcome = match put {
            Ok(put) => write(operator, store, Write::Put(&put)).await,
            Err(error) => Err(error),
        };
        operator.metrics.called("PushSecret", outcome.is_ok());
        match outcome {
            Ok(changed) => {
                written.changed |= changed;
                written
                    .synced
                    .extend(of.iter().map(|entry| (status_key(&entry.data), entry.data.clone())));
            }
            Err(error) => {
                let keys: Vec<&str> = of.iter().map(|entry| entry.data.match_.secret_key.as_str()).collect();
                let keys = keys.join(", ");
                let what = format!("could not write remote ref {keys} to target secretstore {name}: {error}");
                written.error.get_or_insert(what);
            }
        }
    }
    written
}

/// Takes out of a store what was written there and is not to be there any more. The answer is whether that took a
/// write; `known` loses what is gone.
///
/// # Errors
/// The first thing that went wrong.
pub(super) async fn withdraw(
    operator: &Operator,
    store: &Store,
    known: &mut Synced,
    wanted: &Synced,
) -> Result<bool, String> {
    let mut changed = false;
    for (title, gone) in outdated(known, wanted) {
        let properties: Vec<&str> = gone.iter().map(|(_, property)| property.as_str()).collect();
        let outcome = write(operator, store, Write::Withdraw(&title, &properties)).await;
        operator.metrics.called("DeleteSecret", outcome.is_ok());
        changed |= outcome.map_err(|error| error.to_string())?;
        gone.iter().for_each(|(key, _)| drop(known.remove(key)));
    }
    known.retain(|key, _| wanted.contains_key(key));
    Ok(changed)
}

type Item<'a> = (Result<Put, ProviderError>, Vec<&'a Entry>);

/// Entries by item, in the order of the items' first ones. Of two values for one field the later stays, as if they
/// were written one after the other; where what is there is to stay, the earlier.
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
                // An item is made in the vault its first entry names.
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

/// What is to be taken out, by item: keys of the status with properties. A value that goes to the same field as one
/// that is wanted, only spelled otherwise, is not.
fn outdated(known: &Synced, wanted: &Synced) -> BTreeMap<String, Vec<(String, String)>> {
    let field = |data: &PushData| {
        let at = &data.match_.remote_ref;
        (at.remote_key.clone(), label(&at.property).to_owned())
    };
    let live: BTreeSet<(String, String)> = wanted.values().map(field).collect();
    let mut outdated: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (key, data) in known
        .iter()
        .filter(|(key, data)| !wanted.contains_key(*key) && !live.contains(&field(data)))
    {
        let at = &data.match_.remote_ref;
        outdated
            .entry(at.remote_key.clone())
            .or_default()
            .push((key.clone(), at.property.clone()));
    }
    outdated
}

/// Writes. A token that is refused may have been replaced: its Secret is looked at, and it is tried once more.
async fn write(operator: &Operator, store: &Store, what: Write<'_>) -> Result<bool, ProviderError> {
    match write_once(operator, store, what).await {
        Err((error, connection)) if error.is_denied() => {
            operator.connections.forget_token(store);
            let renewed = operator.connections.of(store).await;
            match renewed.is_ok_and(|renewed| renewed.id != connection) {
                true => write_once(operator, store, what).await.map_err(|(error, _)| error),
                false => Err(error),
            }
        }
        outcome => outcome.map_err(|(error, _)| error),
    }
}

async fn write_once(operator: &Operator, store: &Store, what: Write<'_>) -> Result<bool, (ProviderError, u64)> {
    let connection = operator.connections.of(store).await.map_err(|error| (error, 0))?;
    let Some(config) = &store.spec.provider.onepassword else {
        return Err((ProviderError::Store("nil spec.provider.onepassword".to_owned()), 0));
    };
    let freshness = Freshness {
        not_before: Instant::now(),
        or_unchanged: false,
    };
    ProviderSession::new(&connection, config, freshness)
        .write(what)
        .await
        .map_err(|error| (error, connection.id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
    fn an_item_is_written_once_with_all_its_values() {
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
    fn bad_metadata_stops_its_item_only() {
        let entries = [
            entry("db", "", "x", json!({ "tags": [] })),
            entry("api", "", "x", json!(null)),
        ];
        let items = by_item(&entries, UpdatePolicy::Replace);
        assert!(items[0].0.is_err() && items[1].0.is_ok());
    }

    #[test]
    fn what_is_no_longer_wanted_is_taken_out_unless_it_is_the_same_field() {
        let known = synced(&[("db", ""), ("db", "user"), ("api", "key")]);
        let gone = outdated(&known, &synced(&[("db", "password")]));
        let pair = |key: &str, property: &str| (key.to_owned(), property.to_owned());
        assert_eq!(gone.len(), 2);
        assert_eq!(gone["db"], [pair("db/user", "user")]);
        assert_eq!(gone["api"], [pair("api/key", "key")]);
    }
}
