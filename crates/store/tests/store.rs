//! The store as sync and the api use it: one writer, and readers that see every commit at their next call.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use sidevault_keys::Credentials;
use sidevault_model::activity::{Action, ActivityOutcome, Actor, Resource, ResourceType, VaultRef};
use sidevault_model::{ApiRequest, Edit, File, FileId, Item, ItemId, ItemInput, State, Timestamp, VaultId};
use sidevault_store::{
    DATABASE_FILE, Database, LOCAL_SOURCE, Origin, Reader, ReaderOptions, StoreError, Summary, TokenRecord, VaultInfo,
    Writer, WriterOptions,
};
use sqlx::{ConnectOptions, Connection};
use tokio::task::JoinSet;

fn directory(path: &Path) -> Database {
    Database::Sqlite(path.to_owned())
}

struct TestStore {
    dir: tempfile::TempDir,
    keys: Credentials,
    writer: Writer,
    vault: VaultId,
}

impl TestStore {
    async fn new() -> Self {
        Self::with(WriterOptions::default()).await
    }

    async fn with(options: WriterOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (keys, _) = Credentials::generate();
        let writer = Writer::open(&directory(dir.path()), keys.kek(), options).await.unwrap();
        let vault = keys.id_key().vault("apps");
        let mut store = Self {
            dir,
            keys,
            writer,
            vault,
        };
        store.create_vault("apps").await;
        store
    }

    /// Closes the writer, as a sync that ends does, and opens another one.
    async fn reopened(self, options: WriterOptions) -> Self {
        self.writer.close().await.unwrap();
        Self {
            writer: Writer::open(&directory(self.dir.path()), self.keys.kek(), options)
                .await
                .unwrap(),
            ..self
        }
    }

    async fn create_vault(&mut self, name: &str) -> VaultId {
        let info = VaultInfo {
            id: self.keys.id_key().vault(name),
            name: name.into(),
            source: LOCAL_SOURCE.into(),
        };
        let id = info.id;
        let mut batch = self.writer.begin().await.unwrap();
        batch.create_vault(info, None, Timestamp::now()).await.unwrap();
        batch.commit().await.unwrap();
        id
    }

    async fn reader(&self) -> Reader {
        Reader::open(&directory(self.dir.path()), self.keys.kek(), ReaderOptions::default())
            .await
            .unwrap()
    }

    async fn create(&mut self, title: &str) -> Item {
        let item = item(self.vault, title, "v1");
        let mut batch = self.writer.begin().await.unwrap();
        batch.insert_item(&item, None).await.unwrap();
        batch.commit().await.unwrap();
        item
    }

    async fn replace(&mut self, old: &Item, title: &str, value: &str) -> Item {
        let new = old.replace(input(title, value), &mut edit(&mut rand::rng())).unwrap();
        let mut batch = self.writer.begin().await.unwrap();
        batch.update_item(old, &new).await.unwrap();
        batch.commit().await.unwrap();
        new
    }

    async fn sql(&self, sql: &'static str) {
        run_sql(self.dir.path(), sql).await;
    }
}

async fn run_sql(dir: &Path, sql: &'static str) {
    let mut conn = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.join(DATABASE_FILE))
        .connect()
        .await
        .unwrap();
    sqlx::query(sql).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// The origin of an item of a directory source.
const FROM_FILE: Origin<'_> = Origin {
    file: "file",
    path: "apps/plex/db",
};

fn input(title: &str, value: &str) -> ItemInput {
    let body = serde_json::json!({
        "title": title, "category": "LOGIN",
        "fields": [{ "id": "password", "purpose": "PASSWORD", "type": "CONCEALED", "value": value }],
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

fn item(vault: VaultId, title: &str, value: &str) -> Item {
    Item::create(
        input(title, value),
        vault,
        ItemId::random(),
        &mut edit(&mut rand::rng()),
    )
    .unwrap()
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

async fn value(reader: &Reader, item: &Item) -> Option<String> {
    let snapshot = reader.snapshot().await.unwrap();
    let found = reader.item(&snapshot, item.vault, item.id).await.unwrap()?;
    Some(Item::from_json(found.json()).unwrap().fields[0].value.clone())
}

async fn titled(reader: &Reader, vault: VaultId, title: &str) -> usize {
    let snapshot = reader.snapshot().await.unwrap();
    reader.items_titled(&snapshot, vault, title).await.unwrap().len()
}

#[tokio::test]
async fn an_older_version_reads_after_a_change_that_only_adds_and_does_not_write() {
    let mut store = TestStore::new().await;
    let item = store.create("one").await;
    let reader = store.reader().await;
    store
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (900, 'expand notes', 1, x'', 0)",
        )
        .await;
    assert_eq!(value(&reader, &item).await.as_deref(), Some("v1"));
    assert_eq!(value(&store.reader().await, &item).await.as_deref(), Some("v1"));
    let TestStore { dir, keys, writer, .. } = store;
    writer.close().await.unwrap();
    let database = directory(dir.path());
    let refused = Writer::open(&database, keys.kek(), WriterOptions::default()).await;
    assert!(matches!(refused, Err(StoreError::Newer(said)) if said == "migration 900"));
    run_sql(
        dir.path(),
        "UPDATE _sqlx_migrations SET description = 'notes' WHERE version = 900",
    )
    .await;
    let refused = Reader::open(&database, keys.kek(), ReaderOptions::default()).await;
    assert!(matches!(refused, Err(StoreError::Newer(said)) if said == "migration 900"));
}

#[tokio::test]
async fn a_reader_sees_every_commit_at_its_next_call() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    let mut item = store.create("a").await;
    for n in 0..50 {
        let text = format!("v{n}");
        item = store.replace(&item, "a", &text).await;
        // Twice: from the database, and from the cache.
        assert_eq!(value(&reader, &item).await.as_deref(), Some(&*text));
        assert_eq!(value(&reader, &item).await.as_deref(), Some(&*text));
    }
    let mut batch = store.writer.begin().await.unwrap();
    batch.delete_item(&item).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(value(&reader, &item).await, None);
}

#[tokio::test]
async fn titles_are_found_in_any_case_and_exact_hits_win() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    assert_eq!(titled(&reader, store.vault, "Döner").await, 0);
    let item = store.create("Döner").await;
    assert_eq!(titled(&reader, store.vault, "dÖNER").await, 1);
    assert_eq!(
        titled(&reader, store.vault, "Do\u{308}ner").await,
        1,
        "the title is composed differently"
    );
    store.create("döner").await;
    assert_eq!(titled(&reader, store.vault, "Döner").await, 1);
    assert_eq!(titled(&reader, store.vault, "DÖNER").await, 2);
    store.replace(&item, "kebab", "x").await;
    assert_eq!(titled(&reader, store.vault, "Döner").await, 1);
    assert_eq!(titled(&reader, store.vault, "kebab").await, 1);
}

#[tokio::test]
async fn history_is_bounded() {
    let mut store = TestStore::with(WriterOptions {
        history: 3,
        ..WriterOptions::default()
    })
    .await;
    let reader = store.reader().await;
    let mut item = store.create("a").await;
    for n in 2..=6 {
        item = store.replace(&item, "a", &format!("v{n}")).await;
    }
    let versions: Vec<u32> = reader
        .versions(item.vault, item.id)
        .await
        .unwrap()
        .iter()
        .map(|version| version.version)
        .collect();
    assert_eq!(versions, [6, 5, 4]);
    let old = reader.item_version(item.vault, item.id, 4).await.unwrap().unwrap();
    assert_eq!(Item::from_json(old.json()).unwrap().fields[0].value, "v4");
    assert!(reader.item_version(item.vault, item.id, 3).await.unwrap().is_none());
}

#[tokio::test]
async fn keys_rotate_while_readers_read() {
    let mut store = TestStore::with(WriterOptions {
        seals_per_key: 4,
        ..WriterOptions::default()
    })
    .await;
    let reader = store.reader().await;
    let mut items = Vec::new();
    for n in 0..20 {
        items.push(store.create(&format!("item {n}")).await);
        assert_eq!(value(&reader, &items[n]).await.as_deref(), Some("v1"));
    }
    let fresh = store.reader().await;
    for item in &items {
        assert_eq!(value(&fresh, item).await.as_deref(), Some("v1"));
        assert_eq!(titled(&fresh, store.vault, &item.title).await, 1);
    }
}

#[tokio::test]
async fn swapped_rows_are_refused() {
    let mut store = TestStore::new().await;
    let (a, b) = (store.create("a").await, store.create("b").await);
    store.sql("CREATE TABLE kept AS SELECT id, detail FROM items").await;
    store
        .sql("UPDATE items SET detail = (SELECT detail FROM kept WHERE kept.id <> items.id)")
        .await;
    let reader = store.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    for item in [a, b] {
        let read = reader.item(&snapshot, item.vault, item.id).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })));
    }
}

#[tokio::test]
async fn old_content_in_the_present_row_is_refused() {
    let mut store = TestStore::new().await;
    let item = store.create("a").await;
    let item = store.replace(&item, "a", "v2").await;
    store
        .sql("UPDATE items SET detail = (SELECT detail FROM item_versions)")
        .await;
    let reader = store.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    assert!(matches!(
        reader.item(&snapshot, item.vault, item.id).await,
        Err(StoreError::Corrupt { .. })
    ));
}

fn is_refused<T>(read: Result<T, StoreError>) -> bool {
    matches!(read, Err(StoreError::Corrupt { .. }))
}

/// All columns are those of the history's row. Only the seal shows that it is an old version.
#[tokio::test]
async fn an_old_row_in_place_of_the_present_one_is_refused() {
    let mut store = TestStore::new().await;
    let item = store.create("a").await;
    let item = store.replace(&item, "a", "v2").await;
    store
        .sql(
            "UPDATE items SET (version, updated_at, detail) =
             (SELECT version, updated_at, detail FROM item_versions)",
        )
        .await;
    let reader = store.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    assert!(is_refused(reader.item(&snapshot, item.vault, item.id).await));
    let mut batch = store.writer.begin().await.unwrap();
    assert!(is_refused(batch.item(item.vault, item.id).await));
}

#[tokio::test]
async fn a_swapped_title_hash_is_refused() {
    let mut store = TestStore::new().await;
    store.create("prod-db").await;
    store.create("other").await;
    store.sql("CREATE TABLE kept AS SELECT id, title_hash FROM items").await;
    store
        .sql("UPDATE items SET title_hash = (SELECT title_hash FROM kept WHERE kept.id <> items.id)")
        .await;
    let reader = store.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    assert!(is_refused(reader.items_titled(&snapshot, store.vault, "prod-db").await));
    assert!(is_refused(reader.summaries(store.vault, None, 10).await));
}

/// A store with a vault `apps` of the directory source `tree`, and an item whose file has this path.
async fn store_with_file(path: &str) -> (TestStore, Item) {
    let mut store = TestStore::new().await;
    let mut batch = store.writer.begin().await.unwrap();
    let vault = store.keys.id_key().vault("Media");
    let info = VaultInfo {
        id: vault,
        name: "Media".into(),
        source: "tree".into(),
    };
    batch.create_vault(info, None, Timestamp::now()).await.unwrap();
    let made = item(vault, "db", "v1");
    batch
        .insert_item(&made, Some(Origin { file: "file", path }))
        .await
        .unwrap();
    batch.commit().await.unwrap();
    store.vault = vault;
    (store, made)
}

async fn titles_named(reader: &Reader, vault: VaultId, name: &str) -> Vec<String> {
    let snapshot = reader.snapshot().await.unwrap();
    let found = reader.items_named(&snapshot, vault, name).await.unwrap();
    let title = |summary: &Summary| {
        let json: serde_json::Value = serde_json::from_slice(&summary.json).unwrap();
        json["title"].as_str().unwrap().to_owned()
    };
    found.iter().map(title).collect()
}

#[tokio::test]
async fn an_item_is_found_by_the_path_of_its_file_until_it_is_deleted() {
    let (mut store, made) = store_with_file("media/plex/db").await;
    let reader = store.reader().await;
    let names = [
        "db",
        "media/plex/db",
        "Media/plex/db.sops.yaml",
        "plex/DB.yaml",
        "./media/plex/db",
    ];
    for name in names {
        assert_eq!(titles_named(&reader, store.vault, name).await, ["db"], "{name}");
    }
    for name in ["plex", "plex/d", "x/plex/db", "db.yaml", "media/plex/db.txt", ""] {
        assert!(titles_named(&reader, store.vault, name).await.is_empty(), "{name}");
    }
    let changed = store.replace(&made, "other", "v2").await;
    assert!(titles_named(&reader, store.vault, "db").await.is_empty());
    assert_eq!(titles_named(&reader, store.vault, "plex/db").await, ["other"]);
    // The title of one item and the path of another: no client gets one of them by chance.
    let twin = store.create("plex/db").await;
    assert_eq!(titles_named(&reader, store.vault, "plex/db").await.len(), 2);
    let mut batch = store.writer.begin().await.unwrap();
    batch.delete_item(&changed).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(titles_named(&reader, store.vault, "plex/db").await, [twin.title]);
    assert!(titles_named(&reader, store.vault, "media/plex/db").await.is_empty());
}

#[tokio::test]
async fn an_altered_path_hash_is_refused() {
    for sql in [
        "UPDATE items SET path_hash = NULL",
        "UPDATE items SET path_hash = randomblob(32)",
        "UPDATE items SET path_hash = x'00'",
    ] {
        let (store, _) = store_with_file("media/plex/db").await;
        store.sql(sql).await;
        let reader = store.reader().await;
        let snapshot = reader.snapshot().await.unwrap();
        assert!(
            is_refused(reader.items_named(&snapshot, store.vault, "db").await),
            "{sql}"
        );
        assert!(is_refused(reader.summaries(store.vault, None, 10).await), "{sql}");
    }
}

#[tokio::test]
async fn an_altered_state_or_order_is_refused_by_lists() {
    let mut store = TestStore::new().await;
    store.create("prod-db").await;
    for sql in [
        "UPDATE items SET state = 'ARCHIVED'",
        "UPDATE items SET state = NULL, created_at = created_at + 1",
    ] {
        store.sql(sql).await;
        let reader = store.reader().await;
        let snapshot = reader.snapshot().await.unwrap();
        assert!(is_refused(reader.items_titled(&snapshot, store.vault, "prod-db").await));
        assert!(is_refused(reader.summaries(store.vault, None, 10).await));
    }
}

#[tokio::test]
async fn an_altered_creation_time_is_refused_by_reads_and_writes() {
    let mut store = TestStore::new().await;
    let item = store.create("a").await;
    let reader = store.reader().await;
    store.sql("UPDATE items SET created_at = created_at - 1").await;
    let fresh = store.reader().await;
    let snapshot = fresh.snapshot().await.unwrap();
    assert!(is_refused(fresh.item(&snapshot, item.vault, item.id).await));
    assert!(is_refused(reader.item_version(item.vault, item.id, 1).await));
    let mut batch = store.writer.begin().await.unwrap();
    assert!(is_refused(batch.item(item.vault, item.id).await));
}

#[tokio::test]
async fn an_archived_item_is_in_no_list_but_found_by_id() {
    let mut store = TestStore::new().await;
    let item = store.create("old").await;
    let mut archived = item.clone();
    archived.version += 1;
    archived.state = Some(State::Archived);
    let mut batch = store.writer.begin().await.unwrap();
    batch.update_item(&item, &archived).await.unwrap();
    batch.commit().await.unwrap();
    let reader = store.reader().await;
    assert_eq!(titled(&reader, store.vault, "old").await, 0);
    let (page, more) = reader.summaries(store.vault, None, 10).await.unwrap();
    assert!(page.is_empty() && more.is_none());
    assert!(value(&reader, &item).await.is_some());
}

#[tokio::test]
async fn swapped_file_contents_are_refused() {
    let mut store = TestStore::new().await;
    let (first, second) = (store.create("a").await, store.create("b").await);
    let first = store.attach(&first, FileId::random(), 1).await;
    store.attach(&second, FileId::random(), 2).await;
    store.sql("CREATE TABLE kept AS SELECT id, content_id FROM files").await;
    store
        .sql("UPDATE files SET content_id = (SELECT content_id FROM kept WHERE kept.id <> files.id)")
        .await;
    let reader = store.reader().await;
    let content = content_of(&reader, &first).await;
    assert_eq!(reader.chunk(store.vault, content, 0).await.unwrap().unwrap(), [1; 10]);
    // Swapped chunks are refused, too.
    store.sql("CREATE TABLE chunks AS SELECT * FROM file_chunks").await;
    store
        .sql(
            "UPDATE file_chunks SET sealed = (SELECT sealed FROM chunks
             WHERE chunks.content_id <> file_chunks.content_id AND chunks.n = file_chunks.n)",
        )
        .await;
    assert!(is_refused(reader.chunk(store.vault, content, 0).await));
}

#[tokio::test]
async fn a_token_whose_revocation_was_erased_is_refused() {
    let mut store = TestStore::new().await;
    let mut batch = store.writer.begin().await.unwrap();
    batch.register_token(&token("thief")).await.unwrap();
    batch.register_token(&token("honest")).await.unwrap();
    batch.revoke_token("thief", None, Timestamp::now()).await.unwrap();
    batch.revoke_token("unseen", None, Timestamp::now()).await.unwrap();
    batch.commit().await.unwrap();
    store.sql("UPDATE tokens SET revoked_at = NULL").await;
    let reader = store.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    assert!(snapshot.is_revoked("thief") && snapshot.is_revoked("unseen") && !snapshot.is_revoked("honest"));
    // Another revocation replaces the altered row.
    let mut batch = store.writer.begin().await.unwrap();
    batch.revoke_token("thief", None, Timestamp::now()).await.unwrap();
    batch.revoke_token("unseen", None, Timestamp::now()).await.unwrap();
    batch.commit().await.unwrap();
    assert!(reader.snapshot().await.unwrap().is_revoked("thief"));
    assert!(
        reader
            .tokens()
            .await
            .unwrap()
            .iter()
            .all(|token| token.jti == "honest" || token.revoked_at.is_some())
    );
}

#[tokio::test]
async fn old_versions_read_as_they_were_written() {
    let mut store = TestStore::new().await;
    let first = store.create("a").await;
    let second = store.replace(&first, "b", "v2").await;
    let reader = store.reader().await;
    for (item, value) in [(&first, "v1"), (&second, "v2")] {
        let found = reader
            .item_version(item.vault, item.id, item.version)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.json(), item.full_json());
        assert_eq!(found.item().unwrap().fields[0].value, value);
        let mut batch = store.writer.begin().await.unwrap();
        let found = batch
            .item_version(item.vault, item.id, item.version)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.fields[0].value, value);
    }
}

#[tokio::test]
async fn a_dropped_batch_changes_nothing() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    let lost = item(store.vault, "lost", "x");
    let other = VaultId::random();
    let mut batch = store.writer.begin().await.unwrap();
    batch.insert_item(&lost, None).await.unwrap();
    let info = VaultInfo {
        id: other,
        name: "other".into(),
        source: LOCAL_SOURCE.into(),
    };
    batch.create_vault(info, None, Timestamp::now()).await.unwrap();
    drop(batch);
    assert_eq!(value(&reader, &lost).await, None);
    let batch = store.writer.begin().await.unwrap();
    assert!(batch.vault(other).is_none());
    drop(batch);
    store.create("next").await;
    assert_eq!(titled(&reader, store.vault, "next").await, 1);
}

#[tokio::test]
async fn counts_and_versions_of_a_vault_follow_its_items() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    let state = async || {
        let snapshot = reader.snapshot().await.unwrap();
        let vault = &snapshot.vault(store.keys.id_key().vault("apps")).unwrap().vault;
        (vault.items, vault.content_version)
    };
    let before = state().await;
    let item = item(store.vault, "a", "v");
    let mut batch = store.writer.begin().await.unwrap();
    batch.insert_item(&item, None).await.unwrap();
    batch.commit().await.unwrap();
    let with = state().await;
    assert_eq!((with.0, with.1 > before.1), (before.0 + 1, true));
    let mut batch = store.writer.begin().await.unwrap();
    batch.delete_item(&item).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(state().await.0, before.0);
}

#[tokio::test]
async fn a_second_writer_and_other_keys_are_refused() {
    let store = TestStore::new().await;
    let second = Writer::open(&directory(store.dir.path()), store.keys.kek(), WriterOptions::default()).await;
    assert!(matches!(second, Err(StoreError::Locked(_))));
    let (stranger, _) = Credentials::generate();
    let wrong = Reader::open(&directory(store.dir.path()), stranger.kek(), ReaderOptions::default()).await;
    assert!(matches!(wrong, Err(StoreError::WrongKeys(_))));
    let missing = Reader::open(
        &directory(Path::new("/nonexistent")),
        stranger.kek(),
        ReaderOptions::default(),
    )
    .await;
    assert!(matches!(missing, Err(StoreError::Missing(_))));
}

#[tokio::test]
async fn changes_are_numbered_without_gaps() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    let start = reader.snapshot().await.unwrap().sequence();
    let item = store.create("a").await;
    store.replace(&item, "b", "v2").await;
    let changes = reader.changes(start, i64::MAX, None, 10).await.unwrap().unwrap();
    let seen: Vec<_> = changes
        .iter()
        .map(|change| (change.seq - start, change.kind.as_str(), change.version))
        .collect();
    assert_eq!(seen, [(1, "item.created", 1), (2, "item.updated", 2)]);
    assert_eq!(
        reader
            .changes(start + 1, i64::MAX, None, 10)
            .await
            .unwrap()
            .unwrap()
            .len(),
        1
    );
    store.sql("DELETE FROM changes").await;
    store.create("c").await;
    assert!(
        reader.changes(0, i64::MAX, None, 10).await.unwrap().is_none(),
        "that number is not kept"
    );
    assert_eq!(
        titled(&reader, store.vault, "c").await,
        1,
        "a reader that missed changes reads everything again"
    );
}

#[tokio::test]
async fn known_and_unknown_tokens_can_be_revoked() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    let record = token("known");
    let mut batch = store.writer.begin().await.unwrap();
    batch.register_token(&record).await.unwrap();
    batch.commit().await.unwrap();
    assert!(!reader.snapshot().await.unwrap().is_revoked("known"));
    let mut batch = store.writer.begin().await.unwrap();
    batch.revoke_token("known", None, Timestamp::now()).await.unwrap();
    batch.revoke_token("unknown", None, Timestamp::now()).await.unwrap();
    // Registering a revoked token again does not make it good.
    batch.register_token(&record).await.unwrap();
    batch.commit().await.unwrap();
    let snapshot = reader.snapshot().await.unwrap();
    assert!(snapshot.is_revoked("known") && snapshot.is_revoked("unknown"));
    let tokens = reader.tokens().await.unwrap();
    assert!(
        tokens
            .iter()
            .any(|token| token.name == "ci" && token.revoked_at.is_some())
    );
}

impl TestStore {
    /// Gives an item's only file a content of three chunks, each full of `byte`.
    async fn attach(&mut self, old: &Item, file: FileId, byte: u8) -> Item {
        let content = FileId::random();
        let mut new = old.clone();
        new.version += 1;
        new.files = vec![File::new(old.vault, old.id, file, "a.bin", 30).with_content(content)];
        let mut batch = self.writer.begin().await.unwrap();
        for n in 0..3 {
            batch.put_chunk(old.vault, content, n, &[byte; 10]).await.unwrap();
        }
        batch.update_item(old, &new).await.unwrap();
        batch.commit().await.unwrap();
        new
    }
}

/// The content of an item's only file.
async fn content_of(reader: &Reader, item: &Item) -> FileId {
    let snapshot = reader.snapshot().await.unwrap();
    let found = reader.item(&snapshot, item.vault, item.id).await.unwrap().unwrap();
    found.item().unwrap().files[0].content.unwrap()
}

#[tokio::test]
async fn file_contents_come_back_chunk_by_chunk() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    let item = store.create("doc").await;
    let item = store.attach(&item, FileId::random(), 7).await;
    let content = content_of(&reader, &item).await;
    assert_eq!(reader.chunk(store.vault, content, 2).await.unwrap().unwrap(), [7; 10]);
    assert!(reader.chunk(store.vault, content, 3).await.unwrap().is_none());
    let mut batch = store.writer.begin().await.unwrap();
    batch.delete_item(&item).await.unwrap();
    batch.commit().await.unwrap();
    assert!(reader.chunk(store.vault, content, 0).await.unwrap().is_none());
}

#[tokio::test]
async fn a_reader_never_gets_chunks_of_another_version_of_a_file() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    let item = store.create("doc").await;
    let file = FileId::random();
    let item = store.attach(&item, file, 1).await;
    // A reader has read the item, and reads the content only after the file was replaced.
    let slow = content_of(&reader, &item).await;
    let item = store.attach(&item, file, 2).await;
    assert!(reader.chunk(store.vault, slow, 0).await.unwrap().is_none());
    let now = content_of(&reader, &item).await;
    assert_eq!(reader.chunk(store.vault, now, 0).await.unwrap().unwrap(), [2; 10]);
    // A change of the rest of the item keeps the content.
    let item = store.replace(&item, "doc", "v2").await;
    assert_eq!(content_of(&reader, &item).await, now);
    assert!(reader.chunk(store.vault, now, 2).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_cache_misses_each_get_their_own_rows() {
    let mut store = TestStore::new().await;
    let items: Vec<Item> = (0..100)
        .map(|n| item(store.vault, &format!("title {n}"), &format!("value {n}")))
        .collect();
    let mut batch = store.writer.begin().await.unwrap();
    for item in &items {
        batch.insert_item(item, None).await.unwrap();
    }
    batch.commit().await.unwrap();
    let reader = Arc::new(store.reader().await);
    let mut reads = JoinSet::new();
    for (n, item) in items.iter().enumerate() {
        for given_up in [true, false] {
            let (reader, item) = (reader.clone(), item.clone());
            let read = reads.spawn(async move {
                assert_eq!(value(&reader, &item).await, Some(format!("value {n}")));
                let snapshot = reader.snapshot().await.unwrap();
                let found = reader.items_titled(&snapshot, item.vault, &item.title).await.unwrap();
                assert_eq!(found.iter().map(|hit| hit.id).collect::<Vec<_>>(), [item.id]);
            });
            if given_up {
                tokio::task::yield_now().await;
                read.abort();
            }
        }
    }
    let mut done = 0;
    while let Some(read) = reads.join_next().await {
        done += match read {
            Ok(()) => 1,
            Err(error) if error.is_cancelled() => 0,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
    }
    assert!(done >= items.len());
    let snapshot = reader.snapshot().await.unwrap();
    assert!(
        reader
            .item(&snapshot, store.vault, ItemId::random())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_batch_finds_items_that_it_has_inserted() {
    let mut store = TestStore::new().await;
    let (first, second) = (item(store.vault, "first", "v1"), item(store.vault, "second", "v1"));
    let mut batch = store.writer.begin().await.unwrap();
    batch.insert_item(&first, Some(FROM_FILE)).await.unwrap();
    batch.insert_item(&second, None).await.unwrap();
    assert_eq!(
        batch.items_of(store.vault, &["file".to_owned()]).await.unwrap(),
        [(first.id, "file".to_owned())]
    );
    let found = batch.item(store.vault, second.id).await.unwrap().unwrap();
    assert_eq!(found.title, "second");
    let third = item(store.vault, "third", "v1");
    batch.insert_item(&third, None).await.unwrap();
    assert_eq!(batch.origins(store.vault).await.unwrap().len(), 3);
    let fourth = item(store.vault, "fourth", "v1");
    batch.insert_item(&fourth, None).await.unwrap();
    assert!(batch.item(store.vault, fourth.id).await.unwrap().is_some());
    let fifth = item(store.vault, "fifth", "v1");
    batch.insert_item(&fifth, None).await.unwrap();
    batch.delete_item(&fifth).await.unwrap();
    batch.commit().await.unwrap();
    let reader = store.reader().await;
    assert_eq!(
        reader.snapshot().await.unwrap().vault(store.vault).unwrap().vault.items,
        4
    );
    assert_eq!(value(&reader, &fifth).await, None);
    assert_eq!(value(&reader, &third).await.as_deref(), Some("v1"));
}

/// The record of a token's read of the vault.
fn request(vault: VaultId, jti: &str, number: i64) -> ApiRequest {
    ApiRequest {
        request_id: number.to_string(),
        timestamp: Timestamp::from_millis(number),
        action: Action::Read,
        result: ActivityOutcome::Success,
        actor: Actor {
            jti: jti.to_owned(),
            user_agent: "u".repeat(256),
            ..Actor::default()
        },
        resource: Resource {
            resource_type: ResourceType::Vault,
            vault: VaultRef { id: vault },
            item: None,
            item_version: None,
        },
    }
}

impl TestStore {
    async fn record(&mut self, requests: &[ApiRequest]) {
        let mut batch = self.writer.begin().await.unwrap();
        batch.add_activity(requests).await.unwrap();
        batch.commit().await.unwrap();
    }

    async fn bytes_of_activity(&self) -> u64 {
        let path = self.dir.path().join(DATABASE_FILE);
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut conn = options.connect().await.unwrap();
        let bytes: i64 = sqlx::query_scalar("SELECT SUM(LENGTH(sealed)) FROM activity")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        conn.close().await.unwrap();
        bytes.unsigned_abs()
    }
}

#[tokio::test]
async fn the_activity_log_is_bounded_and_fair_to_quiet_tokens() {
    const ROOM: u64 = 256 << 10;
    let options = WriterOptions {
        activity_bytes: ROOM,
        ..WriterOptions::default()
    };
    let mut store = TestStore::with(options.clone()).await;
    let other = store.create_vault("other").await;
    let quiet: Vec<_> = (0..3).map(|n| request(store.vault, "quiet", n)).collect();
    store.record(&quiet).await;
    let mut shared = request(store.vault, "flood", 3);
    shared.action = Action::Update;
    store.record(&[shared]).await;
    for round in 0..20 {
        let flood: Vec<_> = (0..256)
            .map(|n| {
                request(
                    if n % 2 == 0 { other } else { store.vault },
                    "flood",
                    4 + round * 256 + n,
                )
            })
            .collect();
        store.record(&flood).await;
    }
    assert!(store.bytes_of_activity().await <= ROOM);
    let reader = store.reader().await;
    let kept = reader.activity(&[store.vault], 0, 10_000).await.unwrap();
    let of = |jti: &str, action| {
        let found = kept
            .records
            .iter()
            .filter(|record| record.actor.jti == jti && record.action == action);
        found.count()
    };
    assert_eq!(of("quiet", Action::Read), 3);
    assert_eq!(of("flood", Action::Update), 1, "reads pushed out a write");
    assert!(of("flood", Action::Read) > 100);
    assert_eq!(kept.total, kept.records.len() as u64);
    // Records of all tokens are in one order, newest first, and a page is a part of it.
    let number = |record: &ApiRequest| -record.request_id.parse::<i64>().unwrap();
    assert!(kept.records.is_sorted_by_key(number));
    let page = reader.activity(&[store.vault], 5, 7).await.unwrap();
    assert_eq!(page.records, kept.records[5..12]);

    // A new writer counts the bytes of the log again, and a deleted vault frees its room.
    let mut store = store.reopened(options).await;
    let vault = store.vault;
    store.record(&[request(vault, "late", 9_999)]).await;
    assert!(store.bytes_of_activity().await <= ROOM);
    let mut batch = store.writer.begin().await.unwrap();
    batch.delete_vault(other).await.unwrap();
    batch.commit().await.unwrap();
    let before = store.bytes_of_activity().await;
    store.record(&[request(vault, "late", 10_000)]).await;
    assert!(
        store.bytes_of_activity().await > before,
        "records were deleted although there was room"
    );
}

#[tokio::test]
async fn records_of_one_second_keep_their_order() {
    let mut store = TestStore::new().await;
    let mixed: Vec<_> = (0..10)
        .map(|n| request(store.vault, if n % 2 == 0 { "even" } else { "odd" }, n))
        .collect();
    store.record(&mixed).await;
    let page = store.reader().await.activity(&[store.vault], 0, 100).await.unwrap();
    let numbers: Vec<_> = page.records.iter().map(|record| record.request_id.as_str()).collect();
    assert_eq!(numbers, ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
}

#[tokio::test]
async fn changes_of_some_vaults_after_a_known_number() {
    let mut store = TestStore::new().await;
    let other = store.create_vault("other").await;
    let reader = store.reader().await;
    let start = reader.snapshot().await.unwrap().sequence();
    let mut batch = store.writer.begin().await.unwrap();
    for n in 0..100 {
        batch
            .insert_item(&item(other, &n.to_string(), "v"), None)
            .await
            .unwrap();
    }
    batch.insert_item(&item(store.vault, "mine", "v"), None).await.unwrap();
    let newest = batch.commit().await.unwrap();
    let mine = [store.vault];
    // The first page has the change, however many changes of other vaults come before it.
    let page = reader.changes(start, newest, Some(&mine), 10).await.unwrap().unwrap();
    assert_eq!(page.iter().map(|change| change.seq).collect::<Vec<_>>(), [newest]);
    assert!(
        reader
            .changes(start, newest, Some(&[]), 10)
            .await
            .unwrap()
            .unwrap()
            .is_empty()
    );
    assert!(
        reader
            .changes(start, newest - 1, Some(&mine), 10)
            .await
            .unwrap()
            .unwrap()
            .is_empty()
    );
    // A restored store that continues at a higher number: it lacks changes that the client has received.
    store
        .sql("UPDATE changes SET seq = seq + 1000 WHERE seq > (SELECT MAX(seq) - 50 FROM changes)")
        .await;
    assert!(
        reader
            .changes(newest, newest + 1000, Some(&mine), 10)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        reader
            .changes(newest - 50, newest + 1000, Some(&mine), 10)
            .await
            .unwrap()
            .is_some()
    );
}

/// While a store is in use, its newest content is in the write-ahead log.
#[tokio::test]
async fn a_copy_without_its_log_is_refused_and_stays_as_it_is() {
    let store = TestStore::new().await;
    let copy = tempfile::tempdir().unwrap();
    let database = copy.path().join(DATABASE_FILE);
    std::fs::copy(store.dir.path().join(DATABASE_FILE), &database).unwrap();
    let before = std::fs::read(&database).unwrap();
    let read = Reader::open(&directory(copy.path()), store.keys.kek(), ReaderOptions::default()).await;
    assert!(matches!(&read, Err(StoreError::Empty(_))));
    let error = read.err().unwrap().to_string();
    assert!(error.contains("1password.sqlite-wal is missing"), "{error}");
    let written = Writer::open(&directory(copy.path()), store.keys.kek(), WriterOptions::default()).await;
    assert!(matches!(written, Err(StoreError::Empty(_))));
    assert_eq!(std::fs::read(&database).unwrap(), before);

    // A writer that was killed while it created the store leaves the same file, and `-unfinished` beside it.
    std::fs::write(copy.path().join(format!("{DATABASE_FILE}-unfinished")), "").unwrap();
    let writer = Writer::open(&directory(copy.path()), store.keys.kek(), WriterOptions::default())
        .await
        .unwrap();
    writer.close().await.unwrap();
    let reader = Reader::open(&directory(copy.path()), store.keys.kek(), ReaderOptions::default())
        .await
        .unwrap();
    assert_eq!(reader.snapshot().await.unwrap().vaults().count(), 0);
    assert_eq!(
        std::fs::read_dir(copy.path())
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .contains("unfinished")
            })
            .count(),
        0
    );
}

#[tokio::test]
async fn changes_can_be_resumed_after_a_restart_of_the_writer() {
    let mut store = TestStore::new().await;
    let item = store.create("a").await;
    let reader = store.reader().await;
    let before = reader.snapshot().await.unwrap().sequence();
    let mut store = store.reopened(WriterOptions::default()).await;
    // The writer deletes old changes once in a thousand changes.
    let mut batch = store.writer.begin().await.unwrap();
    for n in 0..1100 {
        let new = self::item(store.vault, &n.to_string(), "v");
        batch.insert_item(&new, None).await.unwrap();
    }
    batch.commit().await.unwrap();
    store.replace(&item, "b", "v2").await;
    let resumed = reader
        .changes(before, i64::MAX, None, 2000)
        .await
        .unwrap()
        .expect("the number is kept");
    assert_eq!(resumed.len(), 1102, "one opening, 1,100 new items, one update");
    assert!(
        reader.changes(before + 1, i64::MAX, None, 1).await.unwrap().is_none(),
        "no change ever had this number"
    );
}

#[tokio::test]
async fn reads_go_on_after_a_store_with_other_keys_was_copied_over() {
    let mut store = TestStore::new().await;
    let item = store.create("a").await;
    let reader = store.reader().await;
    let stranger = TestStore::new().await;
    stranger.writer.close().await.unwrap();
    let file = |dir: &Path, suffix: &str| dir.join(format!("{DATABASE_FILE}{suffix}"));
    std::fs::copy(file(stranger.dir.path(), ""), file(store.dir.path(), ".new")).unwrap();
    std::fs::rename(file(store.dir.path(), ".new"), file(store.dir.path(), "")).unwrap();
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(file(store.dir.path(), suffix)).unwrap();
    }
    reader.catch_up().await.unwrap();
    assert_eq!(
        value(&reader, &item).await.as_deref(),
        Some("v1"),
        "no writer has opened the copied store yet"
    );
    std::fs::write(file(store.dir.path(), "-shm"), "").unwrap();
    let result = reader.catch_up().await;
    assert!(matches!(result, Err(StoreError::WrongKeys(_))), "{result:?}");
    assert_eq!(value(&reader, &item).await.as_deref(), Some("v1"));
}
