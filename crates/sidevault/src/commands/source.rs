//! `sidevault source`: looks at directories before sync serves them.

use std::path::{Path, PathBuf};

use sidevault_keys::Credentials;
use sidevault_sync::{Config, DirectorySource, LeftOutBy, Preview, preview};

use crate::cli;
use crate::exit::Failure;
use crate::output::{self, Table};

/// Runs one of the sub-commands.
pub(crate) fn run(command: &cli::Source) -> Result<(), Failure> {
    let cli::Source::Preview {
        directory,
        config,
        age_key_files,
        json,
        strict,
    } = command;
    let source = match config {
        None => directory.source(age_key_files),
        Some(file) => configured(file, directory, age_key_files)?,
    };
    // No id is shown, so any keys do.
    let (credentials, _) = Credentials::generate();
    let found = preview(&source, &credentials.id_key());
    let found = found.map_err(Failure::NotFound)?;
    if *json {
        output::json(&found)?;
    } else {
        print(&found)?;
    }
    let (bad, shared, suspects) = (found.bad.len(), found.shared_titles.len(), found.suspects.len());
    if *strict && bad + shared + suspects > 0 {
        return Err(Failure::Found(format!(
            "source preview: {bad} files can't be served, {shared} titles belong to several items, {suspects} plaintext values look \
             like secrets"
        )));
    }
    Ok(())
}

/// The source of a sources file that the argument names, with the argument's directory in place of its own, if there is one.
fn configured(file: &Path, argument: &cli::Directory, age_key_files: &[PathBuf]) -> Result<DirectorySource, Failure> {
    let config = Config::load(file).map_err(|error| Failure::Config(error.to_string()))?;
    let (name, directory) = match &argument.name {
        Some(name) => (name.clone(), Some(&argument.path)),
        None => (argument.path.to_string_lossy().into_owned(), None),
    };
    let names: Vec<&str> = config.directories.iter().map(|source| source.name.as_str()).collect();
    let names = names.join(", ");
    let Some(mut source) = config.directories.into_iter().find(|source| source.name == name) else {
        return Err(Failure::Config(format!(
            "{} has no directory or git source \"{name}\", but: {names}",
            file.display()
        )));
    };
    match directory {
        Some(directory) => source.path.clone_from(directory),
        None if source.git.is_some() => {
            return Err(Failure::Config(format!(
                "\"{name}\" is a git source: clone its repository, and write {name}=DIR with the directory that `path` names in the clone"
            )));
        }
        None => {}
    }
    source.age_key_files.extend_from_slice(age_key_files);
    Ok(source)
}

fn print(preview: &Preview) -> Result<(), Failure> {
    let mut table = Table::new(["FILE", "VAULT", "TITLE", "FIELDS"]);
    for item in &preview.items {
        let labels = [&item.fields[..], &item.files].concat().join(", ");
        table.row([item.file.clone(), item.vault.clone(), item.title.clone(), labels]);
    }
    table.print()?;
    for left_out in &preview.left_out {
        let rule = match left_out.by {
            LeftOutBy::Excluded => "include and exclude of the source",
            LeftOutBy::Ignored => "a .gitignore file",
            LeftOutBy::Folder => "`ignore` of a .sidevault.yaml file or of the source's folders",
            LeftOutBy::Plaintext => "not encrypted, in a tree with encrypted files",
        };
        note("left out", &left_out.path, rule)?;
    }
    for folder in &preview.missing_folders {
        note("no such folder", folder, "`folders` of the source names it")?;
    }
    for shared in &preview.shared_titles {
        let title = format!("{}/{}", shared.vault, shared.title);
        note("same title", &title, &shared.files.join(", "))?;
    }
    for recognized in &preview.recognized {
        note(recognized.kind, &recognized.file, &recognized.meaning)?;
    }
    for suspect in &preview.suspects {
        let value = if suspect.value.is_empty() {
            "the file"
        } else {
            &suspect.value
        };
        note(
            "plaintext",
            &suspect.file,
            &format!("{value} looks like a secret: {}", suspect.why),
        )?;
    }
    for (file, error) in &preview.bad {
        note("bad", file, error)?;
    }
    Ok(())
}

fn note(what: &str, subject: &str, why: &str) -> Result<(), Failure> {
    output::line(&sidevault_model::printable(&format!("{what}: {subject}: {why}")))
}
