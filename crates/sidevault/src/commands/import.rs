//! `sidevault import`: reads another program's export into the store.

pub(crate) mod check;
mod directory;
pub(crate) mod entries;
mod password_store;
pub(crate) mod places;
pub(crate) mod served;
mod survey;
mod write;

use std::collections::HashSet;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use sidevault_exchange::compare::{Difference, differences};
use sidevault_exchange::import::{Entry, ImportedItem};
use sidevault_exchange::plan::{self, OnConflict, ServerVault, Target};
use sidevault_keys::Credentials;
use sidevault_model::{Item, ItemId, Timestamp, printable};
use sidevault_store::{Command, CommandAnswer};

use self::check::Check;
use self::entries::Export;
use self::places::{Ids, Places, Vault};
use self::served::Served;
use self::survey::Survey;
use self::write::Sender;
use crate::admin::Writer;
use crate::cli;
use crate::commands::quickstart;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::input;
use crate::installation::Installation;

pub(crate) async fn run(arguments: cli::Import, environment: &Environment) -> Result<(), Failure> {
    let installation = Installation::find(&arguments.place, environment);
    let credentials = installation.credentials()?;
    let export = Export::open(&arguments.reading)?;
    let policy = OnConflict::from(arguments.on_conflict);

    let imported = export.vaults()?;
    let reader = installation.reader(&credentials).await?;
    let snapshot = reader.snapshot().await?;
    let existing: Vec<ServerVault> = snapshot
        .vaults()
        .map(|entry| ServerVault {
            id: entry.vault.id,
            name: entry.vault.name.clone(),
            is_local: entry.is_local(),
        })
        .collect();
    drop(snapshot);
    let targets = plan::targets(&imported, &existing, &arguments.mapping.renames).map_err(Failure::Usage)?;
    let ids = credentials.id_key();
    let mut places = Places {
        vaults: targets.iter().map(vault_of).collect(),
        tags: arguments.mapping.tags,
        ids: Ids::new(Box::new(move || Some(ids))),
        now: Timestamp::now(),
    };
    let import = Import {
        export: &export,
        served: Served::Store(Box::new(reader)),
        policy,
    };

    let survey = import.survey(&places).await?;
    survey.print(&targets, policy, arguments.plan)?;
    if arguments.plan {
        return Ok(());
    }
    if !arguments.yes && io::stdin().is_terminal() && io::stderr().is_terminal() {
        input::confirm("This imports what the plan says.")?;
    }

    let writer = Arc::new(Writer::open(&installation, &credentials).await?);
    make_vaults(&writer, &targets, &mut places, arguments.allow_ephemeral).await?;
    let outcome = import.write(&places, writer.clone(), &survey).await;
    if let Some(writer) = Arc::into_inner(writer) {
        writer.close().await;
    }
    let left = outcome?;
    if targets.iter().any(|target| matches!(target, Target::New { .. })) {
        quickstart::renew_token(&installation, &credentials).await?;
    }
    verify(&installation, &credentials, &import, &places, &left).await
}

/// The vault, as far as it exists.
pub(crate) fn vault_of(target: &Target) -> Vault {
    Vault {
        id: match target {
            Target::Existing { id, .. } => Some(*id),
            Target::New { .. } => None,
        },
        name: target.name().to_owned(),
    }
}

/// Makes the vaults that do not exist yet.
async fn make_vaults(
    writer: &Writer,
    targets: &[Target],
    places: &mut Places,
    allow_ephemeral: bool,
) -> Result<(), Failure> {
    for (target, place) in targets.iter().zip(&mut places.vaults) {
        let Target::New { id, name, description } = target else {
            continue;
        };
        let command = Command::CreateVault {
            name: name.clone(),
            description: description.clone(),
            id: *id,
            allow_ephemeral,
        };
        let CommandAnswer::Vault(made) = writer.command(command).await? else {
            return Err(Failure::Failed(
                "sync is of another version: it did not say which vault it made".to_owned(),
            ));
        };
        if id.is_some_and(|id| id != made.id) {
            eprintln!(
                "note: the id of vault \"{}\" belongs or belonged to another vault, so it has the new id {}",
                printable(name),
                made.id
            );
        }
        place.id = Some(made.id);
    }
    Ok(())
}

/// Compares the export with the store, as it is after the import.
async fn verify(
    installation: &Installation,
    credentials: &Credentials,
    import: &Import<'_>,
    places: &Places,
    left: &HashSet<ItemId>,
) -> Result<(), Failure> {
    let check = Check {
        export: import.export,
        places,
        served: &Served::Store(Box::new(installation.reader(credentials).await?)),
        only: None,
        left,
    };
    check.run().await
}

/// What to do with an item.
enum Decision {
    Create(Box<Item>),
    Equal,
    /// The server has the item with other content.
    Leave(ItemId),
    Replace {
        old: Box<Item>,
        new: Box<Item>,
    },
    /// The server can't hold it.
    Refuse(Vec<String>),
}

struct Import<'a> {
    export: &'a Export,
    served: Served,
    policy: OnConflict,
}

impl Import<'_> {
    async fn decide(&self, places: &Places, imported: &ImportedItem) -> Result<(Item, Decision), Failure> {
        let wanted = places.item(imported)?;
        let obstacles = plan::obstacles(&wanted);
        if !obstacles.is_empty() {
            return Ok((wanted, Decision::Refuse(obstacles)));
        }
        let Some(old) = self.served(places, imported, &wanted).await? else {
            return Ok((wanted.clone(), Decision::Create(Box::new(wanted))));
        };
        if is_equal(imported, &wanted, &old) && self.has_equal_files(imported, &wanted, &old).await? {
            return Ok((wanted, Decision::Equal));
        }
        let decision = match self.policy {
            OnConflict::Skip => Decision::Leave(wanted.id),
            OnConflict::Update => Decision::Replace {
                old: Box::new(old),
                new: Box::new(wanted.clone()),
            },
            OnConflict::Copy => {
                let copy = places.copy(imported, &wanted)?;
                match self.served(places, imported, &copy).await? {
                    Some(_) => Decision::Leave(wanted.id),
                    None => Decision::Create(Box::new(copy)),
                }
            }
        };
        Ok((wanted, decision))
    }

    /// Whether files of the same size have the same bytes. Where the server's item stays in any case, they are read once only, by the
    /// comparison at the end.
    async fn has_equal_files(&self, imported: &ImportedItem, wanted: &Item, old: &Item) -> Result<bool, Failure> {
        if self.policy == OnConflict::Skip {
            return Ok(true);
        }
        let changed = check::changed_files(self.export, &self.served, imported, wanted, old).await?;
        Ok(changed.is_empty())
    }

    /// The server's item with the id of `wanted`.
    async fn served(&self, places: &Places, imported: &ImportedItem, wanted: &Item) -> Result<Option<Item>, Failure> {
        match places.vaults.get(imported.vault).and_then(|vault| vault.id) {
            Some(vault) => self.served.item(vault, wanted.id).await,
            None => Ok(None),
        }
    }

    /// Reads the export once, and says what an import would do.
    async fn survey(&self, places: &Places) -> Result<Survey, Failure> {
        let mut survey = Survey::new();
        let mut entries = self.export.entries();
        while let Some(entry) = entries.next().await? {
            let imported = match entry {
                Entry::Item(imported) => imported,
                Entry::Skipped(skipped) => {
                    let counts = survey.counts.entry(skipped.vault).or_default();
                    *counts.skipped.entry(skipped.reason.into_owned()).or_default() += 1;
                    continue;
                }
            };
            let (item, decision) = self.decide(places, &imported).await?;
            let name = format!("{} \"{}\"", item.id, printable(&item.title));
            for loss in &imported.losses {
                survey.lose(format!("{name}: {loss}"));
            }
            let counts = survey.counts.entry(imported.vault).or_default();
            match decision {
                Decision::Refuse(obstacles) => {
                    counts.refused += 1;
                    survey.lose(format!("{name} can't be imported: {}", obstacles.join("; ")));
                    continue;
                }
                Decision::Create(new) if new.id == item.id => counts.new += 1,
                Decision::Equal => counts.equal += 1,
                Decision::Create(_) | Decision::Leave(_) | Decision::Replace { .. } => counts.conflicts += 1,
            }
            counts.item(&item);
        }
        Ok(survey)
    }

    /// Writes every item that the server lacks. Returns the items that stay as they are although they differ.
    async fn write(&self, places: &Places, writer: Arc<Writer>, survey: &Survey) -> Result<HashSet<ItemId>, Failure> {
        let progress =
            ProgressBar::new(survey.total(|counts| counts.new + counts.equal + counts.conflicts + counts.refused));
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} items, {per_sec}, {eta} left") {
            progress.set_style(style);
        }
        let mut sender = Sender::new(writer);
        let mut left = HashSet::new();
        let mut entries = self.export.entries();
        while let Some(entry) = entries.next().await? {
            let Entry::Item(imported) = entry else { continue };
            let (wanted, decision) = self.decide(places, &imported).await?;
            let (item, old) = match decision {
                Decision::Create(item) => (Some(item), None),
                Decision::Replace { old, new } => (Some(new), Some(old)),
                Decision::Leave(id) => {
                    left.insert(id);
                    (None, None)
                }
                Decision::Equal | Decision::Refuse(_) => (None, None),
            };
            if let Some(item) = item {
                if item.id != wanted.id {
                    left.insert(wanted.id);
                }
                let contents = sender
                    .files(self.export, &imported, &item, old.as_deref(), places.key()?)
                    .await?;
                sender.item(*item, contents, old.map(|old| old.version)).await?;
            }
            progress.inc(1);
        }
        sender.finish().await?;
        progress.finish_and_clear();
        Ok(left)
    }
}

/// Whether the server has the item as the export has it. The time of creation does not count: an update can't change it.
fn is_equal(imported: &ImportedItem, wanted: &Item, served: &Item) -> bool {
    differences(imported, wanted, served)
        .iter()
        .all(|difference| *difference == Difference::Part("time of creation"))
}
