//! `sidevault backup`: a consistent copy of the store, made while it is served, and the check of one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use sidevault_sops::Identities;
use sidevault_store::{Manifest, check_backup, check_backup_with_keys};
use sidevault_sync::backup::{self, Backup, BackupRecord, Place, Target};

use crate::cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

/// Runs the command, or one of its sub-commands.
pub(crate) async fn run(arguments: cli::Backup, environment: &Environment) -> Result<(), Failure> {
    match arguments.command {
        None => {}
        Some(cli::BackupCommand::Verify {
            from,
            age_key_file,
            place,
        }) => {
            let installation = Installation::find(&place, environment);
            let file = Readable::open(&from, age_key_file, &installation, environment).await?;
            return verify(&file, &installation).await;
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
    for backup in place.list().await? {
        output::line(&format!(
            "{}  {:>12} bytes  {}",
            backup.taken_at, backup.bytes, backup.location
        ))?;
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

async fn verify(file: &Readable, installation: &Installation) -> Result<(), Failure> {
    if !installation.has_keys() {
        let manifest = check_backup(file.path()).await?;
        output::line(&summary(&manifest))?;
        output::line("all tables are as they were when the backup was made")?;
        eprintln!("no credentials file was found, so no row was decrypted: name it with --session");
        return Ok(());
    }
    let (manifest, rows) = check_backup_with_keys(file.path(), installation.credentials()?.kek()).await?;
    output::line(&summary(&manifest))?;
    output::line(&format!(
        "all tables are as they were when the backup was made, and these keys open every row: {} vaults, {} items, {} old versions, \
         {} file chunks, {} batches of activity, {} tokens",
        rows.vaults, rows.items, rows.versions, rows.chunks, rows.activity, rows.tokens
    ))
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

/// A backup that is not encrypted, or has been decrypted into a temporary file.
pub(super) enum Readable {
    AsItIs(PathBuf),
    Temporary(tempfile::TempPath),
}

impl Readable {
    /// The backup at `from`. If that is a directory or a bucket, the newest backup in it.
    pub(super) async fn open(
        from: &Path,
        age_key_file: Option<PathBuf>,
        installation: &Installation,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let found = match place_of(from, installation, environment)? {
            #[cfg(feature = "s3")]
            Place::S3(s3) => Self::Temporary(s3.fetch().await?),
            place if from.is_dir() => {
                let newest = place.list().await?.pop();
                let none = || Failure::NotFound(format!("{} has no backup", from.display()));
                Self::AsItIs(from.join(newest.ok_or_else(none)?.name))
            }
            Place::Directory(file) if file.exists() => Self::AsItIs(file),
            Place::Directory(file) => return Err(Failure::NotFound(format!("there is no file {}", file.display()))),
        };
        if !backup::is_encrypted(found.path())? {
            return Ok(found);
        }
        let identities = identities(from, age_key_file.as_deref(), environment)?;
        let decrypted = backup::decrypted(found.path(), identities, &scratch(installation)).await?;
        Ok(Self::Temporary(decrypted))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::AsItIs(path) => path,
            Self::Temporary(path) => path,
        }
    }
}
