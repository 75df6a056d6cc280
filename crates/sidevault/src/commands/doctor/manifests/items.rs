//! What the manifests read from a server, if one is configured: vaults, items and fields.

use std::collections::HashMap;
use std::sync::Arc;

use sidevault_client::{ClientError, Kind};
use sidevault_go::regex::Regex;
use sidevault_model::remote_ref::{self, Property};
use sidevault_model::{Item, ItemId, printable};

use super::{Checked, Findings};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::manifests::references::{Entry, Reads, entries, find_store, pushes, vaults_of};
use crate::manifests::tree::Node;
use crate::manifests::{Object, Objects};
use crate::server::{Connection, Server};

/// What the vaults of a store have under a title or an id.
#[derive(Clone)]
enum Found {
    Nothing,
    One(Arc<Item>),
    /// Several items of the vault with this name have the title.
    Several(String),
}

/// What is asked of the server, each once.
struct Answers {
    server: Server,
    /// By vault and title or id.
    items: HashMap<(String, String), Found>,
    /// The items of vaults, with their fields.
    vaults: HashMap<String, Arc<[Item]>>,
}

impl Answers {
    /// What a key means in the vaults of a store, which are searched in their order.
    async fn locate(&mut self, store: &Object, key: &str) -> Result<Found, Failure> {
        for vault in vaults_of(store) {
            match self.item(vault.text().unwrap_or_default(), key).await? {
                Found::Nothing => {}
                found => return Ok(found),
            }
        }
        Ok(Found::Nothing)
    }

    async fn item(&mut self, vault: &str, item: &str) -> Result<Found, Failure> {
        let key = (vault.to_owned(), item.to_owned());
        if !self.items.contains_key(&key) {
            let found = match self.server.client.resolve(vault, item).await {
                Ok(item) => Found::One(Arc::new(item)),
                Err(ClientError::Ambiguous { what: Kind::Item, .. }) => Found::Several(vault.to_owned()),
                Err(error) if error.is_not_found() || error.refuses_id() => Found::Nothing,
                Err(error) => return Err(self.server.failure(error)),
            };
            self.items.insert(key.clone(), found);
        }
        Ok(self.items.get(&key).cloned().unwrap_or(Found::Nothing))
    }

    /// The items of a vault that a `find` selects, and the first of `vaults` alone if it names tags, as External Secrets searches.
    /// None of a vault that the server does not have: that is said of the store.
    async fn selected(&mut self, store: &Object, find: &Node) -> Result<Vec<Arc<Item>>, Failure> {
        let tags = find.at("tags").map(Node::entries);
        let (mut chosen, path) = (Vec::new(), find.text_at("path"));
        for vault in vaults_of(store) {
            let name = vault.text().unwrap_or_default();
            for summary in self.list(name).await?.iter() {
                let tags = tags.map(|tags| tags.iter().filter_map(|(tag, _)| tag.text()));
                if !remote_ref::find_selects(summary, tags, path) {
                    continue;
                }
                if let Found::One(item) = self.item(name, summary.id.as_str()).await? {
                    chosen.push(item);
                }
            }
            if tags.is_some() {
                break;
            }
        }
        Ok(chosen)
    }

    async fn list(&mut self, vault: &str) -> Result<Arc<[Item]>, Failure> {
        if !self.vaults.contains_key(vault) {
            let client = &self.server.client;
            let items = match client.resolve_vault(vault).await {
                Ok(vault) => client.items(vault.id, None).await,
                Err(error) => Err(error),
            };
            let items = match items {
                Ok(items) => items,
                Err(error) if error.is_not_found() || error.refuses_id() => Vec::new(),
                Err(error) => return Err(self.server.failure(error)),
            };
            self.vaults.insert(vault.to_owned(), items.into());
        }
        Ok(self.vaults.get(vault).cloned().unwrap_or_default())
    }
}

/// Checks what the files read, if the environment names a server.
pub(super) async fn check(objects: &Objects, checked: &mut Checked, environment: &Environment) {
    if environment.get("OP_CONNECT_HOST").is_none() {
        return;
    }
    let result = match Server::connect(&Connection::default(), environment) {
        Ok(server) => {
            let answers = Answers {
                server,
                items: HashMap::new(),
                vaults: HashMap::new(),
            };
            ask(objects, checked, answers).await
        }
        Err(failure) => Err(failure),
    };
    let result = result.map_err(|failure| failure.to_string());
    if let Err(message) = result {
        let fix = "correct OP_CONNECT_HOST and OP_CONNECT_TOKEN, or unset OP_CONNECT_HOST to check the files alone";
        Findings::fail(&mut checked.findings, "server", message, fix);
    }
}

async fn ask(objects: &Objects, checked: &mut Checked, mut answers: Answers) -> Result<(), Failure> {
    for kind in ["SecretStore", "ClusterSecretStore"] {
        for store in objects.of_kind(kind) {
            vaults(store, checked, &answers.server).await?;
        }
    }
    for secret in objects.external_secrets() {
        for entry in entries(secret) {
            let Some(store) = entry.store.and_then(|store| find_store(secret, store, objects)) else {
                continue;
            };
            match entry.reads {
                Reads::Find => find(secret, store, entry.reference, checked, &mut answers).await?,
                _ => read(secret, store, &entry, checked, &mut answers).await?,
            }
        }
    }
    for push in objects.of_kind("PushSecret") {
        for reference in push.node.all("spec.secretStoreRefs") {
            if let Some(store) = find_store(push, reference, objects) {
                pushed(push, store, checked, &mut answers).await?;
            }
        }
    }
    Ok(())
}

async fn vaults(store: &Object, checked: &mut Checked, server: &Server) -> Result<(), Failure> {
    for vault in vaults_of(store) {
        let name = vault.text().unwrap_or_default();
        match server.client.resolve_vault(name).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.refuses_id() => {
                let cause = format!(
                    "the server has no vault {}, or the token may not read it",
                    printable(name)
                );
                let fix = "sidevault item list --vault NAME shows what a vault holds";
                checked.fail("vault", store, vault, &cause, fix);
            }
            Err(error) => return Err(server.failure(error)),
        }
    }
    Ok(())
}

/// The item and the property of one entry.
async fn read(
    secret: &Object,
    store: &Object,
    entry: &Entry<'_>,
    checked: &mut Checked,
    answers: &mut Answers,
) -> Result<(), Failure> {
    let reference = entry.reference;
    let Some(key) = reference.text_at("key") else {
        return Ok(());
    };
    let item = match answers.locate(store, key).await? {
        Found::One(item) => item,
        Found::Several(vault) => {
            several(secret, reference, key, &vault, checked);
            return Ok(());
        }
        Found::Nothing => {
            let cause = format!("no vault of its store has the item {}", printable(key));
            let fix = "correct key, or make the item: sidevault item create";
            checked.fail("item", secret, reference, &cause, fix);
            return Ok(());
        }
    };
    let property = reference.text_at("property").unwrap_or_default();
    // `extract` without a property reads all fields.
    if (entry.reads == Reads::Value || !property.is_empty())
        && let Some(cause) = missing(&item, property)
    {
        let at = reference
            .entry("property")
            .map_or(reference, |(key, _): &(Node, Node)| key);
        let fix = "name a field that the item has once, by its label";
        checked.fail("item", secret, at, &cause, fix);
    }
    Ok(())
}

fn several(object: &Object, at: &Node, key: &str, vault: &str, checked: &mut Checked) {
    let cause = format!(
        "several items of the vault {} have the title {}",
        printable(vault),
        printable(key)
    );
    checked.fail(
        "item",
        object,
        at,
        &cause,
        "name the item by its id, or rename the others",
    );
}

/// What is wrong with a property, by the rules of the operator.
fn missing(item: &Item, property: &str) -> Option<String> {
    let title = printable(&item.title);
    match Property::parse(item.category, property) {
        Property::File(name) => match remote_ref::files(item, name).next() {
            Some(_) => None,
            None => Some(format!("the item {title} has no file {}", printable(name))),
        },
        Property::Field(name) => {
            let label = printable(remote_ref::label(name));
            match remote_ref::only_field(item, name) {
                Ok(_) => None,
                Err(0) => Some(format!(
                    "the item {title} has no field {label}; it has {}",
                    labels(item)
                )),
                Err(count) => Some(format!("the item {title} has {count} fields {label}")),
            }
        }
    }
}

fn labels(item: &Item) -> String {
    let labels: Vec<&str> = item.fields.iter().map(|field| field.label.as_str()).collect();
    printable(&labels.join(", "))
}

/// Whether a `find` finds anything, and whether the labels of what it finds are unique.
async fn find(
    secret: &Object,
    store: &Object,
    find: &Node,
    checked: &mut Checked,
    answers: &mut Answers,
) -> Result<(), Failure> {
    let items = answers.selected(store, find).await?;
    let pattern = match find.text_at("name.regexp").map(Regex::new) {
        // A faulty pattern is said without a server, too.
        Some(Err(_)) => return Ok(()),
        Some(Ok(pattern)) => Some(pattern),
        None => None,
    };
    let matches = |name: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name));
    let mut is_any = false;
    for item in &items {
        for field in &item.fields {
            is_any |= matches(&field.label);
            if let Err(count @ 2..) = remote_ref::only_field(item, &field.label) {
                let title = printable(&item.title);
                let cause = format!(
                    "the item {title}, which it finds, has {count} fields {}",
                    printable(&field.label)
                );
                checked.fail(
                    "find",
                    secret,
                    find,
                    &cause,
                    "give each field of the item a label of its own",
                );
                break;
            }
        }
        is_any |= item.files.iter().any(|file| matches(&file.name));
    }
    if !is_any {
        let cause = match items.len() {
            0 => "no item of its store has these tags or this path".to_owned(),
            count => format!("of the {count} items that it selects, no field and no file matches its pattern"),
        };
        checked.warn(
            "find",
            secret,
            find,
            &cause,
            "path is an item's title, name.regexp matches labels of fields",
        );
    }
    Ok(())
}

/// The items that a PushSecret writes to. An item that is not there will be made.
async fn pushed(push: &Object, store: &Object, checked: &mut Checked, answers: &mut Answers) -> Result<(), Failure> {
    for pushed in pushes(push) {
        let Some(key) = pushed.item else { continue };
        match answers.locate(store, key).await? {
            Found::Several(vault) => several(push, pushed.at, key, &vault, checked),
            Found::Nothing if ItemId::parse(key).is_ok() => {
                let cause = format!("there is no item with the id {}, and none is made", printable(key));
                checked.fail("push", push, pushed.at, &cause, "name the item by a title in remoteKey");
            }
            Found::Nothing => {}
            Found::One(item) => {
                let label = remote_ref::label(pushed.property);
                if pushed.is_single
                    && let Err(count @ 2..) = remote_ref::only_field(&item, label)
                {
                    let title = printable(&item.title);
                    let cause = format!("the item {title} has {count} fields {}", printable(label));
                    checked.fail(
                        "push",
                        push,
                        pushed.at,
                        &cause,
                        "give each field of the item a label of its own",
                    );
                }
            }
        }
    }
    Ok(())
}
