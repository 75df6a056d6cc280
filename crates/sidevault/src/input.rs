//! Input from a person, a pipe or a file. On a terminal, every function says on stderr what it waits for. Input beyond a limit is an
//! error, and never cut.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::exit::Failure;

/// Whether a path means standard input. A socket, which Node.js gives its children, can't be opened by such a path.
pub(crate) fn is_stdin(path: &Path) -> bool {
    ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"]
        .iter()
        .any(|known| path == Path::new(known))
}

/// Reads a file, or standard input if there is no path or [`is_stdin`], and returns it with a name for messages.
///
/// # Errors
/// [`Failure::Failed`] with the name, if it can't be read or has more than `limit` bytes.
pub(crate) fn file_or_stdin(path: Option<&Path>, what: &str, limit: u64) -> Result<(String, Vec<u8>), Failure> {
    let (name, read) = match path.filter(|path| !is_stdin(path)) {
        Some(path) => (path.display().to_string(), file(path, limit)),
        None => ("standard input".to_owned(), all_of_stdin(what, limit)),
    };
    match read {
        Ok(bytes) => Ok((name, bytes)),
        Err(error) => Err(Failure::Failed(format!("{name}: {error}"))),
    }
}

/// Reads a file.
///
/// # Errors
/// If it can't be read, or has more than `limit` bytes.
pub(crate) fn file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    limited(File::open(path)?, limit)
}

/// Reads everything.
///
/// # Errors
/// If there are more than `limit` bytes.
pub(crate) fn limited(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!(
            "it has more than {limit} bytes, which is the limit"
        )));
    }
    Ok(bytes)
}

/// Reads standard input to its end. `what` names the input for a person at a terminal.
///
/// # Errors
/// As [`limited`].
pub(crate) fn all_of_stdin(what: &str, limit: u64) -> io::Result<Vec<u8>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        eprintln!("Reading {what} from standard input; end it with Ctrl-D.");
    }
    limited(stdin.lock(), limit)
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
        bytes = limited(stdin.lock(), limit)?;
    }
    Ok(without_line_break(bytes))
}

/// Reads a secret from a file, without the line break at its end that `echo` and editors add.
///
/// # Errors
/// If the file can't be read, or has more than `limit` bytes.
#[cfg(feature = "exchange")]
pub(crate) fn secret_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    Ok(without_line_break(file(path, limit)?))
}

fn without_line_break(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    bytes
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

#[cfg(test)]
mod tests {
    use super::limited;

    #[test]
    fn input_beyond_the_limit_is_an_error_and_not_cut() {
        assert_eq!(limited(&b"1234"[..], 4).unwrap(), b"1234");
        let error = limited(&b"12345"[..], 4).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 4 bytes, which is the limit");
    }
}
