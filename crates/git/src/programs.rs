//! Connections through a program: `git upload-pack` for a repository of this machine, and `ssh` for one of another.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};

use gix_transport::Service;
use gix_transport::client::blocking_io::Transport;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::process::{Child, ChildStdout, Command};

use crate::auth::read_secret;
use crate::error::GitError;
use crate::session::Session;
use crate::streams::with_program;

/// Starts `git upload-pack` or `git receive-pack` for a repository of this machine.
pub(crate) fn local(session: &Arc<Session>, service: Service, path: &Path) -> Result<Box<dyn Transport>, GitError> {
    if !path.exists() {
        return Err(GitError::NoRepository(format!("there is no {}", path.display())));
    }
    let mut command = Command::new("git");
    command.args([name_of(service), "--"]).arg(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    let missing =
        "a repository of this machine can only be used where the program `git` is installed: use https or git://";
    start(session, command, missing, &path.to_string_lossy(), None)
}

/// What `ssh` needs.
pub(crate) struct Ssh<'a> {
    pub(crate) user: &'a str,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) key_file: &'a Path,
    pub(crate) known_hosts_file: &'a Path,
    /// A directory for a copy of the key.
    pub(crate) scratch: &'a Path,
}

/// Starts `git-upload-pack` or `git-receive-pack` on another machine with `ssh`. No configuration of the user or the machine is read.
pub(crate) fn ssh(session: &Arc<Session>, service: Service, target: &Ssh<'_>) -> Result<Box<dyn Transport>, GitError> {
    if [target.user, target.host].iter().any(|word| word.starts_with('-')) {
        return Err(GitError::Setup(
            "a user or host of an SSH URL must not start with \"-\"".to_owned(),
        ));
    }
    read_secret(target.known_hosts_file)?;
    let (key_file, copy) = key_file(target.key_file, target.scratch)?;
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/null", "-T", "-a", "-x"]);
    for option in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "GlobalKnownHostsFile=/dev/null",
        "ConnectTimeout=10",
        "ServerAliveInterval=15",
        "LogLevel=ERROR",
        "SendEnv=GIT_PROTOCOL",
    ] {
        command.args(["-o", option]);
    }
    command
        .arg("-o")
        .arg(option("UserKnownHostsFile", target.known_hosts_file)?);
    command.arg("-o").arg(option("IdentityFile", &key_file)?);
    command.args(["-p", &target.port.to_string(), "-l", target.user, target.host]);
    command.arg(format!(
        "git-{} '{}'",
        name_of(service),
        target.path.replace('\'', r"'\''")
    ));
    let missing =
        "the program `ssh` is not installed here: use an https URL with a token, or an image that has OpenSSH's client";
    start(session, command, missing, target.path, copy)
}

fn name_of(service: Service) -> &'static str {
    match service {
        Service::UploadPack => "upload-pack",
        Service::ReceivePack => "receive-pack",
    }
}

/// An option of `ssh` with a path, which must have no quotation marks.
fn option(name: &str, path: &Path) -> Result<String, GitError> {
    let absolute = std::path::absolute(path)?;
    let text = absolute.to_string_lossy();
    if text.contains(['"', '\n', '%', '$']) {
        return Err(GitError::Setup(format!(
            "`ssh` can't be told to use the file {text}: give it another name"
        )));
    }
    Ok(format!("{name}=\"{text}\""))
}

/// The key's file; a copy of it if others can read the file, because `ssh` refuses such a key. A Secret that kubelet mounts
/// is one.
fn key_file(file: &Path, scratch: &Path) -> Result<(PathBuf, Option<NamedTempFile>), GitError> {
    let key = read_secret(file)?;
    let mode = std::fs::metadata(file)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok((file.to_owned(), None));
    }
    let mut copy = tempfile::Builder::new().prefix(".key-").tempfile_in(scratch)?;
    copy.write_all(key.trim_end().as_bytes())?;
    copy.write_all(b"\n")?;
    Ok((copy.path().to_owned(), Some(copy)))
}

fn start(
    session: &Arc<Session>,
    mut command: Command,
    missing: &str,
    path: &str,
    key: Option<NamedTempFile>,
) -> Result<Box<dyn Transport>, GitError> {
    command
        .env("GIT_PROTOCOL", "version=2")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let program = command.as_std().get_program().to_owned();
    let _inside = session.handle.enter();
    let mut child = command
        .spawn()
        .map_err(|error| cannot_start(&program, missing, &error))?;
    let (Some(to), Some(from), Some(mut errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(GitError::Setup(format!("{} has no pipes", program.display())));
    };
    let hearing = session.clone();
    session.hears(session.handle.spawn(async move {
        let mut text = [0; 1000];
        while let Ok(read @ 1..) = errors.read(&mut text).await {
            hearing.hear(&text[..read]);
        }
    }));
    let from = Output {
        from,
        _child: child,
        _key: key,
    };
    Ok(with_program(session, from, to, path))
}

fn cannot_start(program: &OsStr, missing: &str, error: &io::Error) -> GitError {
    GitError::Setup(match error.kind() {
        io::ErrorKind::NotFound => missing.to_owned(),
        _ => format!("{} can't be started: {error}", program.display()),
    })
}

/// What a program writes. When this is dropped, the program is killed, and the copy of the key deleted.
struct Output {
    from: ChildStdout,
    _child: Child,
    _key: Option<NamedTempFile>,
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.from).poll_read(context, buffer)
    }
}
