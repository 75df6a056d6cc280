//! A terminal for a command whose output is masked: a pseudo-terminal between the command and the terminal of this process.
//!
//! The command gets a session of its own on the pseudo-terminal, so that keys such as Ctrl-C reach it through there. A process can
//! only start a session for itself, and only this program's code may do that without `unsafe`: so the program starts itself with
//! [`IN_NEW_SESSION`], makes the session, and is then replaced by the command.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Failure;

/// The hidden command that starts a session.
const IN_NEW_SESSION: &str = "in-new-session";

/// A pseudo-terminal.
pub(super) struct Terminal {
    /// The side of this process.
    pub(super) near: File,
    /// The command's side.
    pub(super) far: OwnedFd,
    /// The settings of this process's terminal, which it gets back at the end.
    before: Termios,
}

impl Terminal {
    /// A new one with the size and the settings of this process's terminal. None if standard input or output is no terminal.
    pub(super) fn like_this_one() -> io::Result<Option<Self>> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        if !stdin.is_terminal() || !stdout.is_terminal() {
            return Ok(None);
        }
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        let name = ptsname(&near, Vec::new())?;
        let far = File::options()
            .read(true)
            .write(true)
            .open(OsStr::from_bytes(name.to_bytes()))?;
        let before = tcgetattr(&stdin)?;
        tcsetattr(&far, OptionalActions::Now, &before)?;
        tcsetwinsize(&far, tcgetwinsize(&stdout)?)?;
        Ok(Some(Self {
            near: near.into(),
            far: far.into(),
            before,
        }))
    }

    /// The program that starts a session on its standard input, and then becomes the command.
    pub(super) fn command(program: &[OsString]) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg0("sidevault").arg(IN_NEW_SESSION).args(program);
        Ok(command)
    }

    /// Passes on what is typed, and each change of the window's size, until the result is dropped.
    pub(super) fn connect(&self) -> Result<Connected, Failure> {
        let mut raw = self.before.clone();
        raw.make_raw();
        let connected = Connected(self.before.clone());
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw).map_err(io::Error::from)?;
        let mut near = self.near.try_clone()?;
        let mut typed = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        // Ends with this process: a read from a terminal can't be interrupted.
        std::thread::Builder::new().spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = typed.read(&mut buffer) {
                if count == 0 || near.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        })?;
        let near = self.near.try_clone()?;
        let mut changes = signal(SignalKind::window_change())?;
        tokio::spawn(async move {
            while changes.recv().await.is_some() {
                if let Ok(size) = tcgetwinsize(io::stdout()) {
                    // Fails only if the command has ended.
                    let _ = tcsetwinsize(&near, size);
                }
            }
        });
        Ok(connected)
    }
}

/// This process's terminal, in raw mode.
pub(super) struct Connected(Termios);

impl Drop for Connected {
    fn drop(&mut self) {
        // Fails only if the terminal was closed.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Carries out the hidden command, if these arguments are one. Returns only if they are not, or the command can't be started.
pub(crate) fn in_new_session(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, word, program, rest @ ..] = arguments else {
        return None;
    };
    if word != IN_NEW_SESSION {
        return None;
    }
    let session = setsid().and_then(|_| ioctl_tiocsctty(io::stdin()));
    let error = match session {
        Ok(()) => Command::new(program).args(rest).exec(),
        Err(error) => error.into(),
    };
    Some(super::child::not_started(program, &error).report())
}
