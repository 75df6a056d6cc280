//! `sidevault inject`: a template with its secret references replaced.

use std::io::Read as _;
use std::path::Path;

use crate::cli::Inject;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::input;
use crate::secrets::{Secrets, is_stdin, template};

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
