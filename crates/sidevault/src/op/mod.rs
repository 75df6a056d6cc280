//! The `op` command: 1Password's command line, version 2, for the programs that call it. An independent implementation over the
//! Connect API.
//!
//! Errors are one line, `[ERROR] 2026/11/30 20:44:16 message`, and the exit status is 1. Nothing else is ever written to standard
//! error, because some callers take any byte there for a failure.

mod account;
mod arguments;
mod items;
mod json;
mod people;
mod references;
mod session;
mod vaults;
mod write;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use sidevault_client::ClientError;

use crate::environment::Environment;
use crate::exit::Failure;

use arguments::Line;

/// The version of `op` whose behaviour this is. Callers ask for at least 2.4.0.
const VERSION: &str = "2.32.0";

const HELP: &str = "\
Sidevault's op: reads and writes secrets of a Connect server, as 1Password's op does.
It is an independent implementation, and not 1Password's program.

  op read REFERENCE                   print a secret: op://VAULT/ITEM/[SECTION/]FIELD
  op run [--env-file F] -- COMMAND    run a command with secrets in its environment
  op inject [-i F] [-o F]             replace the references in a template
  op item get|list|create|edit|delete
  op document get|list
  op vault get|list
  op env ls                           the variables that hold references
  op whoami, op account list, op user get --me

OP_CONNECT_HOST and OP_CONNECT_TOKEN name the server and the token.
";

/// Why a call failed: the message of its error line.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Error(String);

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// How a call ends, if not well.
#[derive(Debug)]
enum End {
    Error(Error),
    /// The command of `op run` ended with this status.
    Child(u8),
    /// Nobody reads the output.
    Unread,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<ClientError> for End {
    fn from(error: ClientError) -> Self {
        Self::Error(error.into())
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unread => Self::Unread,
            Failure::Child { code, message: None } => Self::Child(code),
            failure => Self::Error(Error::new(failure.to_string())),
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Failure::from(error).into()
    }
}

/// Runs a call, from the word behind `op` on.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    // Without a log: it would be written to standard error.
    let _ = sidevault_keys::harden_process();
    let end = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let end = end.map_err(End::from).and_then(|runtime| {
        let end = runtime.block_on(run(arguments, &Environment::of_process()));
        runtime.shutdown_background();
        end
    });
    match end {
        Ok(()) | Err(End::Unread) => ExitCode::SUCCESS,
        Err(End::Child(code)) => ExitCode::from(code),
        Err(End::Error(error)) => {
            let time = jiff::ZonedDateTime::now().strftime("%Y/%m/%d %H:%M:%S");
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "[ERROR] {time} {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<OsString>, environment: &Environment) -> Result<(), End> {
    let line = Line::parse(arguments)?;
    if line.switch("version")? {
        return print(&format!("{VERSION}\n"));
    }
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    if words.is_empty() || line.switch("help")? {
        return print(HELP);
    }
    let call = Call {
        line: &line,
        environment,
    };
    match words[..] {
        ["read", reference] => references::read(&call, reference).await,
        ["inject"] => references::inject(&call).await,
        ["run"] => references::run(&call).await,
        ["env", "ls" | "list"] => references::list_variables(),
        ["item" | "items", "get", item] => items::get(&call, item).await,
        ["item" | "items", "list" | "ls"] => items::list(&call).await,
        ["item" | "items", "create", ref assignments @ ..] => write::create(&call, assignments).await,
        ["item" | "items", "edit", item, ref assignments @ ..] => write::edit(&call, item, assignments).await,
        ["item" | "items", "delete" | "remove" | "rm", item] => write::delete(&call, item).await,
        ["document", "get", item] => items::document(&call, item).await,
        ["document", "list" | "ls"] => items::documents(&call).await,
        ["vault" | "vaults", "list" | "ls"] => vaults::list(&call).await,
        ["vault" | "vaults", "get", vault] => vaults::get(&call, vault).await,
        ["whoami"] => account::whoami(&call).await,
        ["account", "list" | "ls"] => account::list(&call),
        ["account", "get"] => account::get(&call).await,
        ["user", "get", ..] => account::user(&call).await,
        ["signin"] => account::sign_in(&call).await,
        ["signout"] => Ok(()),
        ["read"] => Err(Error::new("accepts 1 arg(s), received 0").into()),
        _ => Err(refused(&words).into()),
    }
}

/// A call, and where it is made.
struct Call<'a> {
    line: &'a Line,
    environment: &'a Environment,
}

impl Call<'_> {
    /// Whether the answer is JSON.
    fn wants_json(&self) -> Result<bool, Error> {
        match self.line.value("format").or(self.environment.get("OP_FORMAT")) {
            None | Some("human-readable" | "human") => Ok(false),
            Some("json") => Ok(true),
            Some(_) => Err(Error::new("invalid value for --format: it is human-readable or json")),
        }
    }
}

/// Why a command can't be carried out.
fn refused(words: &[&str]) -> Error {
    let not_here = |what: &str| {
        Error::new(format!(
            "{what} can't be had: this is Sidevault's op, which works with a Connect server and not with a 1Password account"
        ))
    };
    match words[0] {
        "environment" | "environments" => not_here("1Password Environments"),
        "service-account" => not_here("service accounts"),
        "account" | "signin" => not_here("accounts and biometric unlock"),
        "connect" => Error::new("this op does not manage Connect servers: use `sidevault token` and `sidevault vault`"),
        "user" | "group" | "events-api" | "plugin" | "ssh" | "update" | "completion" | "provision" => {
            not_here(&format!("`op {}`", words[0]))
        }
        "vault" | "vaults" => Error::new("the Connect API does not change vaults: use `sidevault vault`"),
        "document" => Error::new("the Connect API does not write files: documents come from directory vaults"),
        "item" | "items" if words.len() > 1 && ["get", "delete", "edit"].contains(&words[1]) => {
            Error::new(format!("accepts 1 arg(s), received {}", words.len() - 2))
        }
        "item" | "items" | "env" | "read" | "inject" | "whoami" => Error::new(format!(
            "unknown command \"{}\" for \"op\"",
            sidevault_model::printable(&words.join(" "))
        )),
        word => Error::new(format!(
            "unknown command \"{}\" for \"op\"",
            sidevault_model::printable(word)
        )),
    }
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), End> {
    write_out(text.as_bytes())
}

fn write_out(bytes: &[u8]) -> Result<(), End> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Prints JSON as `op` does, on several lines.
fn print_json(value: &serde_json::Value) -> Result<(), End> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::new(error.to_string()))?;
    print(&format!("{text}\n"))
}
