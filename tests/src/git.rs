//! Git repositories, and servers for them on loopback: `git daemon`, `git http-backend` and `sshd`.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::pair::{free_port, wait_until};
use crate::tools::skipped;

/// A repository that is served, and a clone of it to push from.
pub struct Repository {
    root: tempfile::TempDir,
}

impl Default for Repository {
    fn default() -> Self {
        Self::new()
    }
}

impl Repository {
    /// A repository with an empty branch `main`.
    ///
    /// # Panics
    /// If `git` is missing or fails.
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("sidevault-git-")
            .tempdir()
            .expect("a directory");
        let repository = Self { root };
        run(
            repository.root(),
            &["init", "--quiet", "--bare", "--initial-branch=main", "home.git"],
        );
        let bare = repository.bare();
        run(&bare, &["config", "receive.denyDeleteCurrent", "ignore"]);
        run(&bare, &["config", "uploadpack.allowFilter", "true"]);
        run(&bare, &["config", "http.receivepack", "true"]);
        run(&bare, &["config", "daemon.receivepack", "true"]);
        run(repository.root(), &["clone", "--quiet", "home.git", "work"]);
        repository
    }

    fn root(&self) -> &Path {
        self.root.path()
    }

    /// The repository that is served.
    pub fn bare(&self) -> PathBuf {
        self.root().join("home.git")
    }

    /// A path in the directory of the repository and its clone.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    /// Runs `git` in the clone.
    ///
    /// # Panics
    /// If it fails.
    pub fn git(&self, words: &[&str]) -> String {
        run(&self.path("work"), words)
    }

    /// Writes files, commits all and pushes. Returns the commit's id.
    ///
    /// # Panics
    /// If `git` fails.
    pub fn push(&self, files: &[(&str, &str)]) -> String {
        self.push_with(files, &[])
    }

    /// As [`Self::push`], with more arguments for `git commit`.
    ///
    /// # Panics
    /// If `git` fails.
    pub fn push_with(&self, files: &[(&str, &str)], arguments: &[&str]) -> String {
        for (name, text) in files {
            let path = self.path("work").join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        self.git(&["add", "--all"]);
        let commit = [&["commit", "--quiet", "--message", "a change"], arguments].concat();
        self.git(&commit);
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Brings what was pushed by others into the clone. Returns the newest commit's id.
    ///
    /// # Panics
    /// If `git` fails.
    pub fn pull(&self) -> String {
        self.git(&["fetch", "--quiet", "origin"]);
        self.git(&["reset", "--quiet", "--hard", "origin/main"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes a script a hook of the repository that is served.
    ///
    /// # Panics
    /// If that fails.
    pub fn hook(&self, name: &str, script: &str) {
        let path = self.bare().join("hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    /// Removes a hook.
    ///
    /// # Panics
    /// If that fails.
    pub fn unhook(&self, name: &str) {
        fs::remove_file(self.bare().join("hooks").join(name)).expect("a hook");
    }

    /// Makes the branch `main` a commit with a tree of these entries: mode, name, content. The names are not checked, as
    /// those of a hostile pusher are not.
    ///
    /// # Panics
    /// If `git` fails.
    pub fn push_entries(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut tree = Vec::new();
        for (mode, name, content) in entries {
            let id = if *mode == "160000" {
                "0123456789012345678901234567890123456789".to_owned()
            } else {
                self.object("blob", content.as_bytes())
            };
            tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            tree.extend(binary(&id));
        }
        let tree = self.object("tree", &tree);
        let commit = run(&self.bare(), &["commit-tree", "-m", "odd", &tree]);
        run(&self.bare(), &["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// Makes the branch `main` a commit of a tree in which each directory has ten entries, all the same: `levels` levels of
    /// directories, and ten files with this content in the lowest ones. Git stores each of them once.
    ///
    /// # Panics
    /// If `git` fails.
    pub fn push_bomb(&self, levels: usize, content: &[u8]) -> String {
        let mut entry = ("100644", self.object("blob", content));
        for _ in 0..=levels {
            let mut tree = Vec::new();
            for name in 0..10 {
                tree.extend_from_slice(format!("{} {name}\0", entry.0).as_bytes());
                tree.extend(binary(&entry.1));
            }
            entry = ("40000", self.object("tree", &tree));
        }
        let commit = run(&self.bare(), &["commit-tree", "-m", "large", &entry.1]);
        run(&self.bare(), &["update-ref", "refs/heads/main", &commit]);
        commit
    }

    fn object(&self, kind: &str, bytes: &[u8]) -> String {
        let mut child = command(
            &self.bare(),
            &["hash-object", "-t", kind, "-w", "--literally", "--stdin"],
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git");
        child.stdin.take().expect("a pipe").write_all(bytes).expect("a pipe");
        let output = child.wait_with_output().expect("git");
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The bytes of an object's id.
fn binary(id: &str) -> impl Iterator<Item = u8> {
    (0..40)
        .step_by(2)
        .map(|at| u8::from_str_radix(&id[at..at + 2], 16).expect("hexadecimal digits"))
}

/// Makes an SSH key without a passphrase, and returns its public part.
///
/// # Panics
/// If `ssh-keygen` is missing or fails.
pub fn ssh_key(path: &Path) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen");
    assert!(made.success());
    let public = path.with_extension("pub");
    fs::read_to_string(public).expect("a public key").trim().to_owned()
}

fn command(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(words)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("TZ", "UTC");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "Ada")
            .env(format!("GIT_{who}_EMAIL"), "ada@example.com");
    }
    command
}

fn run(directory: &Path, words: &[&str]) -> String {
    let output = command(directory, words).output().expect("git");
    assert!(
        output.status.success(),
        "git {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A server that is a process. It is killed when this is dropped.
pub struct Server {
    child: Child,
    port: u16,
    url: String,
}

impl Server {
    /// A Git daemon.
    ///
    /// # Panics
    /// If it does not start.
    pub fn daemon(repository: &Repository, port: u16) -> Self {
        // The program itself, because `git daemon` would start it as a child, which outlives `git` when that is killed.
        let programs = run(repository.root(), &["--exec-path"]);
        let child = Command::new(Path::new(&programs).join("git-daemon"))
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", repository.root().display()))
            .stderr(Stdio::null())
            .spawn()
            .expect("git-daemon");
        Self::started(child, port, format!("git://127.0.0.1:{port}/home.git"))
    }

    /// An SSH server with this host key, which lets `user_key` in. `None` if there is none, with a line on standard error.
    ///
    /// # Panics
    /// If it does not start; with `CI=true`, if there is none.
    pub fn ssh(repository: &Repository, port: u16, host_key: &Path, user_key: &str) -> Option<Self> {
        let program = Path::new("/usr/sbin/sshd");
        if !program.exists() {
            skipped("no /usr/sbin/sshd; install openssh-server");
            return None;
        }
        // A server that root starts looks for this directory.
        fs::create_dir_all("/run/sshd").ok();
        let authorized = repository.path("authorized_keys");
        fs::write(&authorized, format!("{user_key}\n")).expect("a file");
        let config = repository.path(&format!("sshd_{port}"));
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
             PasswordAuthentication no\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n",
            host_key.display(),
            authorized.display()
        );
        fs::write(&config, text).expect("a file");
        let child = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stderr(fs::File::create(repository.path("sshd.log")).expect("a file"))
            .spawn()
            .expect("sshd");
        let user = Command::new("id").arg("-un").output().expect("id");
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        let url = format!("ssh://{user}@127.0.0.1:{port}{}", repository.bare().display());
        Some(Self::started(child, port, url))
    }

    fn started(mut child: Child, port: u16, url: String) -> Self {
        let ready = wait_until(|| {
            assert!(
                child.try_wait().expect("a process").is_none(),
                "the server for {url} has ended"
            );
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        assert!(ready.is_some(), "no server for {url}");
        Self { child, port, url }
    }

    /// The repository's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How an [`HttpServer`] answers.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The value of the header `Authorization` without which every answer is 401.
    pub authorization: Option<String>,
    /// A status that every answer has.
    pub status: Option<u16>,
    /// A URL that every request is sent to.
    pub redirect: Option<String>,
    /// Whether pushes are carried out and never answered.
    pub pushes_without_answer: bool,
    /// After how many bytes of an answer the server falls silent. Only packs are longer than a few hundred bytes.
    pub silent_after: Option<usize>,
}

/// `git http-backend` behind an HTTP server.
pub struct HttpServer {
    port: u16,
    rules: Arc<Mutex<Rules>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl HttpServer {
    /// Serves the repository until the test program ends.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(repository: &Repository) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port");
        let (rules, requests) = (Arc::<Mutex<Rules>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let served = (rules.clone(), requests.clone(), repository.root().to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (rules, requests, root) = served.clone();
                std::thread::spawn(move || answer(stream, &rules, &requests, &root).ok());
            }
        });
        Self { port, rules, requests }
    }

    /// The repository's URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/home.git", self.port)
    }

    /// Changes how requests are answered.
    ///
    /// # Panics
    /// If a thread that answers has panicked.
    pub fn set(&self, rules: Rules) {
        *self.rules.lock().expect("no panic") = rules;
    }

    /// The first lines of the requests since the last call.
    ///
    /// # Panics
    /// If a thread that answers has panicked.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("no panic"))
    }
}

fn answer(stream: TcpStream, rules: &Mutex<Rules>, requests: &Mutex<Vec<String>>, root: &Path) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let header = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let length = header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    requests.lock().expect("no panic").push(first.trim().to_owned());
    let rules = rules.lock().expect("no panic").clone();
    let mut stream = stream;
    let refuse = |stream: &mut TcpStream, status: u16, more: &str| {
        write!(
            stream,
            "HTTP/1.1 {status} No\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    if let Some(url) = rules.redirect {
        return refuse(&mut stream, 302, &format!("Location: {url}\r\n"));
    }
    if let Some(status) = rules.status {
        return refuse(&mut stream, status, "");
    }
    if rules.authorization.is_some() && rules.authorization.as_deref() != header("authorization") {
        return refuse(&mut stream, 401, "WWW-Authenticate: Basic realm=\"git\"\r\n");
    }
    let mut words = first.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = command(root, &["http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", length.to_string())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = backend.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    std::thread::spawn(move || input.write_all(&body).ok());
    let output = backend.wait_with_output()?.stdout;
    if rules.pushes_without_answer && method == "POST" && path.ends_with("git-receive-pack") {
        return Ok(());
    }
    let end = output
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .unwrap_or(output.len());
    let head = String::from_utf8_lossy(&output[..end]);
    let status = head
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK");
    let body = output.get(end + 4..).unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if let Some(sent) = rules.silent_after.filter(|sent| *sent < body.len()) {
        stream.write_all(&body[..sent])?;
        stream.flush()?;
        // Until the client gives up.
        reader.read_exact(&mut [0])?;
        return Ok(());
    }
    stream.write_all(body)
}

/// Writes a file that others may not read.
///
/// # Panics
/// If that fails.
pub fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
}
