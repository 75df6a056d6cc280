//! `sidevault restore`: makes the store from a backup.

use std::path::Path;

use sidevault_keys::KeyEncryptionKey;
use sidevault_store::{Database, Lost, Restored, StoreError, copy_store, restore};

use super::backup::{assembled, complete, summary};
use crate::cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

/// Runs the command.
pub(crate) async fn run(arguments: cli::Restore, environment: &Environment) -> Result<(), Failure> {
    let installation = Installation::find(&arguments.place, environment);
    let database = installation.database()?;
    let found = assembled(&arguments.from, &installation, environment).await?;
    let file = found.file.as_ref();
    let kek = installation.credentials()?.kek();
    let restored = match &database {
        Database::Sqlite(directory) => restore(file, directory, arguments.replace, kek)
            .await
            .map_err(|error| match error {
                StoreError::Occupied => Failure::Conflict(format!(
                    "there is a store in {database} already: --replace moves it aside and restores the backup"
                )),
                error => error.into(),
            })?,
        Database::Postgres(_) => restore_elsewhere(file, &database, kek).await?,
    };
    output::line(&format!("restored into {database}: {}", summary(&restored.manifest)))?;
    if let Some(path) = &restored.moved_to {
        output::line(&format!("the store that was there before is now {}", path.display()))?;
    }
    explain(&restored.lost)?;
    if let Err(failure) = complete(&found) {
        eprintln!("sidevault: {failure}");
    }
    eprintln!("start sync. An api that runs serves the restored store as soon as sync has opened it");
    Ok(())
}

/// Restores into a temporary directory, and copies the store from there into an empty database.
async fn restore_elsewhere(file: &Path, database: &Database, kek: KeyEncryptionKey) -> Result<Restored, Failure> {
    let staging = tempfile::tempdir()?;
    let restored = restore(file, staging.path(), false, kek).await?;
    copy_store(&Database::Sqlite(staging.path().to_owned()), database, |_, _| {}).await?;
    Ok(restored)
}

/// Says what the store that was there had, and the backup has not.
fn explain(lost: &Lost) -> Result<(), Failure> {
    match lost {
        Lost::NoStore => Ok(()),
        Lost::Unknown(cause) => output::line(&format!("it can't be read, so what is lost is not known: {cause}")),
        Lost::OtherStore => {
            output::line("the backup was made of another store, or so long ago that the changes since are not known")
        }
        Lost::Changes { count: 0, .. } => output::line("nothing is lost: the backup has every change"),
        Lost::Changes { count, newest, revoked } => {
            let newest = newest.map(|at| format!(", the last at {at}")).unwrap_or_default();
            output::line(&format!("lost: {count} changes since the backup{newest}"))?;
            if !revoked.is_empty() {
                output::line(&format!(
                    "revoke again, because these tokens were revoked since: sidevault token revoke {}",
                    revoked.join(" ")
                ))?;
            }
            Ok(())
        }
    }
}
