//! KeePass, KeePassXC and their relatives: KDBX 3 and 4, with a password, a key file or both.

mod convert;
mod header;
#[cfg(test)]
mod tests;

use std::io::Cursor;

use ::keepass::DatabaseKey;
use ::keepass::db::{Database, GroupRef};
use ::keepass::error::{DatabaseKeyError, DatabaseOpenError};

use super::whole::{Contents, Whole};
use super::{Groups, ImportError, ImportedVault, Options};
use convert::Converter;

/// How deep groups may be nested.
const MAX_DEPTH: usize = 100;

/// Whether a file begins as those of KeePass do.
pub(super) fn recognises(head: &[u8]) -> bool {
    head.starts_with(&header::SIGNATURE)
}

/// Reads a file.
pub(super) fn read(data: &[u8], options: &Options<'_>) -> Result<Whole, ImportError> {
    header::check(data)?;
    let database = Database::parse(data, key(options)?).map_err(failure)?;
    convert(&database, options.groups)
}

fn key(options: &Options<'_>) -> Result<DatabaseKey, ImportError> {
    let mut key = DatabaseKey::new();
    let password = match (options.password)("the KeePass file") {
        // A key file alone is enough.
        Err(ImportError::NoPassword(_)) if options.key_file.is_some() => None,
        password => Some(password?),
    };
    if let Some(file) = options.key_file {
        key = key.with_keyfile(&mut Cursor::new(file))?;
    }
    match password {
        Some(password) if !password.is_empty() || options.key_file.is_none() => {
            let text = std::str::from_utf8(&password).map_err(|_| {
                ImportError::WrongPassword("the password is not UTF-8, as KeePass's passwords are".to_owned())
            })?;
            Ok(key.with_password(text))
        }
        _ => Ok(key),
    }
}

/// The errors of the crate name parts of the format only where they do not quote the content.
fn failure(error: DatabaseOpenError) -> ImportError {
    match error {
        DatabaseOpenError::Key(DatabaseKeyError::IncorrectKey) => ImportError::WrongPassword(
            "the password or the key file is wrong. If the database also needs a hardware key, remove it from the database first, which \
             this version can't use"
                .to_owned(),
        ),
        DatabaseOpenError::Key(error) => ImportError::WrongPassword(format!("the key file: {error}")),
        DatabaseOpenError::Io(error) => ImportError::Io(error),
        // A wrong key of KDBX 3 shows as padding that makes no sense.
        DatabaseOpenError::Cryptography(_) => {
            ImportError::WrongPassword("the password or the key file is wrong, or the file was damaged".to_owned())
        }
        _ => ImportError::malformed("the KeePass file", "it is damaged, or in a form that this version can't read"),
    }
}

/// The name of the vault for entries at the top, if the database has none.
const NO_NAME: &str = "KeePass";

fn convert(database: &Database, groups: Groups) -> Result<Whole, ImportError> {
    let root = database.root();
    let name = database.meta.database_name.as_deref().filter(|name| !name.is_empty());
    let mut reader = Reader {
        converter: Converter::default(),
        vaults: vec![ImportedVault {
            source_id: root.id().uuid().to_string(),
            name: name.unwrap_or(NO_NAME).to_owned(),
            description: None,
        }],
        bin: database.recycle_bin().map(|group| group.id().uuid()),
        groups,
    };
    reader.group(&root, 0, &mut Vec::new(), false)?;
    let Reader { converter, vaults, .. } = reader;
    Ok(Whole {
        vaults,
        entries: converter.entries,
        contents: Contents::Memory(converter.contents),
    })
}

struct Reader {
    converter: Converter,
    vaults: Vec<ImportedVault>,
    /// The group of deleted entries.
    bin: Option<uuid::Uuid>,
    groups: Groups,
}

impl Reader {
    /// Reads the entries of a group and of the groups in it. `path` has the names of the groups that are not vaults.
    fn group(
        &mut self,
        group: &GroupRef<'_>,
        vault: usize,
        path: &mut Vec<String>,
        deleted: bool,
    ) -> Result<(), ImportError> {
        if path.len() > MAX_DEPTH {
            return Err(ImportError::malformed(
                "the KeePass file",
                "its groups are nested too deep",
            ));
        }
        for entry in group.entries() {
            self.converter.entry(&entry, vault, &path.join("/"), deleted);
        }
        for below in group.groups() {
            let deleted = deleted || self.bin == Some(below.id().uuid());
            let is_vault = self.groups == Groups::Vaults && group.parent().is_none() && !deleted;
            if is_vault {
                self.vaults.push(ImportedVault {
                    source_id: below.id().uuid().to_string(),
                    name: below.name.clone(),
                    description: below.notes.clone().filter(|notes| !notes.is_empty()),
                });
                let number = self.vaults.len() - 1;
                self.group(&below, number, path, deleted)?;
            } else {
                path.push(below.name.clone());
                self.group(&below, vault, path, deleted)?;
                path.pop();
            }
        }
        Ok(())
    }
}
