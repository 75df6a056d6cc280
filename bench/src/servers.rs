//! The measured servers, each in a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use sidevault_tests::pair::{ServerPair, free_port};
use tokio::process::{Child, Command};

use crate::fixture::Fixture;
use crate::load;
use crate::process::{cpu, resident_mib};

/// Serves `size` bytes by axum, without doing anything else.
pub(crate) async fn bare(size: usize) {
    let body = axum::body::Bytes::from(vec![b'x'; size]);
    let router = Router::new().fallback(get(move || async move {
        ([(header::CONTENT_TYPE, "application/json")], body)
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// A process with such a handler.
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Bare {
    pub(crate) async fn start(size: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["bare", &size.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = tokio::io::BufReader::new(process.stdout.take().unwrap());
        tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line)
            .await
            .unwrap();
        Self {
            address: line.trim().parse().unwrap(),
            process,
        }
    }

    /// The processor time of the process so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.process.id().map_or(Duration::ZERO, cpu)
    }
}

/// Apis and syncs on one store, each a process. With SQLite there is one sync.
pub(crate) struct Servers<'a> {
    program: PathBuf,
    fixture: &'a Fixture,
    apis: Vec<Server>,
    syncs: Vec<Server>,
}

/// An api or a sync.
struct Server {
    http: u16,
    bus: u16,
    child: Child,
}

impl<'a> Servers<'a> {
    /// Starts the processes, and waits until each api answers and is connected to each sync.
    pub(crate) async fn start(fixture: &'a Fixture, apis: usize, syncs: usize) -> Self {
        let program = std::env::current_exe().unwrap().with_file_name("sidevault");
        assert!(program.exists(), "first: cargo build --release -p sidevault");
        Self::start_program(&program, fixture, apis, syncs).await
    }

    /// The same with this program.
    pub(crate) async fn start_program(program: &Path, fixture: &'a Fixture, apis: usize, syncs: usize) -> Self {
        let mut servers = Self {
            program: program.to_owned(),
            fixture,
            apis: Vec::new(),
            syncs: Vec::new(),
        };
        for _ in 0..syncs {
            let sync = servers.spawn_sync(free_port(), free_port());
            servers.syncs.push(sync);
        }
        for _ in 0..apis {
            let api = servers.spawn_api(free_port());
            servers.apis.push(api);
        }
        for n in 0..apis {
            servers.wait_ready(n).await;
        }
        servers
    }

    async fn wait_ready(&self, api: usize) {
        let probe = if self.fixture.has_tree {
            "/v1/vaults/tree"
        } else {
            "/v1/vaults/apps"
        };
        for _ in 0..2000 {
            let address = self.address(api);
            if load::get_once(address, &self.fixture.token, probe).await.is_some() && is_linked(address).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("api {api} did not become ready");
    }

    /// Where an api listens.
    pub(crate) fn address(&self, api: usize) -> SocketAddr {
        local(self.apis[api].http)
    }

    /// Where the first `count` apis listen.
    pub(crate) fn addresses(&self, count: usize) -> Vec<SocketAddr> {
        (0..count).map(|n| self.address(n)).collect()
    }

    /// SIGKILL of the first api.
    pub(crate) async fn kill_api(&mut self) {
        self.apis[0].child.kill().await.unwrap();
    }

    /// Starts the first api again, and does not wait.
    pub(crate) fn run_api(&mut self) {
        self.apis[0] = self.spawn_api(self.apis[0].http);
    }

    /// The number of the sync that leads.
    pub(crate) async fn leader(&self) -> usize {
        for _ in 0..2000 {
            for (n, sync) in self.syncs.iter().enumerate() {
                let health = load::get_once(local(sync.http), "", "/health")
                    .await
                    .unwrap_or_default();
                let health: serde_json::Value = serde_json::from_slice(&health).unwrap_or_default();
                let store = health["dependencies"][0]["message"].as_str().unwrap_or_default();
                if store.starts_with("Connected") {
                    return n;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no sync leads");
    }

    /// Sends a signal to a sync, such as `KILL`.
    pub(crate) fn signal_sync(&self, n: usize, signal: &str) {
        ServerPair::signal(self.syncs[n].child.id().unwrap(), signal);
    }

    /// Waits until a sync has ended, starts it again, and waits until all apis are connected to it.
    pub(crate) async fn restart_sync(&mut self, n: usize) {
        self.syncs[n].child.wait().await.unwrap();
        let (http, bus) = (self.syncs[n].http, self.syncs[n].bus);
        self.syncs[n] = self.spawn_sync(http, bus);
        for _ in 0..2000 {
            let metrics = load::get_once(local(http), "", "/metrics").await.unwrap_or_default();
            let connected = format!("sidevault_bus_connected {}", self.apis.len());
            if String::from_utf8_lossy(&metrics).lines().any(|line| line == connected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no api is connected to sync {n}");
    }

    /// The processor time of all apis so far.
    pub(crate) fn api_cpu(&self) -> Duration {
        self.apis.iter().filter_map(|api| api.child.id()).map(cpu).sum()
    }

    /// The processor time of all syncs so far.
    pub(crate) fn sync_cpu(&self) -> Duration {
        self.syncs.iter().filter_map(|sync| sync.child.id()).map(cpu).sum()
    }

    /// The resident memory of the first api, in MiB.
    pub(crate) fn api_memory(&self) -> f64 {
        self.apis[0].child.id().and_then(resident_mib).unwrap()
    }

    /// The first sync's process.
    pub(crate) fn sync_pid(&self) -> u32 {
        self.syncs[0].child.id().unwrap()
    }

    /// Where the first sync has its webhooks.
    pub(crate) fn sync_address(&self) -> SocketAddr {
        local(self.syncs[0].http)
    }

    /// The resident memory of the first sync, in MiB.
    pub(crate) fn sync_memory(&self) -> f64 {
        self.syncs[0].child.id().and_then(resident_mib).unwrap()
    }

    fn spawn_api(&self, http: u16) -> Server {
        let bus = free_port();
        let peers: Vec<_> = self
            .syncs
            .iter()
            .map(|sync| format!("127.0.0.1:{}", sync.bus))
            .collect();
        let mut api = self.command("api", http, bus);
        api.env("OP_BUS_PEERS", peers.join(","));
        Server {
            http,
            bus,
            child: api.spawn().unwrap(),
        }
    }

    fn spawn_sync(&self, http: u16, bus: u16) -> Server {
        let mut sync = self.command("sync", http, bus);
        sync.arg("--allow-ephemeral");
        if self.fixture.has_sources {
            sync.arg("--config").arg(self.fixture.path("sources.yaml"));
        } else if self.fixture.has_tree {
            sync.arg("--dir").arg(self.fixture.tree());
        }
        Server {
            http,
            bus,
            child: sync.spawn().unwrap(),
        }
    }

    fn command(&self, role: &str, http: u16, bus: u16) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(role)
            .env("OP_SESSION", self.fixture.credentials())
            .env("OP_HTTP_PORT", http.to_string())
            .env("OP_BUS_PORT", bus.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        match &self.fixture.url {
            // Each process has a directory of its own, as in Pods of their own.
            Some(url) => command
                .env("SIDEVAULT_STORE", url)
                .env("XDG_DATA_HOME", self.fixture.path(format!("{role}-{http}"))),
            None => command.env("XDG_DATA_HOME", self.fixture.path("")),
        };
        command
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn is_linked(address: SocketAddr) -> bool {
    let health = load::get_once(address, "", "/health").await.unwrap_or_default();
    !String::from_utf8_lossy(&health).contains("FAILED")
}
