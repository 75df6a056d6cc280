//! Input from a person or a pipe. On a terminal, every function says on stderr what it waits for.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::exit::Failure;

/// Reads standard input to its end, at most `limit` bytes. `what` names the input for a person at a terminal.
pub(crate) fn all_of_stdin(what: &str, limit: u64) -> io::Result<Vec<u8>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        eprintln!("Reading {what} from standard input; end it with Ctrl-D.");
    }
    let mut bytes = Vec::new();
    stdin.lock().take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a secret from standard input: a line that is not shown on a terminal; all of a pipe or file, without the line
/// break at its end that `echo` and editors add.
pub(crate) fn secret_from_stdin(what: &str, limit: u64) -> io::Result<Vec<u8>> {
    let stdin = io::stdin();
    let mut bytes = Vec::new();
    if stdin.is_terminal() {
        eprint!("{what} (not shown): ");
        let _hidden = HiddenTyping::start();
        let read = stdin.lock().take(limit).read_until(b'\n', &mut bytes);
        eprintln!();
        read?;
    } else {
        stdin.lock().take(limit).read_to_end(&mut bytes)?;
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// Asks on a terminal for a yes before a change that can't be undone.
///
/// # Errors
/// [`Failure::Usage`] if there is no terminal to ask on, [`Failure::Failed`] if the answer is not yes.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Usage(format!(
            "{question} There is no terminal to confirm it on: say --yes"
        )));
    }
    eprint!("{question} Type yes to go on: ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().take(100).read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "yes" | "y" => Ok(()),
        _ => Err(Failure::Failed("nothing was done".to_owned())),
    }
}

/// Turns the terminal's echo off until it is dropped.
struct HiddenTyping(Option<rustix::termios::Termios>);

impl HiddenTyping {
    fn start() -> Self {
        let Ok(before) = tcgetattr(io::stdin()) else {
            return Self(None);
        };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let is_hidden = tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).is_ok();
        Self(is_hidden.then_some(before))
    }
}

impl Drop for HiddenTyping {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // Fails only if the terminal was closed.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}
