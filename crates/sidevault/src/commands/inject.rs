//! `sidevault inject`: a template with its secret references replaced.

use std::path::Path;

use crate::cli::Inject;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::input;
use crate::secrets::{Secrets, template};

/// The largest template, in bytes.
pub(crate) const MAX_TEMPLATE_BYTES: u64 = 64 << 20;

pub(crate) async fn run(arguments: Inject, environment: &Environment) -> Result<(), Failure> {
    let template = read(arguments.in_file.as_deref())?;
    let parts = template::parse(&template, &variable).map_err(|flaw| Failure::Usage(flaw.to_string()))?;
    let secrets = Secrets::resolve(&arguments.connection, environment, parts.iter()).await?;
    super::read::write(&arguments.output, &secrets.join(&parts), false)
}

/// A variable of the environment, as templates see it.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read(path: Option<&Path>) -> Result<String, Failure> {
    let (name, bytes) = input::file_or_stdin(path, "a template", MAX_TEMPLATE_BYTES)?;
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{name}: the template is not UTF-8 text")))
}
