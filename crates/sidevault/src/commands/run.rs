//! `sidevault run`: a command with the values of secret references in its environment.

use crate::cli::Run;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::secrets::child::Program;
use crate::secrets::mask::Values;
use crate::secrets::variables::{Flaw, Variables, inherited};
use crate::secrets::{Secrets, Unavailable, failure};
use crate::server::Server;

/// What stands for a value in the command's output.
const MASK: &str = "<concealed by Sidevault>";

pub(crate) async fn run(arguments: Run, environment: &Environment) -> Result<(), Failure> {
    let variables = Variables::read(&inherited(), &arguments.env_files).map_err(|flaw| match flaw {
        Flaw::File { .. } => Failure::Failed(flaw.to_string()),
        Flaw::Reference(_) => Failure::Usage(flaw.to_string()),
    })?;
    let has_references = variables.names_with_references().next().is_some();
    let (values, masked) = if has_references {
        let server = Server::connect(&arguments.connection, environment)?;
        let secrets = Secrets::of(&server.client, variables.parts())
            .await
            .map_err(|error| match error {
                Unavailable::Server(error) => server.failure(error),
                Unavailable::Reference(reference, error) => failure(&reference.to_string(), &error),
            })?;
        let values = variables.values(&secrets).map_err(|name| {
            Failure::Failed(format!(
                "the value of {name} is no text, or has a NUL: an environment can't hold it"
            ))
        })?;
        let masked = Values::new(secrets.values(), MASK)
            .map_err(|_| Failure::Failed("the values are too many to mask them: use --no-masking".to_owned()))?;
        (values, Some(masked))
    } else {
        let secrets = Secrets::none();
        (variables.values(&secrets).unwrap_or_default(), None)
    };
    let program = Program {
        command: arguments.command,
        variables: values,
    };
    match masked.filter(|_| !arguments.no_masking) {
        Some(values) => program.run_masked(values).await,
        None => Err(program.replace_process()),
    }
}
