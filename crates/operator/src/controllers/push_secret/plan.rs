//! Computes which values of a Secret go to which item and field. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sidevault_go::regex::Regex;

use super::stores::selects;
use crate::stores::named;
use crate::types::{
    PushConversion, PushData, PushDataTo, PushMatch, PushRemoteRef, PushRewrite, PushSecretSpec, PushStoreRef, Store,
};
use crate::values::{Values, keys, rewrite};

/// A value to be written.
pub(super) struct Entry {
    /// The value's key in the Secret, and its item and property. This is what the status has of the value.
    pub(super) data: PushData,
    /// The value, or why there is none. That does not keep the other values from being written.
    pub(super) value: Result<String, String>,
}

/// Checks the stores that `dataTo` names.
///
/// # Errors
/// The first invalid entry.
pub(super) fn check_store_refs(spec: &PushSecretSpec) -> Result<(), String> {
    for (index, many) in spec.data_to.iter().enumerate() {
        let Some(reference) = &many.store_ref else {
            return Err(format!("dataTo[{index}]: storeRef is required"));
        };
        if reference.name.is_empty() && reference.label_selector.is_none() {
            return Err(format!("dataTo[{index}]: storeRef must have name or labelSelector"));
        }
        let is_same =
            |known: &PushStoreRef| known.name == reference.name && named(known).kind() == named(reference).kind();
        if !reference.name.is_empty() && !spec.secret_store_refs.iter().any(is_same) {
            let name = &reference.name;
            return Err(format!(
                "dataTo[{index}]: storeRef {name:?} not found in secretStoreRefs"
            ));
        }
    }
    Ok(())
}

/// All values that go from a Secret to a store.
///
/// # Errors
/// Entries that contradict each other. The text has no value.
pub(super) fn plan(spec: &PushSecretSpec, secret: &Values, store: &Store) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<(PushData, Option<Values>)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, many) in spec.data_to.iter().enumerate() {
        let failed = |error: String| format!("failed to expand dataTo: dataTo[{index}]: {error}");
        let Some(reference) = &many.store_ref else {
            return Err(failed("storeRef is required".to_owned()));
        };
        if !selects(reference, store).map_err(failed)? {
            continue;
        }
        for (data, bundle) in expand(many, secret).map_err(failed)? {
            let to = &data.match_.remote_ref.remote_key;
            if !seen.insert(to.clone()) {
                return Err(failed(format!(
                    "duplicate remote key {to:?} from source key {:?}",
                    data.match_.secret_key
                )));
            }
            entries.push((data, bundle));
        }
    }
    // An entry of `data` replaces those of `dataTo` that have the same key.
    let replaced: BTreeSet<String> = spec.data.iter().map(|data| source_key(data, secret)).collect();
    entries.retain(|(data, _)| !replaced.contains(&data.match_.secret_key));
    entries.extend(spec.data.iter().map(|data| (data.clone(), None)));
    let mut destinations: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (data, _) in &entries {
        let (to, from) = (&data.match_.remote_ref, &data.match_.secret_key);
        if let Some(other) = destinations.insert((&to.remote_key, &to.property), from) {
            let property = match to.property.as_str() {
                "" => String::new(),
                property => format!(" with property {property:?}"),
            };
            return Err(format!(
                "failed to merge data entries: duplicate remote key {:?}{property}: source keys {other:?} and {from:?} \
                 both map to the same destination",
                to.remote_key
            ));
        }
    }
    let entry = |(data, bundle): (PushData, Option<Values>)| {
        let value = value_of(&data, bundle.as_ref().unwrap_or(secret));
        Entry { data, value }
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// The entries that one entry of `dataTo` stands for. If it bundles many values into one item, with these values.
fn expand(many: &PushDataTo, secret: &Values) -> Result<Vec<(PushData, Option<Values>)>, String> {
    if !many.remote_key.is_empty() && !many.rewrite.is_empty() {
        return Err(
            "remoteKey and rewrite are mutually exclusive: rewrite is only supported in per-key mode (without \
                    remoteKey)"
                .to_owned(),
        );
    }
    let strategy = many.conversion_strategy.unwrap_or_default();
    reverse_keys(strategy, secret).map_err(|error| format!("conversion failed: {error}"))?;
    let pattern = match many
        .match_
        .as_ref()
        .map(|match_| match_.regexp.as_str())
        .unwrap_or_default()
    {
        "" => None,
        pattern => Some(Regex::new(pattern).map_err(|error| {
            let why = error.quoting(pattern);
            format!("match failed: failed to compile regexp pattern {pattern:?}: {why}")
        })?),
    };
    // Sorted by the name that is matched, which is the order of the entries.
    let matched: BTreeMap<String, &String> = secret
        .keys()
        .map(|key| (keys::reverse(strategy, key), key))
        .filter(|(name, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name)))
        .collect();
    if matched.is_empty() {
        return Ok(Vec::new());
    }
    let data = |secret_key: &str, remote_key: String| PushData {
        match_: PushMatch {
            secret_key: secret_key.to_owned(),
            remote_ref: PushRemoteRef {
                remote_key,
                property: String::new(),
            },
        },
        metadata: many.metadata.clone(),
        conversion_strategy: Some(PushConversion::None),
    };
    if !many.remote_key.is_empty() {
        let values = matched
            .iter()
            .map(|(name, key)| (name.clone(), secret.get(*key).cloned().unwrap_or_default()));
        return Ok(vec![(data("", many.remote_key.clone()), Some(values.collect()))]);
    }
    matched
        .into_iter()
        .map(|(name, key)| {
            let to = rewrite_name(&many.rewrite, name.clone()).map_err(|error| format!("rewrite failed: {error}"))?;
            if to.is_empty() {
                return Err(format!("empty remote key produced for source key {name:?}"));
            }
            Ok((data(key, to), None))
        })
        .collect()
}

/// The item's title that the rewrites make of a key.
fn rewrite_name(operations: &[PushRewrite], mut name: String) -> Result<String, String> {
    for (index, operation) in operations.iter().enumerate() {
        let one = Values::from([(name.clone(), Vec::new())]);
        let after = match operation {
            PushRewrite { regexp: Some(with), .. } => rewrite::regexp(with, one),
            PushRewrite {
                transform: Some(with), ..
            } => rewrite::transform(with, one),
            _ => continue,
        };
        let after = after.map_err(|error| format!("rewrite[{index}] on key {name:?}: {error}"))?;
        name = after.values.into_keys().next().unwrap_or_default();
    }
    Ok(name)
}

/// The key in the Secret for an entry of `data`, whose `secretKey` may be a converted one.
fn source_key(data: &PushData, secret: &Values) -> String {
    let (key, strategy) = (&data.match_.secret_key, data.conversion_strategy.unwrap_or_default());
    let own = secret
        .keys()
        .find(|own| strategy != PushConversion::None && keys::reverse(strategy, own) == *key);
    own.unwrap_or(key).clone()
}

/// The values under the keys that a conversion strategy makes of theirs.
fn reverse_keys(strategy: PushConversion, values: &Values) -> Result<Values, String> {
    let mut out = Values::new();
    for (key, value) in values {
        let name = keys::reverse(strategy, key);
        if out.insert(name.clone(), value.clone()).is_some() {
            return Err(format!("secret name collision during conversion: {name}"));
        }
    }
    Ok(out)
}

/// The text to write for an entry.
fn value_of(data: &PushData, values: &Values) -> Result<String, String> {
    let values = match data.conversion_strategy.unwrap_or_default() {
        PushConversion::None => Cow::Borrowed(values),
        strategy => Cow::Owned(
            reverse_keys(strategy, values)
                .map_err(|error| format!("could not apply conversion strategy to keys: {error}"))?,
        ),
    };
    let text = |key: &str, value: &[u8]| {
        let text = std::str::from_utf8(value).map(str::to_owned);
        text.map_err(|_| format!("the value of secret key {key} is not UTF-8 text; encode it with spec.template"))
    };
    let key = &data.match_.secret_key;
    if key.is_empty() {
        // An empty key stands for all values. External Secrets' other providers write this JSON; its provider for 1Password
        // refuses it.
        let all: BTreeMap<&String, String> = values
            .iter()
            .map(|(key, value)| Ok((key, text(key, value)?)))
            .collect::<Result<_, String>>()?;
        return serde_json::to_string(&all).map_err(|error| error.to_string());
    }
    let value = values
        .get(key)
        .ok_or_else(|| format!("secret key {key} does not exist"))?;
    text(key, value)
}

/// The key of an entry in the status.
pub(super) fn status_key(data: &PushData) -> String {
    let to = &data.match_.remote_ref;
    match to.property.as_str() {
        "" => to.remote_key.clone(),
        property => format!("{}/{property}", to.remote_key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret() -> Values {
        [("db-user", "u"), ("db-pass", "p"), ("api_U0020_key", "k")]
            .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()))
            .into()
    }

    fn store() -> Store {
        serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1", "kind": "SecretStore",
            "metadata": { "name": "s", "namespace": "n", "labels": { "env": "prod" } }, "spec": { "provider": {} },
        }))
        .unwrap()
    }

    fn planned(spec: serde_json::Value) -> Result<Vec<(String, String, String)>, String> {
        let spec: PushSecretSpec = serde_json::from_value(spec).unwrap();
        let entries = plan(&spec, &secret(), &store())?;
        let triple = |e: Entry| Ok((e.data.match_.secret_key.clone(), status_key(&e.data), e.value?));
        entries.into_iter().map(triple).collect()
    }

    fn triple(key: &str, to: &str, value: &str) -> (String, String, String) {
        (key.to_owned(), to.to_owned(), value.to_owned())
    }

    #[test]
    fn an_entry_of_data_goes_to_its_item_and_property() {
        let spec = json!({ "data": [
            { "match": { "secretKey": "db-user", "remoteRef": { "remoteKey": "db", "property": "user" } } },
            { "match": { "secretKey": "api key", "remoteRef": { "remoteKey": "api" } }, "conversionStrategy": "ReverseUnicode" },
        ] });
        assert_eq!(
            planned(spec).unwrap(),
            [triple("db-user", "db/user", "u"), triple("api key", "api", "k")]
        );
        let missing = json!({ "data": [{ "match": { "secretKey": "x", "remoteRef": { "remoteKey": "db" } } }] });
        assert_eq!(planned(missing).unwrap_err(), "secret key x does not exist");
    }

    #[test]
    fn data_to_makes_one_item_per_value_or_one_bundle() {
        let each = json!({ "dataTo": [{
            "storeRef": { "name": "s" }, "match": { "regexp": "^db-" },
            "rewrite": [{ "regexp": { "source": "^db-(.*)$", "target": "prod-$1" } }],
        }] });
        assert_eq!(
            planned(each).unwrap(),
            [triple("db-pass", "prod-pass", "p"), triple("db-user", "prod-user", "u")]
        );
        let bundle = json!({ "dataTo": [{
            "storeRef": { "labelSelector": { "matchLabels": { "env": "prod" } } }, "remoteKey": "all",
            "conversionStrategy": "ReverseUnicode", "match": { "regexp": "user|key" },
        }] });
        assert_eq!(
            planned(bundle).unwrap(),
            [triple("", "all", r#"{"api key":"k","db-user":"u"}"#)]
        );
        let other_store = json!({ "dataTo": [{ "storeRef": { "name": "other" }, "remoteKey": "all" }] });
        assert!(planned(other_store).unwrap().is_empty());
    }

    #[test]
    fn an_entry_of_data_replaces_that_of_data_to() {
        let spec = json!({
            "dataTo": [{ "storeRef": { "name": "s" }, "match": { "regexp": "^api" }, "conversionStrategy": "ReverseUnicode" },
                       { "storeRef": { "name": "s" }, "match": { "regexp": "^db-user$" } }],
            "data": [{ "match": { "secretKey": "api key", "remoteRef": { "remoteKey": "mine" } },
                       "conversionStrategy": "ReverseUnicode" }],
        });
        assert_eq!(
            planned(spec).unwrap(),
            [triple("db-user", "db-user", "u"), triple("api key", "mine", "k")]
        );
    }

    #[test]
    fn two_values_for_one_property_are_refused() {
        let to =
            |key: &str| json!({ "match": { "secretKey": key, "remoteRef": { "remoteKey": "db", "property": "x" } } });
        let error = planned(json!({ "data": [to("db-user"), to("db-pass")] })).unwrap_err();
        assert!(error.ends_with(
            "duplicate remote key \"db\" with property \"x\": source keys \"db-user\" and \"db-pass\" both map to the \
             same destination"
        ));
        let same = json!({ "regexp": { "source": ".*", "target": "x" } });
        let many =
            json!({ "dataTo": [{ "storeRef": { "name": "s" }, "match": { "regexp": "^db" }, "rewrite": [same] }] });
        assert!(planned(many).unwrap_err().contains("duplicate remote key \"x\""));
    }

    #[test]
    fn a_value_that_is_not_utf8_is_refused_and_not_quoted() {
        let binary = Values::from([("k".to_owned(), vec![0xff, 0xfe])]);
        let data = PushData {
            match_: PushMatch {
                secret_key: "k".to_owned(),
                ..PushMatch::default()
            },
            ..PushData::default()
        };
        assert!(
            value_of(&data, &binary)
                .unwrap_err()
                .contains("secret key k is not UTF-8")
        );
    }

    #[test]
    fn data_to_must_name_a_store_of_secret_store_refs() {
        let check = |spec: serde_json::Value| check_store_refs(&serde_json::from_value(spec).unwrap());
        assert_eq!(
            check(json!({ "dataTo": [{}] })).unwrap_err(),
            "dataTo[0]: storeRef is required"
        );
        let refs = json!([{ "name": "s" }]);
        let spec = |store: serde_json::Value| json!({ "secretStoreRefs": refs, "dataTo": [{ "storeRef": store }] });
        assert!(check(spec(json!({ "name": "s", "kind": "SecretStore" }))).is_ok());
        assert!(check(spec(json!({ "name": "s", "kind": "ClusterSecretStore" }))).is_err());
        assert!(check(spec(json!({ "labelSelector": {} }))).is_ok());
        assert!(
            check(spec(json!({})))
                .unwrap_err()
                .ends_with("must have name or labelSelector")
        );
    }
}
