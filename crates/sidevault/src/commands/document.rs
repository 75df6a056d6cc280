//! `sidevault document`: the files of items.

use sidevault_model::{File, FileId, Item};

use crate::cli::{self, DocumentCommand};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::server::Server;

pub(crate) async fn run(arguments: cli::Document, environment: &Environment) -> Result<(), Failure> {
    let server = Server::connect(&arguments.connection, environment)?;
    let DocumentCommand::Get {
        item,
        vault,
        file,
        output,
    } = arguments.command;
    let found = server.item(&vault.vault, &item).await?;
    let file = choose(&found, file.as_deref())?;
    let content = server.client.whole_file(&found, file).await;
    let content = content.map_err(|error| server.failure(error))?;
    super::read::write(&output, &content, false)
}

/// The file with this name or id; without one, the item's only file.
fn choose<'a>(item: &'a Item, name: Option<&str>) -> Result<&'a File, Failure> {
    let is_wanted = |file: &&File| name.is_none_or(|name| file.name == name || FileId::parse(name) == Ok(file.id));
    let hits: Vec<&File> = item.files.iter().filter(is_wanted).collect();
    let title = sidevault_model::printable(&item.title);
    let names: Vec<String> = item
        .files
        .iter()
        .map(|file| sidevault_model::printable(&file.name))
        .collect();
    match hits[..] {
        [only] => Ok(only),
        [] if item.files.is_empty() => Err(Failure::NotFound(format!("item {} \"{title}\" has no files", item.id))),
        [] => Err(Failure::NotFound(format!(
            "item {} \"{title}\" has no such file; it has {}",
            item.id,
            names.join(", ")
        ))),
        _ => Err(Failure::Conflict(format!(
            "item {} \"{title}\" has several files: choose one with --file ({})",
            item.id,
            names.join(", ")
        ))),
    }
}
