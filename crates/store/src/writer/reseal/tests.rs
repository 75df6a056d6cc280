//! Rotations of the data keys, on a store with rows of every kind.

use std::collections::BTreeSet;
use std::path::Path;

use sidevault_keys::Credentials;
use sidevault_model::activity::{Action, ActivityOutcome, Actor, Resource, ResourceType, VaultRef};
use sidevault_model::{ApiRequest, Edit, FileId, Item, ItemId, ItemInput, Timestamp};
use sqlx::Row as _;

use super::*;
use crate::tables::TABLES;
use crate::{DATABASE_FILE, Database, LOCAL_SOURCE, Reader, ReaderOptions, TokenRecord, VaultInfo, WriterOptions};

/// Columns with bytes that no data key seals.
const NOT_SEALED: [(&str, &str); 7] = [
    ("vault_keys", "wrapped"),
    ("items", "title_hash"),
    ("items", "path_hash"),
    ("changes", "title_hash"),
    ("changes", "other_title_hash"),
    ("changes", "path_hash"),
    ("activity", "token"),
];

struct Store {
    dir: tempfile::TempDir,
    keys: Credentials,
    writer: Writer,
    items: Vec<Item>,
}

impl Store {
    /// A store with rows of every kind, in two vaults.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (keys, _) = Credentials::generate();
        let database = Database::Sqlite(dir.path().into());
        let writer = Writer::open(&database, keys.kek(), WriterOptions::default())
            .await
            .unwrap();
        let mut store = Self {
            dir,
            keys,
            writer,
            items: Vec::new(),
        };
        for name in ["apps", "other"] {
            store.fill(name).await;
        }
        store
    }

    async fn fill(&mut self, name: &str) {
        let vault = self.keys.id_key().vault(name);
        let mut batch = self.writer.begin().await.unwrap();
        let info = VaultInfo {
            id: vault,
            name: name.into(),
            source: LOCAL_SOURCE.into(),
        };
        batch.create_vault(info, None, Timestamp::now()).await.unwrap();
        for n in 0..150 {
            let item = item(vault, n);
            batch.insert_item(&item, None).await.unwrap();
            self.items.push(item);
        }
        let old = self.items.pop().unwrap();
        let new = old.replace(input(1000), &mut edit(&mut rand::rng())).unwrap();
        batch.update_item(&old, &new).await.unwrap();
        self.items.push(new);
        batch.add_activity(&[request(vault)]).await.unwrap();
        batch.register_token(&token(name)).await.unwrap();
        for n in 0..4 {
            batch
                .put_chunk(vault, content(name), n, &[7; crate::CHUNK_BYTES])
                .await
                .unwrap();
        }
        batch.commit().await.unwrap();
    }

    async fn rotate(&mut self) -> bool {
        let mut batch = self.writer.begin().await.unwrap();
        let rotated = batch.rotate_data_keys().await.unwrap();
        batch.commit().await.unwrap();
        rotated
    }

    async fn finish(&mut self) -> Resealing {
        loop {
            match self.writer.reseal_some().await.unwrap() {
                Resealing::Running { .. } => {}
                ended => return ended,
            }
        }
    }

    /// Opens the store with another writer, as after `kill -9`.
    async fn reopen(&mut self) {
        // The lock of the data directory belongs to the writer, which has to go first.
        let database = Database::Sqlite(self.dir.path().into());
        let elsewhere = Database::Sqlite(self.dir.path().join("elsewhere"));
        let other = Writer::open(&elsewhere, self.keys.kek(), WriterOptions::default());
        drop(std::mem::replace(&mut self.writer, other.await.unwrap()));
        self.writer = Writer::open(&database, self.keys.kek(), WriterOptions::default())
            .await
            .unwrap();
    }

    async fn reader(&self) -> Reader {
        let database = Database::Sqlite(self.dir.path().into());
        Reader::open(&database, self.keys.kek(), ReaderOptions::default())
            .await
            .unwrap()
    }

    /// Reads everything that has a value.
    async fn assert_readable(&self, reader: &Reader) {
        let snapshot = reader.snapshot().await.unwrap();
        for item in &self.items {
            let found = reader.item(&snapshot, item.vault, item.id).await.unwrap().unwrap();
            assert_eq!(found.item().unwrap().fields[0].value, item.fields[0].value);
        }
        let mut vaults = Vec::new();
        for name in ["apps", "other"] {
            let vault = self.keys.id_key().vault(name);
            vaults.push(vault);
            assert!(!snapshot.is_revoked(name), "the token is accepted");
            let changed = self.items.iter().rfind(|item| item.vault == vault).unwrap();
            let old = reader.item_version(vault, changed.id, 1).await.unwrap();
            assert_eq!(old.unwrap().item().unwrap().fields[0].value, "value 149");
            let titled = reader.items_titled(&snapshot, vault, "item 3").await.unwrap();
            assert_eq!(titled.len(), 1);
            assert_eq!(
                reader.chunk(vault, content(name), 3).await.unwrap().unwrap(),
                [7; crate::CHUNK_BYTES]
            );
        }
        assert_eq!(reader.activity(&vaults, 0, 10).await.unwrap().total, 2);
        assert_eq!(reader.tokens().await.unwrap().len(), 2);
    }

    /// The ids of the data keys in the store.
    async fn key_ids(&mut self) -> BTreeSet<i64> {
        let ids = sqlx::query_scalar("SELECT key_id FROM vault_keys WHERE purpose = 'seal'")
            .fetch_all(&mut self.writer.conn)
            .await
            .unwrap();
        ids.into_iter().collect()
    }

    /// The sealed columns in which a value is sealed with one of these keys.
    async fn sealed_with(&mut self, keys: &BTreeSet<i64>) -> BTreeSet<(&'static str, &'static str)> {
        let mut found = BTreeSet::new();
        for (table, column) in sealed_columns() {
            let sql = format!("SELECT {column} FROM {table}");
            let values: Vec<Vec<u8>> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_all(&mut self.writer.conn)
                .await
                .unwrap();
            assert!(!values.is_empty(), "the test has no row of {table}");
            let is_one = |value: &Vec<u8>| keys.contains(&sealed_key_id(value).unwrap().0.cast_signed());
            if values.iter().any(is_one) {
                found.insert((table, column));
            }
        }
        found
    }
}

fn sealed_columns() -> BTreeSet<(&'static str, &'static str)> {
    let columns = |table: &&'static Table| table.sealed.iter().map(|(column, _)| (table.name, *column));
    SEALED_TABLES.iter().flat_map(columns).collect()
}

fn content(vault: &str) -> FileId {
    FileId::parse(&vault.chars().next().unwrap().to_string().repeat(26)).unwrap()
}

fn input(n: usize) -> ItemInput {
    let body = serde_json::json!({
        "title": format!("item {n}"), "category": "LOGIN",
        "fields": [{ "id": "password", "purpose": "PASSWORD", "type": "CONCEALED", "value": format!("value {n}") }],
    });
    ItemInput::from_json(body.to_string().as_bytes()).unwrap()
}

fn edit(rng: &mut rand::rngs::ThreadRng) -> Edit<'_> {
    Edit {
        now: Timestamp::now(),
        by: "TEST",
        rng,
    }
}

fn item(vault: VaultId, n: usize) -> Item {
    Item::create(input(n), vault, ItemId::random(), &mut edit(&mut rand::rng())).unwrap()
}

fn token(jti: &str) -> TokenRecord {
    TokenRecord {
        jti: jti.into(),
        name: "ci".into(),
        vaults: Default::default(),
        by_name: Default::default(),
        issued_at: Timestamp::now(),
        expires_at: None,
        revoked_at: None,
    }
}

/// Whether the bytes are in a file of the data directory.
fn is_on_disk(dir: &Path, bytes: &[u8]) -> bool {
    ["", "-wal"].iter().any(|end| {
        let file = std::fs::read(dir.join(format!("{DATABASE_FILE}{end}"))).unwrap_or_default();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn every_column_with_bytes_is_sealed_anew_or_known_not_to_be_sealed() {
    let mut store = Store::new().await;
    let rows = sqlx::query(
        "SELECT m.name AS owner, c.name AS name FROM sqlite_master m, pragma_table_info(m.name) c
         WHERE m.type = 'table' AND c.type = 'BLOB' AND m.name <> '_sqlx_migrations'",
    )
    .fetch_all(&mut store.writer.conn)
    .await
    .unwrap();
    let mut unknown = Vec::new();
    for row in &rows {
        let column = (row.get::<String, _>("owner"), row.get::<String, _>("name"));
        let known = sealed_columns()
            .into_iter()
            .chain(NOT_SEALED)
            .any(|(table, name)| (table, name) == (&*column.0, &*column.1));
        if !known {
            unknown.push(column);
        }
    }
    assert!(
        unknown.is_empty(),
        "a rotation of the data keys would forget these columns: {unknown:?}"
    );
    assert_eq!(rows.len(), sealed_columns().len() + NOT_SEALED.len());
    for table in TABLES.iter().filter(|table| !table.sealed.is_empty()) {
        assert!(SEALED_TABLES.iter().any(|sealed| sealed.name == table.name));
    }
}

#[tokio::test]
async fn after_a_rotation_nothing_of_the_old_keys_is_left() {
    let mut store = Store::new().await;
    let early = store.reader().await;
    store.assert_readable(&early).await;
    let old = store.key_ids().await;
    assert_eq!(old.len(), 3, "two vaults and the store");
    assert_eq!(store.sealed_with(&old).await, sealed_columns());
    let wrapped: Vec<Vec<u8>> = sqlx::query_scalar("SELECT wrapped FROM vault_keys WHERE purpose = 'seal'")
        .fetch_all(&mut store.writer.conn)
        .await
        .unwrap();
    assert!(store.rotate().await);
    assert!(!store.rotate().await, "no second rotation begins before the first ends");
    let mut steps = 0;
    while store.writer.reseal_some().await.unwrap() != Resealing::Idle {
        steps += 1;
        if steps % 3 == 0 {
            store.assert_readable(&early).await;
            let fresh = store.reader().await;
            store.assert_readable(&fresh).await;
            fresh.close().await;
        }
    }
    assert!(steps > 10, "the rows were sealed in {steps} steps");
    assert!(store.sealed_with(&old).await.is_empty());
    assert!(store.key_ids().await.is_disjoint(&old));
    store.assert_readable(&early).await;
    early.close().await;
    assert!(
        store
            .writer
            .wipe_deleted(std::time::Duration::from_secs(10))
            .await
            .unwrap()
    );
    // Each record begins with the id of its key: so no page has a record of an old key, not even one that is free.
    for id in &old {
        assert!(
            !is_on_disk(store.dir.path(), &id.to_be_bytes()),
            "records of an old key are left"
        );
    }
    for key in &wrapped {
        assert!(!is_on_disk(store.dir.path(), &key[9..]), "an old key is left, wrapped");
    }
    let new = store.key_ids().await;
    assert!(new.iter().all(|id| is_on_disk(store.dir.path(), &id.to_be_bytes())));
    assert!(store.rotate().await, "the next rotation may begin");
    assert_eq!(store.finish().await, Resealing::Idle);
}

#[tokio::test]
async fn a_rotation_goes_on_after_kills_at_every_step() {
    let mut store = Store::new().await;
    let old = store.key_ids().await;
    assert!(store.rotate().await);
    let mut kills = 0;
    for steps in 0.. {
        for _ in 0..steps {
            store.writer.reseal_some().await.unwrap();
        }
        store.reopen().await;
        kills += 1;
        let reader = store.reader().await;
        store.assert_readable(&reader).await;
        reader.close().await;
        if store.writer.resealing() == Resealing::Idle {
            break;
        }
    }
    println!("{kills} kills");
    assert!(store.sealed_with(&old).await.is_empty());
    assert!(store.key_ids().await.is_disjoint(&old));
}

#[tokio::test]
async fn what_is_written_in_the_meantime_has_the_new_key_even_if_the_clock_was_set_back() {
    let mut store = Store::new().await;
    sqlx::query("UPDATE vault_keys SET created_at = created_at + 86400000")
        .execute(&mut store.writer.conn)
        .await
        .unwrap();
    let old = store.key_ids().await;
    assert!(store.rotate().await);
    store.reopen().await;
    let vault = store.items[0].vault;
    for n in 2000..2020 {
        let fresh = item(vault, n);
        let mut batch = store.writer.begin().await.unwrap();
        batch.insert_item(&fresh, None).await.unwrap();
        batch.put_chunk(vault, FileId::random(), 0, b"an upload").await.unwrap();
        batch.commit().await.unwrap();
        store.items.insert(0, fresh);
        store.writer.reseal_some().await.unwrap();
    }
    assert_eq!(store.finish().await, Resealing::Idle);
    assert!(store.sealed_with(&old).await.is_empty());
    let reader = store.reader().await;
    store.assert_readable(&reader).await;
}

#[tokio::test]
async fn the_keys_of_rows_that_can_not_be_decrypted_stay_until_the_rows_are_repaired() {
    let mut store = Store::new().await;
    let old = store.key_ids().await;
    let damage = "UPDATE items SET created_at = created_at + $1 WHERE title_hash =
        (SELECT title_hash FROM items ORDER BY vault_id, id LIMIT 1)";
    sqlx::query(damage)
        .bind(1_i64)
        .execute(&mut store.writer.conn)
        .await
        .unwrap();
    assert!(store.rotate().await);
    assert_eq!(store.finish().await, Resealing::Damaged { rows: 2 }, "its two columns");
    assert!(store.key_ids().await.is_superset(&old));
    sqlx::query(damage)
        .bind(-1_i64)
        .execute(&mut store.writer.conn)
        .await
        .unwrap();
    assert!(store.rotate().await);
    assert_eq!(store.finish().await, Resealing::Idle);
    assert!(store.key_ids().await.is_disjoint(&old));
    let reader = store.reader().await;
    store.assert_readable(&reader).await;
}

fn request(vault: VaultId) -> ApiRequest {
    ApiRequest {
        request_id: "r".into(),
        timestamp: Timestamp::now(),
        action: Action::Read,
        result: ActivityOutcome::Success,
        actor: Actor::default(),
        resource: Resource {
            resource_type: ResourceType::Vault,
            vault: VaultRef { id: vault },
            item: None,
            item_version: None,
        },
    }
}
