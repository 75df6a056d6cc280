//! The stores that the measured servers serve.

use std::path::{Path, PathBuf};

use sidevault_keys::{Credentials, Issuer, TokenSpec};
use sidevault_model::{Access, Edit, Item, ItemId, ItemInput, Timestamp, VaultId};
use sidevault_store::{Database, LOCAL_SOURCE, VaultInfo, Writer, WriterOptions};
use sidevault_tests::postgres::Postgres;
use tempfile::TempDir;

/// A directory with credentials, a token, and a store of items in the directory or in PostgreSQL.
pub(crate) struct Fixture {
    dir: TempDir,
    pub(crate) token: String,
    pub(crate) vault: VaultId,
    items: Vec<ItemId>,
    /// Whether sync also serves the directory [`Fixture::tree`].
    pub(crate) has_tree: bool,
    /// Whether sync's sources are those of a sources file instead.
    pub(crate) has_sources: bool,
    /// The URL of the database, if the store is in PostgreSQL.
    pub(crate) url: Option<String>,
}

impl Fixture {
    /// A store in SQLite.
    pub(crate) async fn seed(count: usize) -> Self {
        Self::seeded(count, None).await
    }

    /// A store in a new database of this server.
    pub(crate) async fn seed_postgres(count: usize, server: &Postgres) -> Self {
        Self::seeded(count, Some(server.create_database())).await
    }

    async fn seeded(count: usize, url: Option<String>) -> Self {
        let (mut fixture, keys) = Self::empty();
        fixture.url = url;
        let database = match &fixture.url {
            Some(url) => Database::from_setting(url).unwrap(),
            None => Database::Sqlite(fixture.path(".op/data")),
        };
        let mut writer = Writer::open(&database, keys.kek(), WriterOptions::default())
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
        fixture.has_tree = true;
        fixture
    }

    /// An empty store, and a sources file with this text. Its vault is `tree`.
    pub(crate) fn with_sources(text: &str) -> Self {
        let (mut fixture, _) = Self::empty();
        std::fs::create_dir_all(fixture.tree()).unwrap();
        std::fs::write(fixture.path("sources.yaml"), text).unwrap();
        (fixture.has_tree, fixture.has_sources) = (true, true);
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
                has_tree: false,
                has_sources: false,
                url: None,
                dir,
            },
            keys,
        )
    }

    /// A path in the fixture's own directory.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.path("credentials.json")
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.path("tree")
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
