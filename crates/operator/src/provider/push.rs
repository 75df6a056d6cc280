//! Values that are written to a server: PushSecret.
//!
//! Fields are changed by PATCH, one by one, so that nothing else of an item is touched, whoever changes it meanwhile.
//! What is there already is not written again.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use sidevault_client::ClientError;
use sidevault_model::patch::{Op, Operation};
use sidevault_model::{Field, FieldInput, FieldType, Item, ItemId, ItemInput, Purpose, VaultId};

use super::find::Source;
use super::{Need, ProviderError};

const API_VERSION: &str = "kubernetes.external-secrets.io/v1alpha1";
const KIND: &str = "PushSecretMetadata";
/// The label of a value that says none.
const PASSWORD: &str = "password";
/// The category of new items.
const CATEGORY: &str = "SERVER";
const CREATE: &str = "error creating 1Password Item";
const UPDATE: &str = "error updating 1Password Item";
const DELETE: &str = "error deleting 1Password Item";
/// 1Password's Connect answers before a new item can be found. How long, and how often, it is looked for.
const APPEARS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(500);

/// What is to be written.
#[derive(Clone, Copy)]
pub(crate) enum Write<'a> {
    /// Values of one item are to be there.
    Put(&'a Put),
    /// Values of one item, by title and property, are to be gone.
    Withdraw(&'a str, &'a [&'a str]),
}

/// Values of one item.
#[derive(Default)]
pub(crate) struct Put {
    /// The item's title or id.
    pub(crate) title: String,
    /// Property (empty for the usual one) and value.
    pub(crate) values: Vec<(String, String)>,
    /// Tags and vault.
    pub(crate) metadata: PutMetadata,
    /// What is there stays as it is.
    pub(crate) only_missing: bool,
}

/// Tags and vault: `metadata.spec` of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PutMetadata {
    /// The item's tags, in place of those it has.
    pub(crate) tags: Option<Vec<String>>,
    /// The vault of a new item.
    pub(crate) vault: Option<String>,
}

impl PutMetadata {
    /// Reads an entry's `metadata`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(metadata: Option<&Value>) -> Result<Self, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        struct Envelope {
            api_version: String,
            kind: String,
            spec: Option<PutMetadata>,
        }
        impl Default for Envelope {
            fn default() -> Self {
                Self {
                    api_version: String::new(),
                    kind: String::new(),
                    spec: None,
                }
            }
        }
        let refuse = |why: String| ProviderError::Refused(format!("failed to parse push secret metadata: {why}"));
        let Some(metadata) = metadata else {
            return Ok(Self::default());
        };
        let read: Envelope = serde_json::from_value(metadata.clone())
            .map_err(|error| refuse(format!("failed to parse {API_VERSION} {KIND}: {error}")))?;
        for (what, is, must_be) in [("apiVersion", &read.api_version, API_VERSION), ("kind", &read.kind, KIND)] {
            if is != must_be {
                return Err(refuse(format!("unexpected {what} {is:?}, expected {must_be:?}")));
            }
        }
        Ok(read.spec.unwrap_or_default())
    }
}

/// The label of a property.
pub(crate) fn label(property: &str) -> &str {
    if property.is_empty() { PASSWORD } else { property }
}

impl Source<'_> {
    /// Writes. The answer is whether anything had to be written.
    pub(crate) async fn write(&mut self, write: Write<'_>) -> Result<bool, ProviderError> {
        match write {
            Write::Put(put) => self.put(put).await,
            Write::Withdraw(title, properties) => self.withdraw(title, properties).await,
        }
    }

    async fn put(&mut self, put: &Put) -> Result<bool, ProviderError> {
        if let Some(item) = self.existing(&put.title).await? {
            return self.update(&item, put).await;
        }
        if ItemId::parse(&put.title).is_ok() {
            let why = format!("there is no item {:?}, and a title that looks like an id can't be found again", put.title);
            return Err(ProviderError::Refused(why));
        }
        let vault = self.vault_of_new(put).await?;
        let connection = self.connection;
        // Two who miss the same item shall not both make it.
        let _one_at_a_time = connection.creating.lock().await;
        self.need = from_now();
        if let Some(item) = self.existing(&put.title).await? {
            return self.update(&item, put).await;
        }
        let input = new_item(vault, put);
        match connection.call(|| connection.client.create_item(vault, &input)).await {
            Ok(_) | Err(ClientError::DoneUnread) => {}
            Err(error) => return Err(ProviderError::client(CREATE)(error)),
        }
        self.wait_for(vault, &put.title).await?;
        Ok(true)
    }

    async fn update(&self, item: &Item, put: &Put) -> Result<bool, ProviderError> {
        let operations = update(item, put)?;
        if operations.is_empty() {
            return Ok(false);
        }
        self.patch(item, &operations).await.map_err(ProviderError::client(UPDATE))
    }

    async fn withdraw(&mut self, title: &str, properties: &[&str]) -> Result<bool, ProviderError> {
        let Some(item) = self.existing(title).await? else {
            return Ok(false);
        };
        let connection = self.connection;
        match withdraw(&item, properties)? {
            Withdrawal::Nothing => Ok(false),
            Withdrawal::Fields(operations) => {
                self.patch(&item, &operations).await.map_err(ProviderError::client(DELETE))
            }
            Withdrawal::Item => match connection.call(|| connection.client.delete_item(item.vault, item.id)).await {
                Ok(()) => Ok(true),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(ProviderError::client(DELETE)(error)),
            },
        }
    }

    async fn patch(&self, item: &Item, operations: &[Operation]) -> Result<bool, ClientError> {
        let connection = self.connection;
        match connection.call(|| connection.client.patch_item(item.vault, item.id, operations)).await {
            Ok(_) | Err(ClientError::DoneUnread) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn existing(&mut self, title: &str) -> Result<Option<std::sync::Arc<Item>>, ProviderError> {
        match self.locate(title).await {
            Ok((vault, id)) => self.connection.item(vault, id, None, self.need).await.map(Some),
            Err(ProviderError::NoItem { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The vault of a new item: the one that is named, or else the first.
    async fn vault_of_new(&self, put: &Put) -> Result<VaultId, ProviderError> {
        let named = put.metadata.vault.as_deref().filter(|vault| !vault.is_empty());
        let name = match named {
            Some(vault) if !self.vaults.contains(&vault) => {
                let why = format!("{CREATE}: metadata vault '{vault}' not in provider vaults");
                return Err(ProviderError::Refused(why));
            }
            Some(vault) => vault,
            None => self.vaults.first().copied().unwrap_or_default(),
        };
        self.connection.vault(name, self.need).await
    }

    async fn wait_for(&self, vault: VaultId, title: &str) -> Result<(), ProviderError> {
        let until = Instant::now() + APPEARS;
        loop {
            if !self.connection.titled(vault, title, from_now()).await?.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(ProviderError::Refused(format!("{CREATE}: the new item '{title}' does not appear")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn from_now() -> Need {
    Need {
        not_before: Instant::now(),
        or_unchanged: false,
    }
}

fn new_item(vault: VaultId, put: &Put) -> ItemInput {
    let field = |(property, value): &(String, String)| FieldInput {
        field_type: Some(FieldType::Concealed),
        label: Some(label(property).to_owned()),
        value: Some(value.clone()),
        ..FieldInput::default()
    };
    ItemInput {
        title: Some(put.title.clone()),
        vault: Some(vault.to_string()),
        category: Some(CATEGORY.to_owned()),
        tags: put.metadata.tags.clone().unwrap_or_default(),
        fields: put.values.iter().map(field).collect(),
        ..ItemInput::default()
    }
}

/// What is to be done to an item that is there.
fn update(item: &Item, put: &Put) -> Result<Vec<Operation>, ProviderError> {
    let mut operations = Vec::new();
    for (property, value) in &put.values {
        let field = only(item, label(property))?;
        if put.only_missing && (property.is_empty() || field.is_some()) {
            continue;
        }
        match field {
            Some(field) if field.value == *value => {}
            Some(field) => {
                let path = format!("/fields/{}/value", pointer(&field.id));
                operations.push(operation(Op::Replace, path, Some(json!(value))));
            }
            None => {
                let field = json!({ "label": label(property), "type": FieldType::Concealed, "value": value });
                operations.push(operation(Op::Add, "/fields".to_owned(), Some(field)));
            }
        }
    }
    if let Some(tags) = &put.metadata.tags
        && *tags != item.tags
        && !(put.only_missing && operations.is_empty())
    {
        // There is nothing to replace where there is no tag.
        let op = if item.tags.is_empty() { Op::Add } else { Op::Replace };
        operations.push(operation(op, "/tags".to_owned(), Some(json!(tags))));
    }
    Ok(operations)
}

#[derive(Debug, PartialEq)]
enum Withdrawal {
    Nothing,
    Fields(Vec<Operation>),
    /// Nothing would be left of it.
    Item,
}

/// What is to be done so that values are gone.
fn withdraw(item: &Item, properties: &[&str]) -> Result<Withdrawal, ProviderError> {
    let mut gone: Vec<&Field> = Vec::new();
    for property in properties {
        if let Some(field) = only(item, label(property))?
            && !gone.contains(&field)
        {
            gone.push(field);
        }
    }
    if gone.is_empty() {
        return Ok(Withdrawal::Nothing);
    }
    // Servers give every item notes, and a section without id and label to fields that have none.
    let is_blank = |field: &Field| field.purpose == Some(Purpose::Notes) && field.value.is_empty();
    let fields = item.fields.iter().any(|field| !gone.contains(&field) && !is_blank(field));
    let sections = match item.sections.as_slice() {
        [] => false,
        [only] => !(only.id.is_empty() && only.label.is_empty()),
        _ => true,
    };
    if !fields && !sections && item.files.is_empty() {
        return Ok(Withdrawal::Item);
    }
    let remove = |field: &Field| operation(Op::Remove, format!("/fields/{}", pointer(&field.id)), None);
    Ok(Withdrawal::Fields(gone.into_iter().map(remove).collect()))
}

/// The one field with a label, if there is any.
fn only<'a>(item: &'a Item, label: &str) -> Result<Option<&'a Field>, ProviderError> {
    let mut fields = item.fields.iter().filter(|field| field.label == label);
    match (fields.next(), fields.count()) {
        (field, 0) => Ok(field),
        (_, more) => Err(ProviderError::Count(format!(
            "{UPDATE}: expected one 1Password ItemField matching: '{label}' in '{}', got {}",
            item.title,
            more + 1
        ))),
    }
}

fn operation(op: Op, path: String, value: Option<Value>) -> Operation {
    Operation { op, path, value }
}

/// JSON Pointer's escapes (RFC 6901).
fn pointer(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn item(fields: Value) -> Item {
        serde_json::from_value(json!({
            "id": "aaaaaaaaaaaaaaaaaaaaaaaaaa", "vault": { "id": "vvvvvvvvvvvvvvvvvvvvvvvvvv" }, "title": "db",
            "category": "SERVER", "tags": ["old"], "fields": fields,
        }))
        .unwrap()
    }

    fn field(id: &str, label: &str, value: &str) -> Value {
        json!({ "id": id, "label": label, "value": value, "type": "CONCEALED" })
    }

    fn put(values: &[(&str, &str)]) -> Put {
        Put {
            title: "db".to_owned(),
            values: values.iter().map(|(property, value)| ((*property).to_owned(), (*value).to_owned())).collect(),
            ..Put::default()
        }
    }

    fn shown(operations: &[Operation]) -> Value {
        serde_json::to_value(operations).unwrap()
    }

    #[test]
    fn only_what_differs_is_written() {
        let item = item(json!([field("p/1", "password", "a"), field("2", "user", "u")]));
        assert!(update(&item, &put(&[("", "a"), ("user", "u")])).unwrap().is_empty());
        let operations = update(&item, &put(&[("", "b"), ("user", "u"), ("port", "5")])).unwrap();
        let expected = json!([
            { "op": "replace", "path": "/fields/p~11/value", "value": "b" },
            { "op": "add", "path": "/fields", "value": { "label": "port", "type": "CONCEALED", "value": "5" } },
        ]);
        assert_eq!(shown(&operations), expected);
    }

    #[test]
    fn tags_take_the_place_of_those_that_are_there() {
        let mut item = item(json!([field("1", "password", "a")]));
        let mut put = put(&[("", "a")]);
        put.metadata.tags = Some(vec!["new".to_owned()]);
        let replace = json!([{ "op": "replace", "path": "/tags", "value": ["new"] }]);
        assert_eq!(shown(&update(&item, &put).unwrap()), replace);
        item.tags.clear();
        assert_eq!(shown(&update(&item, &put).unwrap())[0]["op"], "add");
        item.tags = vec!["new".to_owned()];
        assert!(update(&item, &put).unwrap().is_empty());
    }

    #[test]
    fn what_is_there_stays_if_only_missing_values_are_wanted() {
        let item = item(json!([field("1", "user", "a")]));
        let mut put = put(&[("", "x"), ("user", "x"), ("port", "5")]);
        put.only_missing = true;
        put.metadata.tags = Some(vec!["new".to_owned()]);
        let operations = update(&item, &put).unwrap();
        assert_eq!(shown(&operations)[0]["value"]["label"], "port");
        assert_eq!(operations.len(), 2, "the port and the tags");
        put.values.truncate(2);
        assert!(update(&item, &put).unwrap().is_empty(), "an item that is there has its usual value");
    }

    #[test]
    fn a_label_that_is_there_twice_is_an_error() {
        let item = item(json!([field("1", "user", "a"), field("2", "user", "b")]));
        let error = update(&item, &put(&[("user", "x")])).unwrap_err().to_string();
        assert!(error.ends_with("expected one 1Password ItemField matching: 'user' in 'db', got 2"), "{error}");
        assert!(withdraw(&item, &["user"]).is_err());
    }

    #[test]
    fn an_emptied_item_goes_and_another_loses_its_fields() {
        let two = item(json!([field("1", "password", "a"), field("2", "user", "u")]));
        assert_eq!(withdraw(&two, &["other"]).unwrap(), Withdrawal::Nothing);
        let Withdrawal::Fields(operations) = withdraw(&two, &["", "password"]).unwrap() else { panic!() };
        assert_eq!(shown(&operations), json!([{ "op": "remove", "path": "/fields/1" }]));
        assert_eq!(withdraw(&two, &["", "user"]).unwrap(), Withdrawal::Item);
        let notes = json!({ "id": "notesPlain", "label": "notesPlain", "type": "STRING", "purpose": "NOTES" });
        let mut noted = item(json!([field("1", "password", "a"), notes]));
        assert_eq!(withdraw(&noted, &[""]).unwrap(), Withdrawal::Item);
        noted.fields[1].value = "remember".to_owned();
        assert!(matches!(withdraw(&noted, &[""]).unwrap(), Withdrawal::Fields(_)));
    }

    #[test]
    fn metadata_is_checked() {
        let parse = |value: Value| PutMetadata::parse(Some(&value)).map_err(|error| error.to_string());
        let whole = json!({ "apiVersion": API_VERSION, "kind": KIND, "spec": { "tags": ["a"], "vault": "v" } });
        let expected = PutMetadata {
            tags: Some(vec!["a".to_owned()]),
            vault: Some("v".to_owned()),
        };
        assert_eq!(parse(whole), Ok(expected));
        let error = parse(json!({ "apiVersion": "v1", "kind": KIND })).unwrap_err();
        assert!(error.contains("unexpected apiVersion \"v1\""), "{error}");
        assert!(parse(json!({ "apiVersion": API_VERSION, "kind": KIND, "spec": { "tag": "a" } })).is_err());
        assert_eq!(PutMetadata::parse(None).unwrap(), PutMetadata::default());
    }
}
