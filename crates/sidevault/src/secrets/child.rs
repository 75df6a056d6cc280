//! Runs a command, with its output masked or not.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process, waitid};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Failure;

use super::mask::{Masker, Values};
use super::terminal::Terminal;

/// How long a line waits for the rest of a value that it may be the beginning of.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// How much output is read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Signals that are passed on to the command, beside those of the terminal's keys.
const FORWARDED: [Signal; 5] = [Signal::HUP, Signal::TERM, Signal::USR1, Signal::USR2, Signal::CONT];

/// A command, and the variables that it gets in addition to this process's environment.
pub(crate) struct Program {
    /// The program and its arguments; not empty.
    pub(crate) command: Vec<OsString>,
    pub(crate) variables: Vec<(String, String)>,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(self.name());
        command.args(self.command.iter().skip(1));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Replaces this process by the command. Returns only if that fails.
    pub(crate) fn replace_process(&self) -> Failure {
        not_started(self.name(), &self.command().exec())
    }

    /// Runs the command to its end, and masks the values in its output. If this process has a terminal, the command gets one, too.
    ///
    /// # Errors
    /// [`Failure::Child`] with the command's exit status, unless that is 0.
    pub(crate) async fn run_masked(&self, values: Values) -> Result<(), Failure> {
        let values = Arc::new(values);
        let Some(terminal) = Terminal::like_this_one()? else {
            let mut command = self.command();
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            // A key of the terminal sends its signal to the command as well.
            let signals = Signals::catch(is_in_foreground())?;
            return self.finish(command, signals, None, &values).await;
        };
        let mut command = Terminal::command(&self.command)?;
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let far = || terminal.far.try_clone().map(Stdio::from);
        command.stdin(far()?).stdout(far()?);
        command.stderr(if io::stderr().is_terminal() {
            far()?
        } else {
            Stdio::piped()
        });
        let signals = Signals::catch(false)?;
        let connected = terminal.connect()?;
        // The output ends when nobody has the command's side of the terminal any more.
        let Terminal { near, far, .. } = terminal;
        drop(far);
        let near = copy(near.into(), io::stdout().as_fd(), values.clone(), true)?;
        let ended = self.finish(command, signals, Some(near), &values).await;
        drop(connected);
        ended
    }

    /// Starts the command, and waits for its end and for the end of its output.
    async fn finish(
        &self,
        mut command: Command,
        mut signals: Signals,
        terminal: Option<Copying>,
        values: &Arc<Values>,
    ) -> Result<(), Failure> {
        let mut child = command.spawn().map_err(|error| not_started(self.name(), &error))?;
        // Closes this process's handles of the command's output.
        drop(command);
        let mut copies: Vec<Copying> = terminal.into_iter().collect();
        if let Some(stdout) = child.stdout.take() {
            copies.push(copy(stdout.into(), io::stdout().as_fd(), values.clone(), false)?);
        }
        if let Some(stderr) = child.stderr.take() {
            copies.push(copy(stderr.into(), io::stderr().as_fd(), values.clone(), false)?);
        }
        let pid = Pid::from_child(&child);
        // The process stays a zombie until `wait` below, so that no signal goes to another one with its number.
        let mut ended = tokio::task::spawn_blocking(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        });
        loop {
            tokio::select! {
                _ = &mut ended => break,
                caught = signals.next() => {
                    // Fails if the process has ended.
                    let _ = kill_process(pid, caught);
                }
            }
        }
        let status = child.wait()?;
        for copying in copies {
            let copied = copying.join();
            copied.map_err(|_| Failure::Failed("the command's output could not be copied".to_owned()))??;
        }
        exit(status)
    }

    fn name(&self) -> &OsStr {
        self.command.first().map_or("".as_ref(), OsString::as_os_str)
    }
}

/// The failure to start a program, with the status that shells give it.
pub(super) fn not_started(program: &OsStr, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    };
    let program = sidevault_model::printable(&program.to_string_lossy());
    Failure::Child {
        code,
        message: Some(format!("{program}: {error}")),
    }
}

/// The end of a command as the end of this one.
fn exit(status: ExitStatus) -> Result<(), Failure> {
    let code = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        // As shells have it.
        (None, signal) => u8::try_from(128 + signal.unwrap_or_default()).unwrap_or(1),
    };
    Err(Failure::Child { code, message: None })
}

/// A thread that copies output.
type Copying = JoinHandle<Result<(), Failure>>;

/// Starts to copy a command's output.
fn copy(from: OwnedFd, to: impl AsFd, values: Arc<Values>, is_terminal: bool) -> Result<Copying, Failure> {
    let mut to = File::from(to.as_fd().try_clone_to_owned()?);
    let mut from = File::from(from);
    let copying = std::thread::Builder::new().spawn(move || {
        let mut masker = values.masker();
        match masked(&mut from, &mut to, &mut masker, is_terminal) {
            // Nobody reads the output any more. The command learns that when it writes the next time.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            copied => Ok(copied?),
        }
    });
    Ok(copying?)
}

/// Copies to the end. On a terminal, whatever waits is written after [`PATIENCE`], because a person waits for what they type.
fn masked(from: &mut File, to: &mut File, masker: &mut Masker<'_>, is_terminal: bool) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut out = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let is_awaited = masker.holds_a_line() || (is_terminal && masker.holds());
        if is_awaited && !is_readable(from)? {
            masker.release(&mut out);
            to.write_all(&out)?;
            out.clear();
        }
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The other side of a pseudo-terminal is closed.
            Err(error) if is_terminal && Errno::from_io_error(&error) == Some(Errno::IO) => 0,
            Err(error) => return Err(error),
        };
        if count == 0 {
            masker.release(&mut out);
            return to.write_all(&out);
        }
        masker.push(&buffer[..count], &mut out);
        to.write_all(&out)?;
        out.clear();
    }
}

/// Waits for more output, [`PATIENCE`] at most.
fn is_readable(from: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(from, PollFlags::IN)];
    match poll(&mut fds, Some(&PATIENCE)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The signals that this process catches for the command.
struct Signals(tokio::sync::mpsc::UnboundedReceiver<Signal>);

impl Signals {
    /// `keys_reach_command`: the terminal's keys send their signals to the command as well.
    fn catch(keys_reach_command: bool) -> Result<Self, Failure> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let keys = [Signal::INT, Signal::QUIT];
        for caught in FORWARDED.into_iter().chain(keys) {
            let mut stream = signal(SignalKind::from_raw(caught.as_raw()))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if !(keys_reach_command && keys.contains(&caught)) && sender.send(caught).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self(receiver))
    }

    async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(caught) => caught,
            None => std::future::pending().await,
        }
    }
}

/// Whether this process is in the foreground of its terminal, so that keys such as Ctrl-C reach it and the command.
fn is_in_foreground() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}
