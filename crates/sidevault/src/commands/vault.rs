//! `sidevault vault`: local vaults.

use serde::Serialize;
use sidevault_keys::Credentials;
use sidevault_model::filter::{fold, named};
use sidevault_model::{Timestamp, VaultId};
use sidevault_store::{Command, CommandAnswer, LOCAL_SOURCE, Snapshot, TokenRecord};

use crate::admin;
use crate::cli::{self, Place};
use crate::commands::quickstart;
use crate::commands::token::tokens;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::input;
use crate::installation::Installation;
use crate::output::{self, Table};

/// A vault, as `vault list` shows it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) id: VaultId,
    pub(crate) name: String,
    /// `local`, or the source that owns it.
    pub(crate) source: String,
    pub(crate) items: u64,
    pub(crate) updated_at: Timestamp,
}

/// Runs one of the sub-commands.
pub(crate) async fn run(command: cli::Vault, environment: &Environment) -> Result<(), Failure> {
    let open = |place: &Place| -> Result<(Installation, Credentials), Failure> {
        let installation = Installation::find(place, environment);
        let credentials = installation.credentials()?;
        Ok((installation, credentials))
    };
    match command {
        cli::Vault::Create {
            name,
            description,
            allow_ephemeral,
            place,
        } => {
            let (installation, credentials) = open(&place)?;
            let command = Command::CreateVault {
                name,
                description,
                id: None,
                allow_ephemeral,
            };
            let answer = admin::command(&installation, &credentials, command).await?;
            if let CommandAnswer::Vault(info) = &answer
                && info.id != credentials.id_key().vault(&fold(&info.name))
            {
                eprintln!(
                    "note: a vault of this name was renamed or deleted before; tokens made by the name without reading this \
                     store don't open the new vault"
                );
            }
            done("created", answer)?;
            quickstart::renew_token(&installation, &credentials).await
        }
        cli::Vault::List { place, json } => {
            let (installation, credentials) = open(&place)?;
            list(&all(&installation, &credentials).await?, json)
        }
        cli::Vault::Rename { old, new, place } => {
            let (installation, credentials) = open(&place)?;
            let vault = find(&installation, &credentials, &old).await?;
            let by_name = tokens_with(&installation, &credentials, |token| token.by_name.contains(&vault.id)).await?;
            let renames = fold(&vault.name) != fold(&new);
            let command = Command::RenameVault {
                vault: vault.id,
                name: new,
            };
            let answer = admin::command(&installation, &credentials, command).await?;
            if let (true, Some(tokens)) = (renames, by_name) {
                eprintln!(
                    "note: these tokens were made by the old name and open no vault now: {tokens}. Make new ones in their \
                     place"
                );
            }
            done("renamed", answer)
        }
        cli::Vault::Delete { name, yes, place } => {
            let (installation, credentials) = open(&place)?;
            let vault = find(&installation, &credentials, &name).await?;
            let tokens = tokens_with(&installation, &credentials, |token| {
                token.vaults.contains_key(&vault.id)
            })
            .await?;
            if let Some(tokens) = tokens {
                eprintln!(
                    "note: these tokens grant rights in the vault, and will open no later vault of this name: {tokens}"
                );
            }
            if !yes {
                input::confirm(&format!(
                    "This deletes the vault \"{}\" ({}) with its {} items and their history for good.",
                    sidevault_model::printable(&vault.name),
                    vault.id,
                    vault.items
                ))?;
            }
            let command = Command::DeleteVault { vault: vault.id };
            admin::command(&installation, &credentials, command).await?;
            output::line(&format!(
                "deleted {} {}",
                vault.id,
                sidevault_model::printable(&vault.name)
            ))
        }
    }
}

/// The tokens that are neither revoked nor expired and fulfil a condition, at most ten of them by name, for a message. The
/// store does not know every token that was never used.
async fn tokens_with(
    installation: &Installation,
    credentials: &Credentials,
    condition: impl Fn(&TokenRecord) -> bool,
) -> Result<Option<String>, Failure> {
    const SHOWN: usize = 10;
    let now = Timestamp::now();
    let tokens = tokens(installation, credentials).await?;
    let tokens: Vec<String> = tokens
        .iter()
        .filter(|token| token.revoked_at.is_none() && token.expires_at.is_none_or(|at| at > now) && condition(token))
        .map(|token| format!("\"{}\" ({})", sidevault_model::printable(&token.name), token.jti))
        .collect();
    let more = match tokens.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Ok((!tokens.is_empty()).then(|| tokens[..tokens.len().min(SHOWN)].join(", ") + &more))
}

/// All vaults of the store, by name.
pub(crate) async fn all(installation: &Installation, credentials: &Credentials) -> Result<Vec<Row>, Failure> {
    let reader = installation.reader(credentials).await?;
    let snapshot = reader.snapshot().await?;
    reader.close().await;
    Ok(rows(&snapshot))
}

/// A vault's name, or its id if there is no such vault.
pub(crate) fn name_of(rows: &[Row], id: VaultId) -> String {
    let row = rows.iter().find(|row| row.id == id);
    row.map_or_else(|| id.to_string(), |row| row.name.clone())
}

/// All vaults, by name.
pub(crate) fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows: Vec<Row> = snapshot
        .vaults()
        .map(|entry| Row {
            id: entry.vault.id,
            name: entry.vault.name.clone(),
            source: entry.source.clone(),
            items: entry.vault.items,
            updated_at: entry.vault.updated_at,
        })
        .collect();
    rows.sort_by_cached_key(|row| (fold(&row.name), row.id));
    rows
}

/// The one vault with this name or id.
async fn find(installation: &Installation, credentials: &Credentials, wanted: &str) -> Result<Row, Failure> {
    let rows = all(installation, credentials).await?;
    if let Some(row) = rows.iter().find(|row| row.id.as_str() == wanted) {
        return Ok(row.clone());
    }
    let mut hits = named(rows, wanted, |row| &row.name);
    match (hits.pop(), hits.as_slice()) {
        (Some(row), []) => Ok(row),
        (Some(last), others) => {
            let ids: Vec<String> = others.iter().chain([&last]).map(|row| row.id.to_string()).collect();
            Err(Failure::Conflict(format!(
                "several vaults are named \"{}\": use the id of one of them ({})",
                sidevault_model::printable(wanted),
                ids.join(", ")
            )))
        }
        (None, _) => Err(Failure::NotFound(format!(
            "vault \"{}\" not found in {} (sidevault vault list shows all)",
            sidevault_model::printable(wanted),
            installation.data.display()
        ))),
    }
}

fn done(what: &str, answer: CommandAnswer) -> Result<(), Failure> {
    match answer {
        CommandAnswer::Vault(info) => output::line(&format!(
            "{what} {} {}",
            info.id,
            sidevault_model::printable(&info.name)
        )),
        _ => output::line(what),
    }
}

fn list(rows: &[Row], json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&rows);
    }
    let mut table = Table::new(["ID", "NAME", "SOURCE", "ITEMS", "UPDATED"]);
    for row in rows {
        let source = match row.source.as_str() {
            LOCAL_SOURCE => LOCAL_SOURCE.to_owned(),
            directory => format!("{directory} (files)"),
        };
        table.row([
            row.id.to_string(),
            row.name.clone(),
            source,
            row.items.to_string(),
            row.updated_at.to_string(),
        ]);
    }
    table.print()
}
