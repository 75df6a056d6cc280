//! What `item uses` prints.

use std::path::PathBuf;

use serde::Serialize;
use sidevault_model::{Item, Timestamp, Vault, printable};

use super::graph::{Dependents, MadeSecret, Push, Reader, Workload};
use super::readers::TokenReads;
use crate::exit::Failure;
use crate::output::{self, Table};

/// All that uses an item. A part that was not looked at is `None`, and among the gaps.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    item: Named,
    vault: Named,
    pub(super) cluster: Option<Dependents>,
    pub(super) readers: Option<Vec<TokenReads>>,
    /// When the oldest record of the activity log was made.
    pub(super) activity_since: Option<Timestamp>,
    pub(super) files: Option<Vec<SourceFile>>,
    #[serde(rename = "notLookedAt")]
    pub(super) gaps: Vec<Gap>,
}

#[derive(Debug, Serialize)]
struct Named {
    id: String,
    name: String,
}

/// A file that the item comes from.
#[derive(Debug, Serialize)]
pub(super) struct SourceFile {
    pub(super) directory: PathBuf,
    pub(super) file: String,
}

/// A part that was not looked at, and why.
#[derive(Debug, Serialize)]
pub(super) struct Gap {
    part: &'static str,
    why: String,
}

impl Gap {
    pub(super) fn new(part: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { part, why }
    }
}

impl Report {
    pub(super) fn new(vault: &Vault, item: &Item) -> Self {
        Self {
            item: Named {
                id: item.id.to_string(),
                name: item.title.clone(),
            },
            vault: Named {
                id: vault.id.to_string(),
                name: vault.name.clone(),
            },
            cluster: None,
            readers: None,
            activity_since: None,
            files: None,
            gaps: Vec::new(),
        }
    }

    /// Prints the report for people: a heading for each part, and what it has.
    pub(super) fn print(&self) -> Result<(), Failure> {
        output::line(&format!(
            "{}/{} ({})",
            printable(&self.vault.name),
            printable(&self.item.name),
            self.item.id
        ))?;
        match &self.cluster {
            Some(found) => {
                self.part("ExternalSecrets that read it", "cluster", Some(readers(found)))?;
                self.part("Secrets made of it", "cluster", Some(secrets(found)))?;
                self.part("Workloads that use these Secrets", "cluster", Some(workloads(found)))?;
                self.part("PushSecrets", "cluster", Some(pushes(found)))?;
            }
            None => self.part("ExternalSecrets, Secrets, workloads, PushSecrets", "cluster", None)?,
        }
        let title = match self.activity_since {
            Some(since) => format!("Tokens that read it since {since}"),
            None => "Tokens that read it".to_owned(),
        };
        self.part(&title, "activity", self.readers.as_deref().map(tokens))?;
        self.part("Files", "files", self.files.as_deref().map(files))
    }

    /// A heading, and below it the table, `none`, or why the part was not looked at.
    fn part(&self, title: &str, part: &str, table: Option<Table>) -> Result<(), Failure> {
        output::line("")?;
        output::line(&output::styled(title, "1"))?;
        match table {
            Some(table) if table.is_empty() => output::line("  none"),
            Some(table) => {
                for line in table.lines("  ") {
                    output::line(&format!("  {line}"))?;
                }
                Ok(())
            }
            None => {
                let why = self
                    .gaps
                    .iter()
                    .find(|gap| gap.part == part)
                    .map(|gap| printable(&gap.why));
                output::line(&format!("  not looked at: {}", why.unwrap_or_default()))
            }
        }
    }
}

fn readers(found: &Dependents) -> Table {
    let mut table = Table::new(["KIND", "NAME", "READS", "STORE"]);
    for Reader {
        kind,
        namespace,
        name,
        stores,
        reads,
        read_by_operator,
    } in &found.external_secrets
    {
        let name = match namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.clone(),
        };
        let stores: Vec<&str> = stores
            .iter()
            .map(|store| store.as_deref().unwrap_or("the operator's default store"))
            .collect();
        let mut reads = reads.join(", ");
        if *read_by_operator == Some(false) {
            reads.push_str(" (not yet)");
        }
        table.row([kind.clone(), name, reads, stores.join(", ")]);
    }
    table
}

fn secrets(found: &Dependents) -> Table {
    let mut table = Table::new(["NAME", "KEYS", "MADE BY"]);
    for MadeSecret {
        namespace,
        name,
        keys,
        made_by,
        ..
    } in &found.secrets
    {
        let keys = keys
            .as_ref()
            .map(|keys| keys.iter().cloned().collect::<Vec<_>>().join(", "));
        let made_by: Vec<&str> = made_by.iter().map(String::as_str).collect();
        table.row([
            format!("{namespace}/{name}"),
            keys.unwrap_or_else(|| "any".to_owned()),
            format!("ExternalSecret {}", made_by.join(", ")),
        ]);
    }
    table
}

fn workloads(found: &Dependents) -> Table {
    let mut table = Table::new(["KIND", "NAME", "SECRET", "THROUGH"]);
    for Workload {
        kind,
        namespace,
        name,
        owner,
        secret,
        through,
    } in &found.workloads
    {
        let kind = match owner {
            Some(owner) => format!("{kind} of {owner}"),
            None => kind.clone(),
        };
        table.row([kind, format!("{namespace}/{name}"), secret.clone(), through.join(", ")]);
    }
    table
}

fn pushes(found: &Dependents) -> Table {
    let mut table = Table::new(["NAME", "WRITES INTO THE ITEM", "READS SECRETS MADE OF IT"]);
    for Push {
        namespace,
        name,
        writes,
        reads_secrets,
    } in &found.push_secrets
    {
        table.row([
            format!("{namespace}/{name}"),
            writes.join(", "),
            reads_secrets.join(", "),
        ]);
    }
    table
}

fn tokens(found: &[TokenReads]) -> Table {
    let mut table = Table::new(["TOKEN", "LAST", "READS", "CLIENT", "ADDRESS"]);
    for reader in found {
        table.row([
            match &reader.name {
                Some(name) => format!("{name} ({})", reader.jti),
                None => reader.jti.clone(),
            },
            reader.last.to_string(),
            reader.reads.to_string(),
            reader.client.clone(),
            reader.address.clone(),
        ]);
    }
    table
}

fn files(found: &[SourceFile]) -> Table {
    let mut table = Table::new(["DIRECTORY", "FILE"]);
    for file in found {
        table.row([file.directory.display().to_string(), file.file.clone()]);
    }
    table
}
