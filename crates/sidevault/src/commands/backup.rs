//! `sidevault backup`: a consistent copy of the store, made while it is served, and the check of one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use sidevault_sops::Identities;
use sidevault_store::{Manifest, check_backup, check_backup_with_keys};
use sidevault_sync::backup::{self, Target};

use crate::cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

/// Runs the command, or one of its sub-commands.
pub(crate) async fn run(arguments: cli::Backup, environment: &Environment) -> Result<(), Failure> {
    if let Some(cli::BackupCommand::Verify {
        from,
        age_key_file,
        place,
    }) = arguments.command
    {
        let installation = Installation::find(&place, environment);
        let file = Readable::open(&from, age_key_file, &installation, environment).await?;
        return verify(&file, &installation).await;
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
    if arguments.keep.is_some() && !is_directory {
        return Err(Failure::Usage("--keep needs a directory: --to DIR/".to_owned()));
    }
    let target = if is_directory {
        Target::Directory(to.clone())
    } else {
        Target::File(to.clone())
    };
    let made = backup::write(&installation.database()?, &target, &arguments.recipients).await?;
    output::line(&format!("{}  {}", made.path.display(), summary(&made.manifest)))?;
    if let Some(retention) = arguments.keep {
        for path in backup::thin_out(&to, &retention)? {
            output::line(&format!("{}  deleted", path.display()))?;
        }
    }
    Ok(())
}

async fn to_stdout(installation: &Installation, recipients: &[backup::Recipient]) -> Result<(), Failure> {
    let staging = tempfile::tempdir_in(scratch(installation))?;
    let target = Target::File(staging.path().join("backup"));
    let made = backup::write(&installation.database()?, &target, recipients).await?;
    let mut out = std::io::stdout().lock();
    std::io::copy(&mut std::fs::File::open(&made.path)?, &mut out)?;
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

/// A backup that is not encrypted, or has been decrypted into a temporary file.
pub(super) enum Readable {
    AsItIs(PathBuf),
    Decrypted(tempfile::TempPath),
}

impl Readable {
    /// The backup at `from`. If that is a directory, the newest backup in it.
    pub(super) async fn open(
        from: &Path,
        age_key_file: Option<PathBuf>,
        installation: &Installation,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let path = if from.is_dir() {
            let newest = backup::list(from)?.pop();
            let none = || Failure::NotFound(format!("{} has no backup", from.display()));
            newest.ok_or_else(none)?.0
        } else {
            from.to_owned()
        };
        if !path.exists() {
            return Err(Failure::NotFound(format!("there is no file {}", path.display())));
        }
        if !backup::is_encrypted(&path)? {
            return Ok(Self::AsItIs(path));
        }
        let keys = age_key_file.or_else(|| environment.get("SOPS_AGE_KEY_FILE").map(PathBuf::from));
        let keys = keys.ok_or_else(|| {
            Failure::Usage(format!(
                "{} is encrypted with age: name a file with its key (--age-key-file FILE)",
                path.display()
            ))
        })?;
        let unreadable = |path: &Path, error| Failure::Config(format!("{}: {error}", path.display()));
        let text = std::fs::read(&keys).map_err(|error| unreadable(&keys, error))?;
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
        let decrypted = backup::decrypted(&path, identities, &scratch(installation)).await?;
        Ok(Self::Decrypted(decrypted))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::AsItIs(path) => path,
            Self::Decrypted(path) => path,
        }
    }
}
