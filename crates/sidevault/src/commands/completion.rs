//! `sidevault completion` and `sidevault man`: made from the command line's own description.

use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Failure;

/// Prints a shell's completion script.
pub(crate) fn completion(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sidevault", &mut script);
    Ok(std::io::stdout().lock().write_all(&script)?)
}

/// Prints the manual page, or writes one for each command.
pub(crate) fn man(out: Option<&Path>) -> Result<(), Failure> {
    match out {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            Ok(std::io::stdout().lock().write_all(&page)?)
        }
        Some(dir) => std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .map_err(|error| Failure::Failed(format!("{}: {error}", dir.display()))),
    }
}
