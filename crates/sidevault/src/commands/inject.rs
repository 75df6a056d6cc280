//! `sidevault inject`: a template with its secret references replaced.

use std::io::Read as _;
use std::path::Path;

use crate::cli::Inject;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::input;
use crate::secrets::template::{self, Part};
use crate::secrets::{Secrets, Unavailable, failure, is_stdin};
use crate::server::Server;

/// The largest template, in bytes.
pub(crate) const MAX_TEMPLATE_BYTES: u64 = 64 << 20;

pub(crate) async fn run(arguments: Inject, environment: &Environment) -> Result<(), Failure> {
    let template = read(arguments.in_file.as_deref())?;
    let parts = template::parse(&template, &variable).map_err(|flaw| Failure::Usage(flaw.to_string()))?;
    let secrets = if parts.iter().any(|part| matches!(part, Part::Reference(_))) {
        let server = Server::connect(&arguments.connection, environment)?;
        Secrets::of(&server.client, parts.iter())
            .await
            .map_err(|error| match error {
                Unavailable::Server(error) => server.failure(error),
                Unavailable::Reference(reference, error) => failure(&reference.to_string(), &error),
            })?
    } else {
        Secrets::none()
    };
    let injected: Vec<u8> = parts.iter().flat_map(|part| secrets.bytes(part)).copied().collect();
    super::read::write(&arguments.output, &injected, false)
}

/// A variable of the environment, as templates see it.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read(path: Option<&Path>) -> Result<String, Failure> {
    let (name, bytes) = match path.filter(|path| !is_stdin(path)) {
        Some(path) => {
            let mut bytes = Vec::new();
            let file = std::fs::File::open(path);
            let read = file.and_then(|file| file.take(MAX_TEMPLATE_BYTES).read_to_end(&mut bytes));
            (path.display().to_string(), read.map(|_| bytes))
        }
        None => (
            "standard input".to_owned(),
            input::all_of_stdin("a template", MAX_TEMPLATE_BYTES),
        ),
    };
    let bytes = bytes.map_err(|error| Failure::Failed(format!("{name}: {error}")))?;
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{name}: the template is not UTF-8 text")))
}
