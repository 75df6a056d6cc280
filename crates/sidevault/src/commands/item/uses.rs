//! `sidevault item uses`: what depends on an item, and so what breaks if its values change. Never reads a value, unless a pattern for the
//! names of fields needs the item's labels.

mod cluster;
mod graph;
mod operator;
mod readers;
mod report;

use sidevault_keys::Credentials;
use sidevault_model::filter::fold;
use sidevault_model::{Item, Vault};

use self::graph::{Condition, Dependents, Subject};
use self::report::{Gap, Report, SourceFile};
use crate::cli::ItemUses;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::output;
use crate::server::Server;

/// Runs the command.
///
/// # Errors
/// As [`Server::summary`]; and if a part could not be looked at, why, after the others are printed.
pub(super) async fn run(server: &Server, arguments: &ItemUses, environment: &Environment) -> Result<(), Failure> {
    let Some((vault, item)) = arguments
        .item
        .split_once('/')
        .filter(|(vault, item)| !vault.is_empty() && !item.is_empty())
    else {
        return Err(Failure::Usage(format!(
            "\"{}\" is no item: write VAULT/ITEM, with names or ids",
            sidevault_model::printable(&arguments.item)
        )));
    };
    let (vault, item) = server.summary(vault, item).await?;
    let mut report = Report::new(&vault, &item);
    let mut failed = None;
    if arguments.no_cluster {
        report.gaps.push(Gap::new("cluster", "--no-cluster was given"));
    } else {
        match in_cluster(
            server,
            arguments,
            &Subject {
                vault: &vault,
                item: &item,
            },
        )
        .await
        {
            Ok(dependents) => report.cluster = Some(dependents),
            Err(failure) => {
                report.gaps.push(Gap::new("cluster", failure.to_string()));
                failed = Some(failure);
            }
        }
    }
    match readers::of(server, &vault, &item).await {
        Ok((mut readers, since)) => {
            readers::add_names(&mut readers, environment).await;
            report.activity_since = since;
            report.readers = Some(readers);
        }
        Err(error) => {
            let failure = server.failure(error);
            report.gaps.push(Gap::new("activity", failure.to_string()));
            failed.get_or_insert(failure);
        }
    }
    if arguments.directories.is_empty() {
        report
            .gaps
            .push(Gap::new("files", "name a source's directory with --dir"));
    } else {
        report.files = Some(files(arguments, &vault, &item)?);
    }
    match arguments.json {
        true => output::json(&report)?,
        false => report.print()?,
    }
    failed.map_or(Ok(()), Err)
}

async fn in_cluster(server: &Server, arguments: &ItemUses, subject: &Subject<'_>) -> Result<Dependents, Failure> {
    let objects = cluster::read(arguments).await?;
    let known = match arguments.operator.as_ref().zip(arguments.operator_token_file.as_ref()) {
        Some((address, token)) => Some(operator::readers(address, token, subject.vault.id, subject.item.id).await?),
        None => None,
    };
    let mut meant = Vec::new();
    let mut full: Option<Item> = None;
    for candidate in graph::candidates(&objects, subject) {
        let is_meant = match &candidate.condition {
            Condition::Always => true,
            Condition::Means { key, is_path, before } => {
                (!is_path || is_named(server, subject, key).await?) && !any_has(server, before, key).await
            }
            Condition::NameMatches(pattern) => {
                if full.is_none() {
                    let item = server.client.item(subject.vault.id, subject.item.id).await;
                    full = Some(item.map_err(|error| server.failure(error))?);
                }
                full.as_ref().is_some_and(|item| {
                    let labels = item.fields.iter().map(|field| field.label.as_str());
                    let names = labels.chain(item.files.iter().map(|file| file.name.as_str()));
                    names.into_iter().any(|name| pattern.is_match(name))
                })
            }
        };
        if is_meant {
            meant.push(candidate);
        }
    }
    graph::add_known(&objects, known.as_ref(), &mut meant);
    Ok(graph::follow(&objects, &meant, known.as_ref()))
}

/// Whether the server finds the item by this name, which is not its title.
async fn is_named(server: &Server, subject: &Subject<'_>, name: &str) -> Result<bool, Failure> {
    let found = server.client.items_named(subject.vault.id, name).await;
    let found = found.map_err(|error| server.failure(error))?;
    Ok(matches!(&found[..], [only] if only.id == subject.item.id))
}

/// Whether any of the vaults has an item of this key. A vault that the token may not read counts as one that has none, so that too much
/// is reported rather than too little.
async fn any_has(server: &Server, vaults: &[String], key: &str) -> bool {
    for vault in vaults {
        let Ok(vault) = server.client.resolve_vault(vault).await else {
            continue;
        };
        if server.client.summary(vault.id, key).await.is_ok() {
            return true;
        }
    }
    false
}

/// The files that become an item of this title in a vault of this name.
fn files(arguments: &ItemUses, vault: &Vault, item: &Item) -> Result<Vec<SourceFile>, Failure> {
    // No id is shown, so any keys do.
    let (credentials, _) = Credentials::generate();
    let mut files = Vec::new();
    for directory in &arguments.directories {
        let source = directory.source(&arguments.age_key_files);
        let preview = sidevault_sync::preview(&source, &credentials.id_key()).map_err(Failure::NotFound)?;
        let is_it =
            |vault_name: &str, title: &str| fold(vault_name) == fold(&vault.name) && fold(title) == fold(&item.title);
        let found = preview
            .items
            .into_iter()
            .filter(|found| is_it(&found.vault, &found.title));
        files.extend(found.map(|found| SourceFile {
            directory: directory.path.clone(),
            file: found.file,
        }));
    }
    Ok(files)
}
