//! `sidevault item`: items, through any Connect server.

pub(crate) mod edit;
pub(crate) mod show;
mod uses;

use std::path::Path;

use sidevault_client::Filter;
use sidevault_model::{Category, Item, ItemInput, SectionInput, UrlInput};

use crate::cli::{self, ItemCreate, ItemList};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::fields::{self, Content, FieldArgument};
use crate::input;
use crate::output::{self, Table};
use crate::server::Server;

/// The largest item that is read from a file or from standard input, in bytes: more than any server takes.
pub(crate) const MAX_ITEM_BYTES: u64 = 32 << 20;

/// Runs one of the sub-commands.
pub(crate) async fn run(arguments: cli::Item, environment: &Environment) -> Result<(), Failure> {
    let server = Server::connect(&arguments.connection, environment)?;
    match arguments.command {
        cli::ItemCommand::List(arguments) => list(&server, arguments).await,
        cli::ItemCommand::Get {
            item,
            vault,
            field,
            otp,
            reveal,
            version,
            json,
        } => {
            let mut found = server.item(&vault.vault, &item).await?;
            if let Some(version) = version {
                let earlier = server.client.item_version(found.vault, found.id, version).await;
                found = earlier.map_err(|error| server.failure(error))?;
            }
            match (field, json) {
                _ if otp => output::line(&show::one_time_password(&found)?),
                (Some(name), _) => show::field(&found, &name),
                (None, true) => output::json(&found),
                (None, false) => show::item(&found, &server.vault_for_people(found.vault).await, reveal),
            }
        }
        cli::ItemCommand::Create(arguments) => create(&server, arguments).await,
        cli::ItemCommand::Edit(arguments) => edit::run(&server, arguments).await,
        cli::ItemCommand::Delete { item, vault, yes } => {
            let found = server.item(&vault.vault, &item).await?;
            let title = sidevault_model::printable(&found.title);
            if !yes {
                input::confirm(&format!(
                    "This deletes the item \"{title}\" ({}) with its history for good.",
                    found.id
                ))?;
            }
            let deleted = server.client.delete_item(found.vault, found.id).await;
            deleted.map_err(|error| server.failure(error))?;
            output::line(&format!("deleted {} {title}", found.id))
        }
        cli::ItemCommand::History { item, vault, json } => history(&server, &vault.vault, &item, json).await,
        cli::ItemCommand::Uses(arguments) => uses::run(&server, &arguments, environment).await,
        cli::ItemCommand::Restore { item, vault, version } => {
            let found = server.item(&vault.vault, &item).await?;
            let restored = server.client.restore(found.vault, found.id, version).await;
            restored.map_err(|error| server.failure(error))?;
            output::line(&format!(
                "restored {} {}: version {} has the content of version {version}",
                found.id,
                sidevault_model::printable(&found.title),
                found.version + 1
            ))
        }
    }
}

async fn list(server: &Server, arguments: ItemList) -> Result<(), Failure> {
    let vault = server.vault(&arguments.vault.vault).await?;
    let tags = arguments.tags.iter().map(|tag| Filter::tag(tag).as_str().to_owned());
    let mut conditions: Vec<String> = tags.collect();
    if let Some(category) = &arguments.category {
        conditions.push(format!("category eq \"{}\"", category_word(category)?));
    }
    if let Some(filter) = arguments.filter {
        // Not every Connect server knows parentheses, so they are only there if something is combined.
        conditions.push(if conditions.is_empty() {
            filter
        } else {
            format!("({filter})")
        });
    }
    let filter = (!conditions.is_empty()).then(|| Filter::raw(conditions.join(" and ")));
    let items = server.client.items(vault, filter.as_ref()).await;
    let items = items.map_err(|error| server.failure(error))?;
    if arguments.json {
        return output::json(&items);
    }
    let mut table = Table::new(["ID", "TITLE", "CATEGORY", "TAGS", "VERSION", "UPDATED"]);
    for item in items {
        table.row([
            item.id.to_string(),
            item.title.clone(),
            item.category.to_string(),
            item.tags.join(", "),
            item.version.to_string(),
            item.updated_at.to_string(),
        ]);
    }
    table.print()
}

/// A category's word in the API: `api_credential` and `API Credential` mean `API_CREDENTIAL`.
pub(crate) fn category_word(text: &str) -> Result<&'static str, Failure> {
    let word = text.trim().replace([' ', '-'], "_");
    match Category::from_word(&word) {
        Some(category) => Ok(category.as_str()),
        None => Err(Failure::Usage(format!(
            "no category \"{}\"; there are {}",
            sidevault_model::printable(text),
            Category::ALL
                .iter()
                .map(|known| known.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

async fn history(server: &Server, vault: &str, item: &str, json: bool) -> Result<(), Failure> {
    let found = server.item(vault, item).await?;
    let versions = server.client.versions(found.vault, found.id).await;
    let versions = versions.map_err(|error| server.failure(error))?;
    if json {
        return output::json(&versions);
    }
    // Only versions of Git sources have one.
    let has_commits = versions.iter().any(|version| version.commit.is_some());
    let heads = ["VERSION", "MADE", "COMMIT", "COMMITTED"];
    let columns = if has_commits { heads.len() } else { 2 };
    let mut table = Table::new(&heads[..columns]);
    for version in versions {
        let (id, time) = version
            .commit
            .map_or_else(Default::default, |commit| (commit.id, commit.time.to_string()));
        let row = [version.version.to_string(), version.updated_at.to_string(), id, time];
        table.row(row.into_iter().take(columns));
    }
    table.print()
}

async fn create(server: &Server, arguments: ItemCreate) -> Result<(), Failure> {
    let mut input = match &arguments.from_file {
        Some(path) => read_item(path)?,
        None => ItemInput::default(),
    };
    let fields = fields::read(
        &arguments.fields,
        arguments.from_file.as_deref().is_some_and(input::is_stdin),
    )?;
    if fields.iter().any(|field| field.content == Content::Deleted) {
        return Err(Failure::Usage(
            "[delete] is for `item edit`: a new item has no field to remove".to_owned(),
        ));
    }
    input.title = arguments.title.or(input.title);
    input.category = arguments
        .category
        .map(|word| word.to_ascii_uppercase())
        .or(input.category);
    input.category.get_or_insert_with(|| "LOGIN".to_owned());
    input.tags.extend(arguments.tags);
    input.urls.extend(urls(arguments.urls, input.urls.is_empty()));
    add_fields(&mut input, &fields);
    let vault = server.vault(&arguments.vault.vault).await?;
    // The file may come from another vault or another server.
    input.vault = Some(vault.to_string());
    input.id = None;
    let title = input.title.as_deref().unwrap_or_default();
    let namesakes = if title.is_empty() {
        Vec::new()
    } else {
        server.ids_with_title(vault, title).await
    };
    let made = server.client.create_item(vault, &input).await;
    let made = made.map_err(|error| server.failure(error))?;
    if !namesakes.is_empty() {
        eprintln!(
            "note: the vault has another item with the title \"{}\" ({}): from now on, name each of them by its id",
            sidevault_model::printable(title),
            namesakes.join(", ")
        );
    }
    written(&made, "created", arguments.json)
}

/// Adds fields to a new item.
pub(crate) fn add_fields(input: &mut ItemInput, fields: &[FieldArgument]) {
    for field in fields {
        let section = section_for(field, &mut input.sections);
        input.fields.push(field.to_input(section));
    }
}

/// Addresses as a request holds them. `first_is_primary`: the item has no other address.
pub(crate) fn urls(hrefs: Vec<String>, first_is_primary: bool) -> impl Iterator<Item = UrlInput> {
    hrefs.into_iter().enumerate().map(move |(index, href)| UrlInput {
        primary: first_is_primary && index == 0,
        href,
        label: None,
    })
}

/// The section that a field of a new item names. A section that the item does not have yet is declared.
fn section_for(field: &FieldArgument, sections: &mut Vec<SectionInput>) -> Option<SectionInput> {
    let label = field.name.section.as_ref()?;
    if let Some(known) = sections.iter().find(|section| section.label.as_ref() == Some(label)) {
        return Some(known.clone());
    }
    let section = new_section(label);
    sections.push(section.clone());
    Some(section)
}

/// A section with an id of its own: other Connect servers don't make one.
fn new_section(label: &str) -> SectionInput {
    SectionInput {
        id: Some(format!("section-{:016x}", rand::random::<u64>())),
        label: Some(label.to_owned()),
    }
}

/// Prints the changed item: one line, or JSON.
fn written(item: &Item, what: &str, json: bool) -> Result<(), Failure> {
    if json {
        output::json(item)
    } else {
        output::line(&format!(
            "{what} {} {}",
            item.id,
            sidevault_model::printable(&item.title)
        ))
    }
}

fn read_item(path: &Path) -> Result<ItemInput, Failure> {
    let (name, bytes) = input::file_or_stdin(Some(path), "an item as JSON", MAX_ITEM_BYTES)?;
    ItemInput::from_json(&bytes).map_err(|invalid| Failure::Usage(format!("{name}: {invalid}")))
}
