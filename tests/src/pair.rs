//! `ServerPair`: api and sync as two processes that share a data directory, as in a Pod. A test can kill and restart each of them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;

use crate::postgres::{self, Postgres};
use crate::wire::{Reply, Request, exchange};

/// How long `wait_until` tries. Long, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// One of the two processes of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Answers HTTP.
    Api,
    /// Reads the sources, and writes the store.
    Sync,
}

impl Process {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Sync => "sync",
        }
    }
}

/// The two processes with their directory. Dropping the value kills the processes and removes the directory.
pub struct ServerPair {
    root: tempfile::TempDir,
    api: Option<Child>,
    sync: Option<Child>,
    api_port: u16,
    sync_port: u16,
    /// `None`: OP_BUS_PORT and OP_BUS_PEERS are not set.
    bus_port: Option<u16>,
    replicas: Vec<Replica>,
    standbys: Vec<Standby>,
    /// Whether SIDEVAULT_STORE names a database that was made for this pair.
    store_is_chosen: bool,
    /// The binary, after the words of a program that starts it, if there is one.
    program: Vec<OsString>,
    sync_arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// An additional api on the same data directory.
struct Replica {
    child: Child,
    bus_port: u16,
}

/// An additional sync, with a data directory of its own. Only a store in PostgreSQL can have one.
struct Standby {
    child: Child,
    port: u16,
}

/// The path of the binary under test: `SIDEVAULT_BIN`, or in the directory above the test program's.
pub fn binary() -> PathBuf {
    match std::env::var_os("SIDEVAULT_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let mut path = std::env::current_exe().unwrap_or_default();
            // target/debug/deps/hostile-… stands two below target/debug.
            path.pop();
            path.pop();
            path.join("sidevault")
        }
    }
}

/// The ports that one test program hands out. No other test program has the same ones: a server that is restarted finds its port free.
struct Ports {
    first: u16,
    next: AtomicU16,
    /// Listens on the first port as long as the program runs, so that no other program takes these ports.
    _claim: TcpListener,
}

impl Ports {
    const COUNT: u16 = 500;

    /// Takes ports below those that the system gives to outgoing connections: else a client that asks a killed server could get the
    /// server's port, and be connected to itself.
    fn claim() -> Self {
        let start = rand::rng().random_range(0..34);
        let claimed = (0..34).find_map(|n| {
            let first = 15_000 + (start + n) % 34 * Self::COUNT;
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, first)).ok()?;
            Some((first, listener))
        });
        let (first, claim) = claimed.expect("ports that no other test program has");
        Self {
            first,
            next: AtomicU16::new(0),
            _claim: claim,
        }
    }
}

/// A port on which nobody listens, and which no other caller in this process gets, until all of them are used up.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    static PORTS: LazyLock<Ports> = LazyLock::new(Ports::claim);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    let mut ports =
        (0..1000).map(|_| PORTS.first + 1 + PORTS.next.fetch_add(1, Ordering::Relaxed) % (Ports::COUNT - 1));
    ports.find(free).expect("a free port")
}

impl ServerPair {
    /// Makes keys and starts both. `sync_arguments` follow `sidevault sync`; `{root}` in them is
    /// the pair's own directory.
    ///
    /// # Panics
    /// If a process does not start, or sync does not connect to the api.
    pub fn start(sync_arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut pair = Self::prepare(sync_arguments, environment);
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        pair
    }

    /// Makes the keys, and starts nothing.
    ///
    /// # Panics
    /// If there is no binary, or `sidevault init` fails.
    pub fn prepare(sync_arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        assert!(
            binary().is_file(),
            "no binary at {}: cargo build -p sidevault",
            binary().display()
        );
        let root = tempfile::Builder::new()
            .prefix("sidevault-pair-")
            .tempdir()
            .expect("a directory");
        for directory in ["keys", "home", "data", "tmp", "logs", "secrets"] {
            fs::create_dir(root.path().join(directory)).expect("a directory");
        }
        let place = root.path().to_string_lossy().into_owned();
        let mut pair = Self {
            api: None,
            sync: None,
            api_port: free_port(),
            sync_port: free_port(),
            bus_port: Some(free_port()),
            replicas: Vec::new(),
            standbys: Vec::new(),
            store_is_chosen: false,
            program: vec![binary().into()],
            sync_arguments: sync_arguments
                .iter()
                .map(|argument| argument.replace("{root}", &place))
                .collect(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.replace("{root}", &place)))
                .collect(),
            root,
        };
        pair.command(&["init", "--out", &pair.path("keys").to_string_lossy()]);
        pair.choose_store();
        pair
    }

    /// Names a new database, if the tests' stores are in PostgreSQL.
    fn choose_store(&mut self) {
        let is_named = self.environment.iter().any(|(name, _)| name == "SIDEVAULT_STORE");
        if postgres::is_chosen() && (!is_named || self.store_is_chosen) {
            self.store_is_chosen = true;
            let server = Postgres::shared().expect("PostgreSQL, because SIDEVAULT_TEST_STORE=postgres");
            self.set("SIDEVAULT_STORE", &server.create_database());
        }
    }

    /// A path in the pair's own directory: `keys`, `data`, `tmp`, `logs`, `secrets`.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Where the api listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.api_port).into()
    }

    /// Where sync listens, for its health and metrics.
    pub fn sync_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.sync_port).into()
    }

    /// Sets an environment variable for every process that is started later.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Sets the arguments of `sidevault sync` for later starts, as in [`ServerPair::start`].
    pub fn sync_arguments(&mut self, arguments: &[&str]) {
        let place = self.root.path().to_string_lossy().into_owned();
        self.sync_arguments = arguments
            .iter()
            .map(|argument| argument.replace("{root}", &place))
            .collect();
    }

    /// Starts later processes with this program and its arguments, to which the binary and its arguments are appended.
    pub fn run_by(&mut self, words: &[&str]) {
        self.program = words.iter().map(OsString::from).collect();
    }

    /// Leaves OP_BUS_PORT and OP_BUS_PEERS unset for later starts, so that the processes use their defaults.
    pub fn forget_bus(&mut self) {
        self.bus_port = None;
    }

    fn bare(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command
            .args(&self.program[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("OP_SESSION", self.path("keys/1password-credentials.json"))
            .env("SIDEVAULT_HEALTH_DETAILS", "true")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the binary, and returns its standard output.
    ///
    /// # Panics
    /// If it fails.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = self.bare().args(arguments).output().expect("the binary runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "sidevault {arguments:?}: {}: {errors}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a command, and returns how it ended and what it printed.
    ///
    /// # Panics
    /// If it can't be run at all.
    pub fn ended(&self, arguments: &[&str]) -> std::process::Output {
        self.bare().args(arguments).output().expect("the binary runs")
    }

    /// Runs a command that may fail with a file as its standard input.
    ///
    /// # Panics
    /// If it can't be run at all, or the file can't be opened.
    pub fn ended_with(&self, input: &Path, arguments: &[&str]) -> std::process::Output {
        let input = fs::File::open(input).expect("the input can be opened");
        self.bare()
            .args(arguments)
            .stdin(input)
            .output()
            .expect("the binary runs")
    }

    /// Starts a command, and does not wait until it ends.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.bare();
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary runs")
    }

    /// Runs a command that may fail, and returns its standard output.
    ///
    /// # Panics
    /// If it can't be run at all.
    pub fn output(&self, arguments: &[&str]) -> String {
        let output = self.bare().args(arguments).output().expect("the binary runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command that may fail, and returns its standard error.
    ///
    /// # Panics
    /// If it can't be run at all.
    pub fn errors(&self, arguments: &[&str]) -> String {
        let output = self.bare().args(arguments).output().expect("the binary runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Makes a token with these grants, each as `NAME=RIGHTS`.
    pub fn token(&self, name: &str, grants: &[&str]) -> String {
        let issuer = self.path("keys/issuer.json");
        let issuer = issuer.to_string_lossy();
        let mut arguments = vec!["token", "create", name, "--expires", "1h", "--issuer", &issuer];
        for grant in grants {
            arguments.extend(["--vault", grant]);
        }
        self.command(&arguments)
    }

    /// Starts a process, and does not wait until it is ready.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn run(&mut self, process: Process) {
        let child = match process {
            Process::Api => self.spawn_api(self.api_port, self.bus_port),
            Process::Sync => self.spawn_sync(self.sync_port, None),
        };
        *self.slot(process) = Some(child);
    }

    fn spawn_sync(&self, port: u16, data: Option<&Path>) -> Child {
        let mut command = self.bare();
        command
            .arg("sync")
            .args(&self.sync_arguments)
            .env("OP_HTTP_PORT", port.to_string());
        if let Some(data) = data {
            command.env("XDG_DATA_HOME", data);
        }
        let replicas = self.replicas.iter().map(|replica| replica.bus_port);
        let peers: Vec<String> = self.bus_port.into_iter().chain(replicas).map(peer).collect();
        if !peers.is_empty() {
            command.env("OP_BUS_PEERS", peers.join(","));
        }
        self.spawn(command, Process::Sync)
    }

    /// Starts an additional sync, with a data directory of its own, and returns its process id. It connects to the apis that were
    /// started before.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn run_standby(&mut self) -> u32 {
        let port = free_port();
        let data = self.path(&format!("data-{port}"));
        let child = self.spawn_sync(port, Some(&data));
        let pid = child.id();
        self.standbys.push(Standby { child, port });
        pid
    }

    /// The process ids of all syncs.
    pub fn syncs(&self) -> Vec<u32> {
        let others = self.standbys.iter().map(|standby| standby.child.id());
        self.pid(Process::Sync).into_iter().chain(others).collect()
    }

    /// How many additional syncs have not ended by themselves.
    pub fn running_syncs(&mut self) -> usize {
        let ended = |standby: &mut Standby| matches!(standby.child.try_wait(), Ok(Some(_)));
        self.standbys
            .iter_mut()
            .filter_map(|standby| (!ended(standby)).then_some(()))
            .count()
    }

    /// The process id of the sync that leads, if one says so. One that is paused says nothing.
    pub fn leader(&self) -> Option<u32> {
        let first = self.sync.as_ref().map(|child| (child.id(), self.sync_port));
        let others = self.standbys.iter().map(|standby| (standby.child.id(), standby.port));
        let leads = |port: u16| {
            let health = exchange(
                (Ipv4Addr::LOCALHOST, port).into(),
                &Request::new("GET", "/health").bytes(),
            )
            .ok()?;
            let store = health.json()["dependencies"][0]["message"].as_str()?.to_owned();
            store.starts_with("Connected").then_some(())
        };
        first
            .into_iter()
            .chain(others)
            .filter(|(pid, _)| !is_paused(*pid))
            .find(|(_, port)| leads(*port).is_some())
            .map(|(pid, _)| pid)
    }

    /// Kills the sync with this process id, the first one or a standby, and waits until it is gone.
    pub fn kill_sync(&mut self, pid: u32) {
        if self.pid(Process::Sync) == Some(pid) {
            self.kill(Process::Sync);
        }
        if let Some(at) = self.standbys.iter().position(|standby| standby.child.id() == pid) {
            let mut standby = self.standbys.remove(at);
            // As in `kill`.
            standby.child.kill().ok();
            standby.child.wait().ok();
        }
    }

    /// Starts an additional api on the same data directory, and returns its address. A sync that is started
    /// later connects to this api, too.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn run_replica(&mut self) -> SocketAddr {
        let (port, bus_port) = (free_port(), free_port());
        let child = self.spawn_api(port, Some(bus_port));
        self.replicas.push(Replica { child, bus_port });
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn spawn_api(&self, port: u16, bus_port: Option<u16>) -> Child {
        let mut command = self.bare();
        command.arg("api").env("OP_HTTP_PORT", port.to_string());
        if let Some(port) = bus_port {
            command.env("OP_BUS_PORT", port.to_string());
        }
        self.spawn(command, Process::Api)
    }

    fn spawn(&self, mut command: Command, process: Process) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(process))
            .expect("a log file");
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        command.spawn().expect("the binary runs")
    }

    fn slot(&mut self, process: Process) -> &mut Option<Child> {
        match process {
            Process::Api => &mut self.api,
            Process::Sync => &mut self.sync,
        }
    }

    /// The process's id, if the process was started.
    pub fn pid(&self, process: Process) -> Option<u32> {
        match process {
            Process::Api => self.api.as_ref(),
            Process::Sync => self.sync.as_ref(),
        }
        .map(Child::id)
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self, process: Process) {
        if let Some(mut child) = self.slot(process).take() {
            // Both fail if the process has ended by itself, which is as good.
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Empties the data directory, as a Pod that is moved loses its `emptyDir`. Neither process may run. A store in PostgreSQL is lost
    /// with its database.
    ///
    /// # Panics
    /// If a process runs, or the directory can't be emptied.
    pub fn empty_disk(&mut self) {
        assert!(self.api.is_none() && self.sync.is_none(), "a process still runs");
        self.choose_store();
        fs::remove_dir_all(self.path("data")).expect("the data");
        fs::create_dir(self.path("data")).expect("a directory");
    }

    /// SIGTERM, as Kubernetes stops a container.
    ///
    /// # Panics
    /// If the process does not run.
    pub fn terminate(&self, process: Process) {
        Self::signal(self.pid(process).expect("a running process"), "TERM");
    }

    /// Waits until a process has ended by itself.
    ///
    /// # Panics
    /// If the process does not end, or was not started.
    pub fn wait_ended(&mut self, process: Process) -> ExitStatus {
        let child = self.slot(process).as_mut().expect("a started process");
        let ended = wait_until(|| child.try_wait().ok().flatten());
        ended.unwrap_or_else(|| panic!("{process:?} does not end\n{}", self.log(process)))
    }

    /// Sends a signal, such as `STOP`, to a process.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn signal(pid: u32, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -s {name} {pid}")])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "process {pid} does not run");
    }

    fn log_path(&self, process: Process) -> PathBuf {
        self.path("logs").join(format!("{}.log", process.name()))
    }

    /// Everything that a process has logged, in all its starts.
    pub fn log(&self, process: Process) -> String {
        fs::read(self.log_path(process))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until the api answers, and sync is connected to it and has read its sources.
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn wait_linked(&self) {
        let linked = wait_until(|| {
            let health = self.health();
            let parts = health["dependencies"].as_array()?;
            let status = |name: &str| {
                parts
                    .iter()
                    .find(|part| part["service"] == name)
                    .map(|part| &part["status"])
            };
            let starting = parts.iter().any(|part| part["status"] == "INITIALIZED");
            // Without a store the api can't know the state of sync.
            let store = status("sqlite").or(status("postgres"))?;
            (store == "ACTIVE" && status("sync").is_some_and(|sync| sync != "FAILED") && !starting).then_some(())
        });
        assert!(
            linked.is_some(),
            "not linked: {}\n{}\n{}",
            self.health(),
            self.log(Process::Api),
            self.log(Process::Sync)
        );
    }

    /// The body of `/health`; null while the api does not answer.
    pub fn health(&self) -> serde_json::Value {
        exchange(self.address(), &Request::new("GET", "/health").bytes())
            .map(|reply| reply.json())
            .unwrap_or_default()
    }

    /// Sends a request to the api. An empty `body` means none.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn ask(&self, token: &str, method: &str, target: &str, body: &str) -> io::Result<Reply> {
        let mut request = Request::new(method, target).bearer(token);
        if !body.is_empty() {
            request = request.body(body);
        }
        exchange(self.address(), &request.bytes())
    }

    /// Sends a `GET` to the api, and returns the answer.
    ///
    /// # Panics
    /// If the connection fails.
    pub fn get(&self, token: &str, target: &str) -> Reply {
        self.ask(token, "GET", target, "")
            .unwrap_or_else(|error| panic!("GET {target}: {error}"))
    }

    /// Waits for a vault that the token may read, and returns its id.
    ///
    /// # Panics
    /// If the vault does not appear.
    pub fn vault(&self, token: &str, name: &str) -> String {
        let found = wait_until(|| {
            let vaults = self.ask(token, "GET", "/v1/vaults", "").ok()?.json();
            let vault = vaults.as_array()?.iter().find(|vault| vault["name"] == name)?.clone();
            vault["id"].as_str().map(str::to_owned)
        });
        found.unwrap_or_else(|| {
            panic!(
                "no vault {name}\n{}\n{}",
                self.log(Process::Api),
                self.log(Process::Sync)
            )
        })
    }

    /// Creates an item with a value of this length.
    ///
    /// # Panics
    /// If the answer is not 200.
    pub fn create(&self, token: &str, vault: &str, title: &str, bytes: usize) {
        let fields = serde_json::json!([{ "label": "v", "value": "x".repeat(bytes) }]);
        let body = serde_json::json!({ "title": title, "category": "LOGIN", "fields": fields }).to_string();
        let reply = self.ask(token, "POST", &format!("/v1/vaults/{vault}/items"), &body);
        let reply = reply.unwrap_or_else(|error| panic!("POST {title}: {error}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// The full item with this title, if there is one.
    pub fn item(&self, token: &str, vault: &str, title: &str) -> Option<serde_json::Value> {
        let list = self
            .ask(token, "GET", &format!("/v1/vaults/{vault}/items"), "")
            .ok()?
            .json();
        let id = list.as_array()?.iter().find(|item| item["title"] == title)?["id"]
            .as_str()?
            .to_owned();
        let reply = self
            .ask(token, "GET", &format!("/v1/vaults/{vault}/items/{id}"), "")
            .ok()?;
        (reply.status == 200).then(|| reply.json())
    }

    /// Waits until `/health` shows the source with this status and a message that contains `words`. Returns the message.
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn wait_source(&self, name: &str, status: &str, words: &str) -> String {
        let find = || {
            let health = self.health();
            let parts = health["dependencies"].as_array()?;
            let source = parts.iter().find(|part| part["service"] == name)?;
            let message = source["message"].as_str().unwrap_or_default().to_owned();
            (source["status"] == status && message.contains(words)).then_some(message)
        };
        wait_until(find).unwrap_or_else(|| panic!("{name} never was {status} {words:?}: {}", self.health()))
    }

    /// The most memory that a process has had, in bytes, without the pages of the program file (`VmHWM` less `RssFile`,
    /// proc(5)): the unoptimised binary has twice as many of them as a release build.
    pub fn most_memory(&self, process: Process) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid(process)?)).ok()?;
        let bytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
        };
        bytes("VmHWM:")?.checked_sub(bytes("RssFile:")?)
    }
}

impl Drop for ServerPair {
    fn drop(&mut self) {
        self.kill(Process::Api);
        self.kill(Process::Sync);
        let replicas = self.replicas.iter_mut().map(|replica| &mut replica.child);
        for child in replicas.chain(self.standbys.iter_mut().map(|standby| &mut standby.child)) {
            // As in `kill`.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Whether a process was stopped by SIGSTOP: its state is T (proc(5)).
fn is_paused(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn peer(port: u16) -> String {
    format!("localhost:{port}")
}

/// Calls `attempt` until it returns a value, and returns that; `None` after [`PATIENCE`].
pub fn wait_until<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return Some(found);
        }
        if started.elapsed() > PATIENCE {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every file below a directory, with its bytes. Links are not followed.
pub fn files_below(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&path)),
            Ok(kind) if kind.is_file() => {
                let mut bytes = Vec::new();
                // A file may vanish after it was listed.
                if File::open(&path)
                    .and_then(|mut file| file.read_to_end(&mut bytes))
                    .is_ok()
                {
                    found.push((path, bytes));
                }
            }
            _ => {}
        }
    }
    found
}
