//! The measured servers, each in a process of its own, and the stores they serve.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use sidevault_keys::{Credentials, Issuer, TokenSpec};
use sidevault_model::{Access, Edit, Item, ItemId, ItemInput, Timestamp, VaultId};
use sidevault_store::{Database, LOCAL_SOURCE, VaultInfo, Writer, WriterOptions};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::load;

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
}

impl Bare {
    /// The processor time of the process so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.process.id().map_or(Duration::ZERO, cpu)
    }
}

/// A data directory with credentials, a token, and items.
pub(crate) struct Fixture {
    dir: TempDir,
    pub(crate) token: String,
    pub(crate) vault: VaultId,
    items: Vec<ItemId>,
    directory: bool,
}

impl Fixture {
    pub(crate) async fn seed(count: usize) -> Self {
        let (mut fixture, keys) = Self::empty();
        let data = fixture.data();
        let mut writer = Writer::open(&Database::Sqlite(data.clone()), keys.kek(), WriterOptions::default())
            .await
            .unwrap();
        let mut batch = writer.begin().await.unwrap();
        let info = VaultInfo {
            id: fixture.vault,
            name: "apps".into(),
            source: LOCAL_SOURCE.into(),
        };
        batch.create_vault(info, None, Timestamp::now()).await.unwrap();
        batch.commit().await.unwrap();
        for first in (0..count).step_by(5000) {
            let mut batch = writer.begin().await.unwrap();
            for n in first..(first + 5000).min(count) {
                let item = item(fixture.vault, n);
                fixture.items.push(item.id);
                batch.insert_item(&item, None).await.unwrap();
            }
            batch.commit().await.unwrap();
        }
        writer.close().await.unwrap();
        fixture
    }

    pub(crate) async fn with_directory() -> Self {
        let (mut fixture, _) = Self::empty();
        std::fs::create_dir_all(fixture.tree()).unwrap();
        std::fs::write(fixture.tree().join("changing.yaml"), "key: first\n").unwrap();
        fixture.directory = true;
        fixture
    }

    fn empty() -> (Self, Credentials) {
        let dir = tempfile::tempdir().unwrap();
        let (keys, issuer): (Credentials, Issuer) = Credentials::generate();
        std::fs::write(dir.path().join("credentials.json"), keys.to_json(None).as_bytes()).unwrap();
        let (vault, tree) = (keys.id_key().vault("apps"), keys.id_key().vault("tree"));
        let vaults = [(vault, Access::READ_WRITE), (tree, Access::READ)].into();
        let spec = TokenSpec {
            name: "bench".into(),
            vaults,
            ..TokenSpec::default()
        };
        let (token, _) = issuer.issue(&spec, Timestamp::now()).unwrap();
        (
            Self {
                token: token.to_string(),
                vault,
                items: Vec::new(),
                directory: false,
                dir,
            },
            keys,
        )
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join(".op/data")
    }

    /// Paths of `count` items, spread evenly over all items.
    pub(crate) fn item_paths(&self, count: usize) -> Vec<String> {
        self.spread(count)
            .map(|n| format!("/v1/vaults/{}/items/{}", self.vault, self.items[n]))
            .collect()
    }

    pub(crate) fn title_paths(&self, count: usize) -> Vec<String> {
        let path = |n| format!("/v1/vaults/{}/items?filter=title+eq+%22{}%22", self.vault, title(n));
        self.spread(count).map(path).collect()
    }

    fn spread(&self, count: usize) -> impl Iterator<Item = usize> {
        let step = (self.items.len() / count).max(1);
        (0..self.items.len()).step_by(step)
    }
}

fn title(n: usize) -> String {
    format!("service-{n}-credentials")
}

fn item(vault: VaultId, n: usize) -> Item {
    let body = serde_json::json!({
        "title": title(n), "category": "LOGIN", "tags": ["bench"],
        "urls": [{ "href": "https://service.example", "primary": true }],
        "fields": [
            { "id": "username", "purpose": "USERNAME", "type": "STRING", "value": "service" },
            { "id": "password", "purpose": "PASSWORD", "type": "CONCEALED", "value": format!("{n:032}") },
            { "id": "host", "type": "STRING", "label": "host", "value": "db.example" },
        ],
    });
    let input = ItemInput::from_json(body.to_string().as_bytes()).unwrap();
    let mut rng = rand::rng();
    let mut edit = Edit {
        now: Timestamp::now(),
        by: "BENCH",
        rng: &mut rng,
    };
    Item::create(input, vault, ItemId::random(), &mut edit).unwrap()
}

/// api and sync as two processes on one data directory.
pub(crate) struct Pair {
    pub(crate) address: SocketAddr,
    bus: u16,
    api: Child,
    sync: Child,
}

impl Pair {
    pub(crate) async fn start(fixture: &Fixture) -> Self {
        let (port, bus) = (free_port(), free_port());
        let mut sync = command(fixture, "sync");
        sync.env("OP_HTTP_PORT", free_port().to_string())
            .env("OP_BUS_PEERS", format!("127.0.0.1:{bus}"));
        sync.arg("--allow-ephemeral");
        if fixture.directory {
            sync.arg("--dir").arg(fixture.tree());
        }
        let sync = sync.spawn().unwrap();
        let api = api(fixture, port, bus);
        let pair = Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            bus,
            api,
            sync,
        };
        let probe = if fixture.directory {
            "/v1/vaults/tree"
        } else {
            "/v1/vaults/apps"
        };
        for _ in 0..1000 {
            if load_ready(pair.address, &fixture.token, probe).await && linked(pair.address).await {
                return pair;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the pair did not become ready");
    }

    pub(crate) async fn kill_api(&mut self) {
        self.api.kill().await.unwrap();
    }

    pub(crate) fn spawn_api(&mut self, fixture: &Fixture) {
        self.api = api(fixture, self.address.port(), self.bus);
    }

    /// The processor time of the api so far.
    pub(crate) fn api_cpu(&self) -> Duration {
        self.api.id().map_or(Duration::ZERO, cpu)
    }

    pub(crate) fn memory_mib(&self) -> f64 {
        [&self.api, &self.sync]
            .into_iter()
            .filter_map(|process| resident(process.id()?))
            .sum::<f64>()
            / 1024.0
    }
}

async fn load_ready(address: SocketAddr, token: &str, path: &str) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok() && load::try_get(address, token, path).await.is_some()
}

async fn linked(address: SocketAddr) -> bool {
    let health = load::try_get(address, "", "/health").await.unwrap_or_default();
    !String::from_utf8_lossy(&health).contains("FAILED")
}

/// The processor time of all threads of a process so far, to the nanosecond.
fn cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let spent = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

fn resident(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()
}

fn api(fixture: &Fixture, port: u16, bus: u16) -> Child {
    let mut api = command(fixture, "api");
    api.env("OP_HTTP_PORT", port.to_string())
        .env("OP_BUS_PORT", bus.to_string());
    api.spawn().unwrap()
}

fn command(fixture: &Fixture, role: &str) -> Command {
    let binary = std::env::current_exe().unwrap().with_file_name("sidevault");
    assert!(Path::new(&binary).exists(), "first: cargo build --release -p sidevault");
    let mut command = Command::new(binary);
    command
        .arg(role)
        .env("OP_SESSION", fixture.dir.path().join("credentials.json"))
        .env("XDG_DATA_HOME", fixture.dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
