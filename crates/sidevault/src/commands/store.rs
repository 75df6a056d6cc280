//! `sidevault store`: the database that holds everything.

use sidevault_store::{Database, StoreError, Writer, WriterOptions, copy_store};

use crate::cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

/// Runs one of the sub-commands.
pub(crate) async fn run(command: cli::Store, environment: &Environment) -> Result<(), Failure> {
    match command {
        cli::Store::Init { place } => init(&Installation::find(&place, environment)).await,
        cli::Store::Check { place } => check(&Installation::find(&place, environment)).await,
        cli::Store::Migrate { place } => {
            let installation = Installation::find(&place, environment);
            open_and_close(&installation).await?;
            output::line(&format!("the schema of {} is up to date", installation.database()?))
        }
        cli::Store::Move { to, from, place } => {
            let from = match from {
                Some(from) => Database::from_argument(&from)?,
                None => Installation::find(&place, environment).database()?,
            };
            move_store(&from, &Database::from_argument(&to)?).await
        }
    }
}

async fn init(installation: &Installation) -> Result<(), Failure> {
    let database = installation.database()?;
    match installation.reader(&installation.credentials()?).await {
        Ok(_) => return Err(Failure::Conflict(format!("there is a store in {database} already"))),
        Err(Failure::NotFound(_)) => {}
        Err(failure) => return Err(failure),
    }
    open_and_close(installation).await?;
    output::line(&format!("made an empty store in {database}"))
}

/// Opens the store as a sync does, which makes it or brings it up to date.
async fn open_and_close(installation: &Installation) -> Result<(), Failure> {
    let credentials = installation.credentials()?;
    let writer = Writer::open(&installation.database()?, credentials.kek(), WriterOptions::default()).await?;
    Ok(writer.close().await?)
}

async fn check(installation: &Installation) -> Result<(), Failure> {
    let reader = installation.reader(&installation.credentials()?).await?;
    if let Some(integrity) = reader.quick_check().await?
        && integrity != "ok"
    {
        return Err(Failure::Integrity(format!(
            "SQLite finds the database damaged: {integrity}"
        )));
    }
    let snapshot = reader.snapshot().await?;
    let items: u64 = snapshot.vaults().map(|entry| entry.vault.items).sum();
    output::line(&format!("store    {}", installation.database()?))?;
    output::line("keys     these keys open it")?;
    output::line(&format!("vaults   {}", snapshot.vaults().count()))?;
    output::line(&format!("items    {items}"))?;
    output::line(&format!("change   {}", snapshot.sequence()))
}

async fn move_store(from: &Database, to: &Database) -> Result<(), Failure> {
    if matches!(from, Database::Sqlite(dir) if !sidevault_store::has_store(dir)) {
        return Err(StoreError::Missing(from.to_string()).into());
    }
    eprintln!("copying {from} to {to}");
    let mut tables = Vec::new();
    copy_store(from, to, |table, rows| tables.push(format!("{table} {rows}"))).await?;
    output::line(&format!("copied and compared, rows by table: {}", tables.join(", ")))?;
    eprintln!(
        "{from} was not changed. Set SIDEVAULT_STORE, or the data directory, for api and sync, and start them again"
    );
    Ok(())
}
