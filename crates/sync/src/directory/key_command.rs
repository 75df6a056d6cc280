//! Runs the commands of SOPS_AGE_KEY_CMD and SOPS_AGE_SSH_PRIVATE_KEY_CMD, which print keys.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// How long a command's keys are used before it is started again. A scan may come with every file event, and a command
/// may ask a server.
const KEPT: Duration = Duration::from_secs(60);

/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most that a command may print.
const MAX_OUTPUT_BYTES: u64 = 1024 * 1024;

/// A command that prints keys.
#[derive(Default)]
pub(crate) struct KeyCommand {
    /// The line that was run, and when it ended.
    last: Option<(String, Instant)>,
    /// What it printed when it last succeeded.
    keys: Option<Zeroizing<Vec<u8>>>,
    /// Why it last failed.
    problem: Option<String>,
}

impl KeyCommand {
    /// Runs the command unless it ran within the last minute. If it fails, the keys that it printed before stay in use.
    pub(crate) fn refresh(&mut self, line: &str) {
        self.refresh_after(line, KEPT, TIMEOUT);
    }

    fn refresh_after(&mut self, line: &str, kept: Duration, timeout: Duration) {
        if let Some((last, at)) = &self.last {
            if last == line && at.elapsed() < kept {
                return;
            }
            if last != line {
                self.keys = None;
            }
        }
        match run(line, timeout) {
            Ok(keys) => (self.keys, self.problem) = (Some(keys), None),
            Err(problem) => self.problem = Some(problem),
        }
        self.last = Some((line.to_owned(), Instant::now()));
    }

    /// What the command printed when it last succeeded.
    pub(crate) fn keys(&self) -> Option<&[u8]> {
        self.keys.as_deref().map(Vec::as_slice)
    }

    /// Why the last run failed. The text has nothing that the command printed.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// Runs a command line, split as a POSIX shell splits words, but without a shell. sops does the same.
fn run(line: &str, timeout: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let words = shlex::split(line).ok_or("the command has a quote that is not closed")?;
    let (program, arguments) = words.split_first().ok_or("the command is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{program} can't be started: {error}"))?;
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut keys = Zeroizing::new(Vec::with_capacity(4096));
        let read = output.map(|output| output.take(MAX_OUTPUT_BYTES).read_to_end(&mut keys));
        (read.is_some_and(|read| read.is_ok()), keys)
    });
    let ended = wait(&mut child, timeout);
    if ended.is_err() {
        // The command may be gone already.
        let _ = child.kill();
        let _ = child.wait();
    }
    // A process that the command left behind may hold its output open, so a command that ran out of time is not read.
    ended.map_err(|problem| format!("{program} {problem}"))?;
    match reader.join() {
        Ok((true, keys)) => Ok(keys),
        _ => Err(format!("the output of {program} can't be read")),
    }
}

fn wait(child: &mut Child, timeout: Duration) -> Result<(), String> {
    let until = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("failed ({status})")),
            Ok(None) if Instant::now() >= until => {
                return Err(format!("did not end within {} seconds", timeout.as_secs()));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(format!("can't be waited for: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(command: &mut KeyCommand, line: &str) {
        command.refresh_after(line, Duration::ZERO, TIMEOUT);
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them_and_no_shell_runs() {
        let mut command = KeyCommand::default();
        fresh(&mut command, "printf '%s,' 'a b' \"c\" $HOME ;");
        assert_eq!(command.keys(), Some(&b"a b,c,$HOME,;,"[..]));
    }

    #[test]
    fn a_command_that_fails_is_named_and_its_earlier_keys_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        std::fs::write(&file, "one").unwrap();
        let line = format!("cat {}", file.display());
        let mut command = KeyCommand::default();
        fresh(&mut command, &line);
        assert_eq!((command.keys(), command.problem()), (Some(&b"one"[..]), None));
        std::fs::remove_file(&file).unwrap();
        fresh(&mut command, &line);
        assert_eq!(command.keys(), Some(&b"one"[..]));
        assert!(
            command.problem().unwrap().starts_with("cat failed"),
            "{:?}",
            command.problem()
        );
        for (line, problem) in [
            ("/nonexistent/program", "can't be started"),
            ("'open", "not closed"),
            (" ", "is empty"),
        ] {
            fresh(&mut command, line);
            assert!(command.problem().unwrap().contains(problem), "{:?}", command.problem());
            assert_eq!(command.keys(), None, "keys of another command");
        }
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let mut command = KeyCommand::default();
        command.refresh_after("sleep 600", Duration::ZERO, Duration::ZERO);
        assert!(
            command.problem().unwrap().contains("did not end"),
            "{:?}",
            command.problem()
        );
    }

    #[test]
    fn a_command_is_not_started_again_at_every_scan() {
        let dir = tempfile::tempdir().unwrap();
        let line = format!("mkdir {}", dir.path().join("once").display());
        let mut command = KeyCommand::default();
        for _ in 0..3 {
            command.refresh(&line);
            assert_eq!(command.problem(), None, "mkdir fails at the second run");
        }
    }
}
