//! `sidevault run`: a command with the values of secret references in its environment.

use crate::cli::Run;
use crate::environment::{Environment, variables_of_process};
use crate::exit::Failure;
use crate::secrets::Secrets;
use crate::secrets::child::Program;
use crate::secrets::mask::Values;
use crate::secrets::variables::{Flaw, Variables};

/// What stands for a value in the command's output.
const MASK: &str = "<concealed by Sidevault>";

pub(crate) async fn run(arguments: Run, environment: &Environment) -> Result<(), Failure> {
    let inherited: Vec<(String, String)> = variables_of_process().collect();
    let variables = Variables::read(&inherited, &arguments.env_files).map_err(|flaw| match flaw {
        Flaw::File { .. } => Failure::Failed(flaw.to_string()),
        Flaw::Reference(_) => Failure::Usage(flaw.to_string()),
    })?;
    let secrets = Secrets::resolve(&arguments.connection, environment, variables.parts()).await?;
    let values = variables.values(&secrets).map_err(|name| {
        Failure::Failed(format!(
            "the value of {name} is no text, or has a NUL: an environment can't hold it"
        ))
    })?;
    let program = Program {
        command: arguments.command,
        variables: values,
    };
    if arguments.no_masking || secrets.is_empty() {
        return Err(program.replace_process());
    }
    let masked = Values::new(secrets.values(), MASK)
        .map_err(|_| Failure::Failed("the values are too many to mask them: use --no-masking".to_owned()))?;
    program.run_masked(masked).await
}
