//! `sidevault item`: items, through any Connect server.

mod edit;
mod server;
mod show;

pub(crate) use server::{DEFAULT_HOST, host, token};

use std::io::Read as _;
use std::path::Path;

use sidevault_client::Client;
use sidevault_model::{Item, ItemInput, UrlInput, VaultId};

use crate::cli::{self, ItemCreate};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::fields::Content;
use crate::output::{self, Table};

/// The largest item that is read from a file: more than any server takes.
const MAX_ITEM_BYTES: u64 = 32 << 20;

/// Runs one of the sub-commands.
pub(crate) async fn run(command: cli::Item, environment: &Environment) -> Result<(), Failure> {
    let client = server::connect(environment)?;
    match command {
        cli::Item::List { vault, json } => list(&client, &vault.vault, json).await,
        cli::Item::Get {
            item,
            vault,
            field,
            reveal,
            version,
            json,
        } => {
            let mut found = client.resolve(&vault.vault, &item).await?;
            if let Some(version) = version {
                found = client.item_version(found.vault, found.id, version).await?;
            }
            match (field, json) {
                (Some(label), _) => show::field(&found, &label),
                (None, true) => output::json(&found),
                (None, false) => show::item(&found, reveal),
            }
        }
        cli::Item::Create(arguments) => create(&client, arguments).await,
        cli::Item::Edit(arguments) => edit::run(&client, arguments).await,
        cli::Item::Delete { item, vault } => {
            let found = client.resolve(&vault.vault, &item).await?;
            client.delete_item(found.vault, found.id).await?;
            output::line(&format!("deleted {} {}", found.id, output::printable(&found.title)))
        }
        cli::Item::History { item, vault, json } => history(&client, &vault.vault, &item, json).await,
        cli::Item::Restore { item, vault, version } => {
            let found = client.resolve(&vault.vault, &item).await?;
            client.restore(found.vault, found.id, version).await?;
            output::line(&format!(
                "restored {} {}: version {} has the content of version {version}",
                found.id,
                output::printable(&found.title),
                found.version + 1
            ))
        }
    }
}

async fn list(client: &Client, vault: &str, json: bool) -> Result<(), Failure> {
    let vault = vault_id(client, vault).await?;
    let items = client.items(vault, None).await?;
    if json {
        return output::json(&items);
    }
    let mut table = Table::new(["ID", "TITLE", "CATEGORY", "VERSION", "UPDATED"]);
    for item in items {
        table.row([
            item.id.to_string(),
            item.title.clone(),
            item.category.to_string(),
            item.version.to_string(),
            item.updated_at.to_string(),
        ]);
    }
    table.print()
}

async fn history(client: &Client, vault: &str, item: &str, json: bool) -> Result<(), Failure> {
    let found = client.resolve(vault, item).await?;
    let versions = client.versions(found.vault, found.id).await?;
    if json {
        return output::json(&versions);
    }
    let mut table = Table::new(["VERSION", "MADE"]);
    for version in versions {
        table.row([version.version.to_string(), version.updated_at.to_string()]);
    }
    table.print()
}

/// An id is taken as it is: a token that may only write can't look it up.
async fn vault_id(client: &Client, vault: &str) -> Result<VaultId, Failure> {
    match VaultId::parse(vault) {
        Ok(id) => Ok(id),
        Err(_) => Ok(client.vault_by_name(vault).await?.id),
    }
}

async fn create(client: &Client, arguments: ItemCreate) -> Result<(), Failure> {
    let mut input = match &arguments.from_file {
        Some(path) => read_item(path)?,
        None => ItemInput::default(),
    };
    if arguments.fields.iter().any(|field| field.content == Content::Deleted) {
        return Err(Failure::Usage(
            "[delete] is for `item edit`: a new item has nothing to take away".to_owned(),
        ));
    }
    input.title = arguments.title.or(input.title);
    input.category = arguments
        .category
        .map(|word| word.to_ascii_uppercase())
        .or(input.category);
    input.category.get_or_insert_with(|| "LOGIN".to_owned());
    input.tags.extend(arguments.tags);
    for href in arguments.urls {
        input.urls.push(UrlInput {
            primary: input.urls.is_empty(),
            href,
            label: None,
        });
    }
    input
        .fields
        .extend(arguments.fields.iter().map(|field| field.to_input()));
    let vault = vault_id(client, &arguments.vault.vault).await?;
    // The file may come from another vault or another server.
    input.vault = Some(vault.to_string());
    input.id = None;
    written(&client.create_item(vault, &input).await?, "created", arguments.json)
}

/// Says what was done to an item.
fn written(item: &Item, what: &str, json: bool) -> Result<(), Failure> {
    match json {
        true => output::json(item),
        false => output::line(&format!("{what} {} {}", item.id, output::printable(&item.title))),
    }
}

fn read_item(path: &Path) -> Result<ItemInput, Failure> {
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().take(MAX_ITEM_BYTES).read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|file| file.take(MAX_ITEM_BYTES).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    ItemInput::from_json(&bytes).map_err(|invalid| Failure::Usage(format!("{}: {invalid}", path.display())))
}
