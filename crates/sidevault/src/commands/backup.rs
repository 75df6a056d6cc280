//! `sidevault backup`: a consistent copy of the store, made while it is served, and the check of one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidevault_sops::Identities;
use sidevault_store::{Manifest, check_backup, check_backup_with_keys};
use sidevault_sync::backup::{self, Assembled, Backup, BackupError, BackupRecord, Found, Place, Target};

use crate::cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

/// Runs the command, or one of its sub-commands.
pub(crate) async fn run(arguments: cli::Backup, environment: &Environment) -> Result<(), Failure> {
    match arguments.command {
        None => {}
        Some(cli::BackupCommand::Verify { from, place }) => {
            let installation = Installation::find(&place, environment);
            let found = assembled(&from, &installation, environment).await?;
            verify(&found, &installation).await?;
            return complete(&found);
        }
        Some(cli::BackupCommand::List { from, place }) => {
            return list(&place_of(&from, &Installation::find(&place, environment), environment)?).await;
        }
    }
    let to = arguments.to.unwrap_or_default();
    let installation = Installation::find(&arguments.place, environment);
    if to.as_os_str() == "-" {
        if arguments.keep.is_some() {
            return Err(Failure::Usage("--keep needs a directory: --to DIR".to_owned()));
        }
        return to_stdout(&installation, &arguments.recipients).await;
    }
    let is_directory = to.is_dir() || to.as_os_str().as_encoded_bytes().ends_with(b"/");
    let target = if is_directory || Place::is_bucket(&to) {
        Target::In(place_of(&to, &installation, environment)?)
    } else {
        Target::File(to)
    };
    if arguments.keep.is_some() && matches!(target, Target::File(_)) {
        return Err(Failure::Usage("--keep needs a directory: --to DIR/".to_owned()));
    }
    let made = made(&installation, &target, &arguments.recipients).await?;
    output::line(&format!("{}  {}", made.location, summary(&made.manifest)))?;
    if let (Some(retention), Target::In(place)) = (arguments.keep, &target) {
        for backup in place.thin_out(&retention).await? {
            output::line(&format!("{}  deleted", backup.location))?;
        }
    }
    Ok(())
}

/// The directory or bucket that an argument names.
fn place_of(path: &Path, installation: &Installation, environment: &Environment) -> Result<Place, Failure> {
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    Ok(Place::of(path, &scratch(installation), &variable)?)
}

async fn list(place: &Place) -> Result<(), Failure> {
    for backup in place.list_with_segments().await? {
        output::line(&format!(
            "{}  {:>12} bytes  {}",
            backup.taken_at, backup.bytes, backup.location
        ))?;
        if let Some(followed) = backup.followed {
            let until = match followed.until {
                Some(until) => format!(", the last change at {until}"),
                None => String::new(),
            };
            output::line(&format!("{:20}  followed by {} segments{until}", "", followed.segments))?;
        }
    }
    Ok(())
}

/// Makes a backup, and notes for `doctor` what became of it.
async fn made(
    installation: &Installation,
    target: &Target,
    recipients: &[backup::Recipient],
) -> Result<Backup, Failure> {
    let made = backup::write(&installation.database()?, target, recipients).await;
    match &made {
        Ok(made) => BackupRecord::made(&installation.data, made.manifest.taken_at, &made.location),
        Err(error) => BackupRecord::failed(&installation.data, error),
    }
    Ok(made?)
}

async fn to_stdout(installation: &Installation, recipients: &[backup::Recipient]) -> Result<(), Failure> {
    let staging = tempfile::tempdir_in(scratch(installation))?;
    let file = staging.path().join("backup");
    let made = made(installation, &Target::File(file.clone()), recipients).await?;
    let mut out = std::io::stdout().lock();
    std::io::copy(&mut std::fs::File::open(&file)?, &mut out)?;
    out.flush()?;
    eprintln!("{}", summary(&made.manifest));
    Ok(())
}

/// Where temporary files are made: in the data directory, because an image may have no other directory that can be written.
fn scratch(installation: &Installation) -> PathBuf {
    match installation.data.is_dir() {
        true => installation.data.clone(),
        false => std::env::temp_dir(),
    }
}

/// What a backup holds, for people.
pub(super) fn summary(manifest: &Manifest) -> String {
    format!(
        "{} items in {} vaults, taken at {}, newest change {}",
        manifest.rows("items"),
        manifest.rows("vaults"),
        manifest.taken_at,
        manifest.newest_change
    )
}

async fn verify(found: &Assembled, installation: &Installation) -> Result<(), Failure> {
    let file = found.file.as_ref();
    if !installation.has_keys() {
        let manifest = check_backup(file).await?;
        output::line(&summary(&manifest))?;
        output::line(&format!(
            "all tables are as they were when the backup was made{}",
            replayed(found)
        ))?;
        eprintln!("no credentials file was found, so no row was decrypted: name it with --session");
        return Ok(());
    }
    let (manifest, rows) = check_backup_with_keys(file, installation.credentials()?.kek()).await?;
    output::line(&summary(&manifest))?;
    output::line(&format!(
        "all tables are as they were when the backup was made{}, and these keys open every row: {} vaults, {} items, {} old versions, \
         {} file chunks, {} batches of activity, {} tokens",
        replayed(found),
        rows.vaults,
        rows.items,
        rows.versions,
        rows.chunks,
        rows.activity,
        rows.tokens
    ))
}

/// What was checked besides the backup itself.
fn replayed(found: &Assembled) -> String {
    match found.segments {
        0 => String::new(),
        segments => format!(", the {segments} segments that follow it are whole and linked"),
    }
}

/// Fails if a segment was left out.
pub(super) fn complete(found: &Assembled) -> Result<(), Failure> {
    match &found.left_out {
        None => Ok(()),
        Some(error) => Err(Failure::Integrity(format!(
            "{error}; it and what follows it are left out"
        ))),
    }
}

/// The age keys that may open a file: those in the file that is named, or that SOPS_AGE_KEY_FILE names.
pub(super) fn identities(
    encrypted: &Path,
    age_key_file: Option<&Path>,
    environment: &Environment,
) -> Result<Identities, Failure> {
    let keys = age_key_file.or_else(|| environment.get("SOPS_AGE_KEY_FILE").map(Path::new));
    let keys = keys.ok_or_else(|| {
        Failure::Usage(format!(
            "{} is encrypted with age: name a file with its key (--age-key-file FILE)",
            encrypted.display()
        ))
    })?;
    let unreadable = |path: &Path, error| Failure::Config(format!("{}: {error}", path.display()));
    let text = std::fs::read(keys).map_err(|error| unreadable(keys, error))?;
    let passphrase = match environment.get("SIDEVAULT_AGE_PASSPHRASE_FILE").map(Path::new) {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, error))?;
            Some(zeroize::Zeroizing::new(text))
        }
        None => None,
    };
    let passphrase = passphrase.as_ref().map(|text| text.trim_end_matches(['\r', '\n']));
    let (identities, unusable) = Identities::parse(&zeroize::Zeroizing::new(text), passphrase);
    if identities.is_empty() {
        let why = unusable.first().map(|line| format!(": {line}")).unwrap_or_default();
        return Err(Failure::Config(format!(
            "{} has no age key that can be used{why}",
            keys.display()
        )));
    }
    Ok(identities)
}

/// The backup that the arguments mean, in one file with the segments that follow it.
pub(super) async fn assembled(
    from: &cli::FromBackup,
    installation: &Installation,
    environment: &Environment,
) -> Result<Assembled, Failure> {
    let found = Found::find(place_of(&from.path, installation, environment)?, &from.path, from.at).await?;
    let identities = match found.is_encrypted()? {
        true => Some(Arc::new(identities(
            &from.path,
            from.age_key_file.as_deref(),
            environment,
        )?)),
        false => None,
    };
    let assembled = found
        .assemble(identities.as_ref(), &scratch(installation), from.last_good)
        .await;
    assembled.map_err(|error| match &error {
        BackupError::Segment { .. } | BackupError::SegmentMissing { .. } => {
            Failure::Integrity(format!("{error}; --last-good takes the state before it"))
        }
        _ => error.into(),
    })
}
