//! `sidevault read`: the value of a secret reference.

use std::io::{self, Write as _};

use sidevault_client::ClientError;

use crate::cli::{Output, Read};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::secrets::{failure, template};
use crate::server::Server;

pub(crate) async fn run(arguments: Read, environment: &Environment) -> Result<(), Failure> {
    let reference = template::reference(&arguments.reference).map_err(|flaw| Failure::Usage(flaw.to_string()))?;
    let server = Server::connect(&arguments.connection, environment)?;
    let results = server.client.resolve_references(std::slice::from_ref(&reference)).await;
    let results = results.map_err(|error| server.failure(error))?;
    let missing = ClientError::Unexpected("no value for a reference");
    let result = results.into_iter().next().ok_or_else(|| server.failure(missing))?;
    let secret = result.map_err(|error| failure(&arguments.reference, &error))?;
    write(&arguments.output, secret.as_bytes(), !arguments.no_newline)
}

/// Writes a secret to the file that the arguments name, or to standard output.
pub(super) fn write(output: &Output, secret: &[u8], line_break: bool) -> Result<(), Failure> {
    let end: &[u8] = if line_break { b"\n" } else { b"" };
    match output.file() {
        Some(file) => file.write(&[secret, end].concat()),
        None => {
            let mut out = io::stdout().lock();
            out.write_all(secret)?;
            out.write_all(end)?;
            Ok(out.flush()?)
        }
    }
}
