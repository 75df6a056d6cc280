//! `sidevault completion`: a shell's completion script, generated from the command line's declaration.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Failure;

/// Prints the script.
pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sidevault", &mut script);
    Ok(std::io::stdout().lock().write_all(&script)?)
}
