//! `op read`, `op inject`, `op run` and `op env ls`.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use rustix::fs::{FileType, fstat};
use sidevault_client::ReferenceError;
use sidevault_model::reference::{UnresolvedKind, has_scheme};
use sidevault_model::{Reference, printable};

use crate::commands::inject::{MAX_TEMPLATE_BYTES, variable};
use crate::environment::variables_of_process;
use crate::input;
use crate::secrets::child::Program;
use crate::secrets::mask::Values;
use crate::secrets::output_file::{OutputFile, parse_mode};
use crate::secrets::template::{self, Part};
use crate::secrets::variables::Variables;
use crate::secrets::{Secrets, Unavailable, has_references};

use super::session::{Session, no_item, no_vault};
use super::{Call, End, Error, print, write_out};

/// What stands for a value in the output of a command.
const MASK: &str = "<concealed by 1Password>";

/// `op read REFERENCE`.
pub(super) async fn read(call: &Call<'_>, text: &str) -> Result<(), End> {
    let unread = |why: String| Error::new(format!("could not read secret '{}': {why}", printable(text)));
    let reference = template::reference(text).map_err(|flaw| unread(flaw.to_string()))?;
    let output = output_file(call)?;
    let line_break = !call.line.switch("no-newline")?;
    let session = Session::open(call).map_err(|error| unread(format!("error initializing client: {error}")))?;
    let part = Part::Reference(reference);
    let secrets = match Secrets::of(&session.client, [&part].into_iter()).await {
        Ok(secrets) => secrets,
        Err(Unavailable::Server(error)) => return Err(unread(Error::from(error).to_string()).into()),
        Err(Unavailable::Reference(reference, error)) => {
            let item = printable(&format!("{}/{}", reference.vault, reference.item));
            let why = match error.error.kind {
                UnresolvedKind::VaultNotFound => format!("could not get item {item}: {}", no_vault(&reference.vault)),
                UnresolvedKind::ItemNotFound => {
                    format!(
                        "could not get item {item}: {}",
                        no_item(&reference.item, Some(&reference.vault))
                    )
                }
                UnresolvedKind::TooManyItems => {
                    format!(
                        "could not get item {item}: {}",
                        all_of(&session, &reference, &error).await
                    )
                }
                _ => in_item(&reference, &error),
            };
            return Err(unread(why).into());
        }
    };
    let mut bytes = secrets.bytes(&part).to_vec();
    if line_break {
        bytes.push(b'\n');
    }
    write(output, &bytes)
}

/// `op inject`.
pub(super) async fn inject(call: &Call<'_>) -> Result<(), End> {
    let output = output_file(call)?;
    let template = file_or_stdin(call.line.value("in-file"), MAX_TEMPLATE_BYTES)?;
    let template = String::from_utf8(template).map_err(|_| Error::new("the template is not UTF-8 text"))?;
    let parts = template::parse(&template, &variable).map_err(|flaw| Error::new(flaw.to_string()))?;
    let secrets = resolve(call, parts.iter()).await?;
    write(output, &secrets.join(&parts))
}

/// `op run`.
pub(super) async fn run(call: &Call<'_>) -> Result<(), End> {
    if call.line.rest.is_empty() {
        return Err(Error::new("a command to run is missing: op run -- COMMAND").into());
    }
    let files: Vec<PathBuf> = call.line.values("env-file").map(PathBuf::from).collect();
    if call.line.has("environment") {
        return Err(super::refused(&["environment"]).into());
    }
    let inherited: Vec<(String, String)> = variables_of_process().collect();
    let variables = Variables::read(&inherited, &files).map_err(|flaw| Error::new(flaw.to_string()))?;
    let no_masking = call.line.switch("no-masking")?
        || call
            .environment
            .get("OP_RUN_NO_MASKING")
            .is_some_and(|value| value != "false" && value != "0");
    let secrets = resolve(call, variables.parts()).await?;
    let values = variables
        .values(&secrets)
        .map_err(|name| Error::new(format!("the value of {name} is no text that an environment can hold")))?;
    let program = Program {
        command: call.line.rest.clone(),
        variables: values,
    };
    if no_masking || secrets.is_empty() {
        return Err(program.replace_process().into());
    }
    let masked = Values::new(secrets.values(), MASK)
        .map_err(|_| Error::new("the values are too many to mask them: use --no-masking"))?;
    Ok(program.run_masked(masked).await?)
}

/// `op env ls`: the names of the variables that hold references, one a line.
pub(super) fn list_variables() -> Result<(), End> {
    let mut names: Vec<String> = variables_of_process()
        .filter(|(_, value)| has_scheme(value))
        .map(|(name, _)| name + "\n")
        .collect();
    names.sort();
    print(&names.concat())
}

/// The values of references in a template or in variables.
async fn resolve(call: &Call<'_>, parts: impl Iterator<Item = &Part> + Clone) -> Result<Secrets, Error> {
    if !has_references(parts.clone()) {
        return Ok(Secrets::default());
    }
    let session = Session::open(call)?;
    match Secrets::of(&session.client, parts).await {
        Ok(secrets) => Ok(secrets),
        Err(Unavailable::Server(error)) => Err(error.into()),
        Err(Unavailable::Reference(reference, error)) => {
            let item = printable(&reference.item);
            Err(match error.error.kind {
                UnresolvedKind::VaultNotFound => no_vault(&reference.vault),
                UnresolvedKind::ItemNotFound => {
                    let vault = error
                        .vault
                        .map_or_else(|| printable(&reference.vault), |vault| vault.to_string());
                    Error::new(format!(
                        "could not resolve item UUID for item {item}: could not find item {item} in vault {vault}"
                    ))
                }
                UnresolvedKind::TooManyItems => Error::new(format!(
                    "could not resolve item UUID for item {item}: {}",
                    all_of(&session, &reference, &error).await
                )),
                _ => Error::new(in_item(&reference, &error)),
            })
        }
    }
}

/// What is wrong within the item.
fn in_item(reference: &Reference, error: &ReferenceError) -> String {
    match error.error.kind {
        UnresolvedKind::FieldNotFound => {
            let field = match &reference.section {
                Some(section) => format!("{section}.{}", reference.field),
                None => reference.field.clone(),
            };
            format!(
                "item '{}/{}' does not have a field '{}'",
                printable(&reference.vault),
                printable(&reference.item),
                printable(&field)
            )
        }
        _ => printable(&error.to_string()),
    }
}

/// The error that names all items with a title.
async fn all_of(session: &Session, reference: &Reference, error: &ReferenceError) -> String {
    match session.item(&reference.item, Some(&reference.vault)).await {
        Err(named) => named.to_string(),
        // One of them was deleted meanwhile.
        Ok(_) => printable(&error.to_string()),
    }
}

/// Where `--out-file` writes to.
pub(super) fn output_file(call: &Call<'_>) -> Result<Option<OutputFile>, Error> {
    let mode = call
        .line
        .value("file-mode")
        .map_or(Ok(0o600), parse_mode)
        .map_err(Error::new)?;
    let force = call.line.switch("force")?;
    let path = call.line.value("out-file").or(call.line.value("output"));
    Ok(path.map(|path| OutputFile {
        path: path.into(),
        mode,
        force,
    }))
}

/// Writes to the file, and prints its path; or writes to standard output.
pub(super) fn write(output: Option<OutputFile>, bytes: &[u8]) -> Result<(), End> {
    let Some(file) = output else { return write_out(bytes) };
    file.write(bytes)?;
    let path = std::fs::canonicalize(&file.path).unwrap_or(file.path);
    print(&format!("{}\n", path.display()))
}

/// Standard input, if something is there: a pipe, a socket or a file.
pub(super) fn stdin(limit: u64) -> Result<Vec<u8>, Error> {
    let none = || Error::new("expected data on stdin but none found");
    let stdin = io::stdin();
    let kind = fstat(&stdin)
        .map(|stat| FileType::from_raw_mode(stat.st_mode))
        .map_err(|_| none())?;
    if stdin.is_terminal() || kind == FileType::CharacterDevice {
        return Err(none());
    }
    let read = input::limited(stdin.lock(), limit);
    read.map_err(|error| Error::new(format!("standard input can't be read: {error}")))
}

/// The file with this path, or standard input.
pub(super) fn file_or_stdin(path: Option<&str>, limit: u64) -> Result<Vec<u8>, Error> {
    match path.filter(|path| !input::is_stdin(path.as_ref())) {
        Some(path) => input::file(path.as_ref(), limit).map_err(|error| Error::new(format!("{path}: {error}"))),
        None => stdin(limit),
    }
}
