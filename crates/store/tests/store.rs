//! The store as sync and the api use it: one writer, readers that are right at every call.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use sidevault_keys::Credentials;
use sidevault_model::activity::{Action, ActivityOutcome, Actor, Resource, ResourceType, VaultRef};
use sidevault_model::{ApiRequest, Edit, File, FileId, Item, ItemId, ItemInput, State, Timestamp, VaultId};
use sidevault_store::{
    DATABASE_FILE, LOCAL_SOURCE, Reader, ReaderOptions, StoreError, TokenRecord, VaultInfo, Writer, WriterOptions,
};
use sqlx::{ConnectOptions, Connection};
use tokio::task::JoinSet;

struct World {
    dir: tempfile::TempDir,
    keys: Credentials,
    writer: Writer,
    vault: VaultId,
}

impl World {
    async fn new() -> Self {
        Self::with(WriterOptions::default()).await
    }

    async fn with(options: WriterOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (keys, _) = Credentials::generate();
        let mut writer = Writer::open(dir.path(), keys.kek(), options).await.unwrap();
        let vault = keys.id_key().vault("apps");
        let mut batch = writer.begin().await.unwrap();
        let info = VaultInfo {
            id: vault,
            name: "apps".into(),
            source: LOCAL_SOURCE.into(),
        };
        batch.create_vault(info, None, Timestamp::now()).await.unwrap();
        batch.commit().await.unwrap();
        Self {
            dir,
            keys,
            writer,
            vault,
        }
    }

    async fn reader(&self) -> Reader {
        Reader::open(self.dir.path(), self.keys.kek(), ReaderOptions::default())
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
        let path = self.dir.path().join(DATABASE_FILE);
        let mut conn = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(path)
            .connect()
            .await
            .unwrap();
        sqlx::query(sql).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }
}

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
async fn a_reader_sees_every_commit_at_its_next_call_without_being_told() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let mut item = world.create("a").await;
    for n in 0..50 {
        let text = format!("v{n}");
        item = world.replace(&item, "a", &text).await;
        // Twice: from the database, and from the cache.
        assert_eq!(value(&reader, &item).await.as_deref(), Some(&*text));
        assert_eq!(value(&reader, &item).await.as_deref(), Some(&*text));
    }
    let mut batch = world.writer.begin().await.unwrap();
    batch.delete_item(&item).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(value(&reader, &item).await, None);
}

#[tokio::test]
async fn titles_are_found_in_any_case_and_exact_hits_win() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    assert_eq!(titled(&reader, world.vault, "Döner").await, 0);
    let item = world.create("Döner").await;
    assert_eq!(titled(&reader, world.vault, "dÖNER").await, 1);
    assert_eq!(
        titled(&reader, world.vault, "Do\u{308}ner").await,
        1,
        "another normal form"
    );
    world.create("döner").await;
    assert_eq!(titled(&reader, world.vault, "Döner").await, 1);
    assert_eq!(titled(&reader, world.vault, "DÖNER").await, 2);
    world.replace(&item, "kebab", "x").await;
    assert_eq!(titled(&reader, world.vault, "Döner").await, 1);
    assert_eq!(titled(&reader, world.vault, "kebab").await, 1);
}

#[tokio::test]
async fn history_keeps_as_many_versions_as_asked() {
    let mut world = World::with(WriterOptions {
        history: 3,
        ..WriterOptions::default()
    })
    .await;
    let reader = world.reader().await;
    let mut item = world.create("a").await;
    for n in 2..=6 {
        item = world.replace(&item, "a", &format!("v{n}")).await;
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
    let mut world = World::with(WriterOptions {
        seals_per_key: 4,
        ..WriterOptions::default()
    })
    .await;
    let reader = world.reader().await;
    let mut items = Vec::new();
    for n in 0..20 {
        items.push(world.create(&format!("item {n}")).await);
        assert_eq!(value(&reader, &items[n]).await.as_deref(), Some("v1"));
    }
    let fresh = world.reader().await;
    for item in &items {
        assert_eq!(value(&fresh, item).await.as_deref(), Some("v1"));
        assert_eq!(titled(&fresh, world.vault, &item.title).await, 1);
    }
}

#[tokio::test]
async fn a_row_that_was_swapped_for_another_is_refused() {
    let mut world = World::new().await;
    let (a, b) = (world.create("a").await, world.create("b").await);
    world.sql("CREATE TABLE kept AS SELECT id, detail FROM items").await;
    world
        .sql("UPDATE items SET detail = (SELECT detail FROM kept WHERE kept.id <> items.id)")
        .await;
    let reader = world.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    for item in [a, b] {
        let read = reader.item(&snapshot, item.vault, item.id).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })));
    }
}

#[tokio::test]
async fn an_old_version_put_back_is_refused() {
    let mut world = World::new().await;
    let item = world.create("a").await;
    let item = world.replace(&item, "a", "v2").await;
    world
        .sql("UPDATE items SET detail = (SELECT detail FROM item_versions)")
        .await;
    let reader = world.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    assert!(matches!(
        reader.item(&snapshot, item.vault, item.id).await,
        Err(StoreError::Corrupt { .. })
    ));
}

fn is_refused<T>(read: Result<T, StoreError>) -> bool {
    matches!(read, Err(StoreError::Corrupt { .. }))
}

/// The whole row, as the history has it: only the seal says that it is no present version.
#[tokio::test]
async fn an_old_version_made_the_present_one_is_refused() {
    let mut world = World::new().await;
    let item = world.create("a").await;
    let item = world.replace(&item, "a", "v2").await;
    world
        .sql(
            "UPDATE items SET (version, updated_at, detail) =
             (SELECT version, updated_at, detail FROM item_versions)",
        )
        .await;
    let reader = world.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    assert!(is_refused(reader.item(&snapshot, item.vault, item.id).await));
    let mut batch = world.writer.begin().await.unwrap();
    assert!(is_refused(batch.item(item.vault, item.id).await));
}

#[tokio::test]
async fn an_item_under_another_title_is_refused() {
    let mut world = World::new().await;
    world.create("prod-db").await;
    world.create("other").await;
    world.sql("CREATE TABLE kept AS SELECT id, title_hash FROM items").await;
    world
        .sql("UPDATE items SET title_hash = (SELECT title_hash FROM kept WHERE kept.id <> items.id)")
        .await;
    let reader = world.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    assert!(is_refused(reader.items_titled(&snapshot, world.vault, "prod-db").await));
    assert!(is_refused(reader.summaries(world.vault, None, 10).await));
}

#[tokio::test]
async fn an_item_that_was_hidden_is_not_just_missing() {
    let mut world = World::new().await;
    world.create("prod-db").await;
    for sql in [
        "UPDATE items SET state = 'ARCHIVED'",
        "UPDATE items SET state = NULL, created_at = created_at + 1",
    ] {
        world.sql(sql).await;
        let reader = world.reader().await;
        let snapshot = reader.snapshot().await.unwrap();
        assert!(is_refused(reader.items_titled(&snapshot, world.vault, "prod-db").await));
        assert!(is_refused(reader.summaries(world.vault, None, 10).await));
    }
}

#[tokio::test]
async fn an_altered_creation_time_is_noticed_by_reads_and_writes_of_the_item() {
    let mut world = World::new().await;
    let item = world.create("a").await;
    let reader = world.reader().await;
    world.sql("UPDATE items SET created_at = created_at - 1").await;
    let fresh = world.reader().await;
    let snapshot = fresh.snapshot().await.unwrap();
    assert!(is_refused(fresh.item(&snapshot, item.vault, item.id).await));
    assert!(is_refused(reader.item_version(item.vault, item.id, 1).await));
    let mut batch = world.writer.begin().await.unwrap();
    assert!(is_refused(batch.item(item.vault, item.id).await));
}

#[tokio::test]
async fn an_archived_item_is_in_no_list_and_found_by_its_id() {
    let mut world = World::new().await;
    let item = world.create("old").await;
    let mut archived = item.clone();
    archived.version += 1;
    archived.state = Some(State::Archived);
    let mut batch = world.writer.begin().await.unwrap();
    batch.update_item(&item, &archived).await.unwrap();
    batch.commit().await.unwrap();
    let reader = world.reader().await;
    assert_eq!(titled(&reader, world.vault, "old").await, 0);
    let (page, more) = reader.summaries(world.vault, None, 10).await.unwrap();
    assert!(page.is_empty() && more.is_none());
    assert!(value(&reader, &item).await.is_some());
}

#[tokio::test]
async fn a_file_with_another_files_content_is_refused() {
    let mut world = World::new().await;
    let (first, second) = (world.create("a").await, world.create("b").await);
    let first = world.attach(&first, FileId::random(), 1).await;
    world.attach(&second, FileId::random(), 2).await;
    world.sql("CREATE TABLE kept AS SELECT id, content_id FROM files").await;
    world
        .sql("UPDATE files SET content_id = (SELECT content_id FROM kept WHERE kept.id <> files.id)")
        .await;
    let reader = world.reader().await;
    let place = content(&reader, &first).await;
    assert_eq!(reader.chunk(world.vault, place, 0).await.unwrap().unwrap(), [1; 10]);
    // Nor can the chunks themselves change places.
    world.sql("CREATE TABLE chunks AS SELECT * FROM file_chunks").await;
    world
        .sql(
            "UPDATE file_chunks SET sealed = (SELECT sealed FROM chunks
             WHERE chunks.content_id <> file_chunks.content_id AND chunks.n = file_chunks.n)",
        )
        .await;
    assert!(is_refused(reader.chunk(world.vault, place, 0).await));
}

#[tokio::test]
async fn a_revocation_that_was_taken_back_refuses_its_token() {
    let mut world = World::new().await;
    let record = TokenRecord {
        jti: "thief".into(),
        name: "ci".into(),
        vaults: Default::default(),
        by_name: Default::default(),
        issued_at: Timestamp::now(),
        expires_at: None,
        revoked_at: None,
    };
    let mut batch = world.writer.begin().await.unwrap();
    batch.register_token(&record).await.unwrap();
    let honest = TokenRecord {
        jti: "honest".into(),
        ..record
    };
    batch.register_token(&honest).await.unwrap();
    batch.revoke_token("thief", None, Timestamp::now()).await.unwrap();
    batch.revoke_token("unseen", None, Timestamp::now()).await.unwrap();
    batch.commit().await.unwrap();
    world.sql("UPDATE tokens SET revoked_at = NULL").await;
    let reader = world.reader().await;
    let snapshot = reader.snapshot().await.unwrap();
    assert!(snapshot.is_revoked("thief") && snapshot.is_revoked("unseen") && !snapshot.is_revoked("honest"));
    // Revoked once more, the row is whole again.
    let mut batch = world.writer.begin().await.unwrap();
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
async fn a_version_of_the_history_reads_as_it_was() {
    let mut world = World::new().await;
    let first = world.create("a").await;
    let second = world.replace(&first, "b", "v2").await;
    let reader = world.reader().await;
    for (item, value) in [(&first, "v1"), (&second, "v2")] {
        let found = reader
            .item_version(item.vault, item.id, item.version)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.json(), item.full_json());
        assert_eq!(found.item().unwrap().fields[0].value, value);
        let mut batch = world.writer.begin().await.unwrap();
        let found = batch
            .item_version(item.vault, item.id, item.version)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.fields[0].value, value);
    }
}

#[tokio::test]
async fn a_dropped_batch_leaves_nothing_behind() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let lost = item(world.vault, "lost", "x");
    let other = VaultId::random();
    let mut batch = world.writer.begin().await.unwrap();
    batch.insert_item(&lost, None).await.unwrap();
    let info = VaultInfo {
        id: other,
        name: "other".into(),
        source: LOCAL_SOURCE.into(),
    };
    batch.create_vault(info, None, Timestamp::now()).await.unwrap();
    drop(batch);
    assert_eq!(value(&reader, &lost).await, None);
    let batch = world.writer.begin().await.unwrap();
    assert!(batch.vault(other).is_none());
    drop(batch);
    world.create("next").await;
    assert_eq!(titled(&reader, world.vault, "next").await, 1);
}

#[tokio::test]
async fn counts_and_versions_of_a_vault_follow_its_items() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let state = async || {
        let snapshot = reader.snapshot().await.unwrap();
        let vault = &snapshot.vault(world.keys.id_key().vault("apps")).unwrap().vault;
        (vault.items, vault.content_version)
    };
    let before = state().await;
    let item = item(world.vault, "a", "v");
    let mut batch = world.writer.begin().await.unwrap();
    batch.insert_item(&item, None).await.unwrap();
    batch.commit().await.unwrap();
    let with = state().await;
    assert_eq!((with.0, with.1 > before.1), (before.0 + 1, true));
    let mut batch = world.writer.begin().await.unwrap();
    batch.delete_item(&item).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(state().await.0, before.0);
}

#[tokio::test]
async fn a_second_writer_is_refused_and_other_keys_are_named() {
    let world = World::new().await;
    let second = Writer::open(world.dir.path(), world.keys.kek(), WriterOptions::default()).await;
    assert!(matches!(second, Err(StoreError::Locked(_))));
    let (stranger, _) = Credentials::generate();
    let wrong = Reader::open(world.dir.path(), stranger.kek(), ReaderOptions::default()).await;
    assert!(matches!(wrong, Err(StoreError::WrongKeys(_))));
    let missing = Reader::open(Path::new("/nonexistent"), stranger.kek(), ReaderOptions::default()).await;
    assert!(matches!(missing, Err(StoreError::Missing(_))));
}

#[tokio::test]
async fn changes_are_numbered_without_gaps_and_can_be_resumed() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let start = reader.snapshot().await.unwrap().sequence();
    let item = world.create("a").await;
    world.replace(&item, "b", "v2").await;
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
    world.sql("DELETE FROM changes").await;
    world.create("c").await;
    assert!(
        reader.changes(0, i64::MAX, None, 10).await.unwrap().is_none(),
        "those numbers are gone"
    );
    assert_eq!(
        titled(&reader, world.vault, "c").await,
        1,
        "a reader that missed changes starts over"
    );
}

#[tokio::test]
async fn tokens_are_refused_once_revoked_whether_known_or_not() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let record = TokenRecord {
        jti: "known".into(),
        name: "ci".into(),
        vaults: Default::default(),
        by_name: Default::default(),
        issued_at: Timestamp::now(),
        expires_at: None,
        revoked_at: None,
    };
    let mut batch = world.writer.begin().await.unwrap();
    batch.register_token(&record).await.unwrap();
    batch.commit().await.unwrap();
    assert!(!reader.snapshot().await.unwrap().is_revoked("known"));
    let mut batch = world.writer.begin().await.unwrap();
    batch.revoke_token("known", None, Timestamp::now()).await.unwrap();
    batch.revoke_token("unknown", None, Timestamp::now()).await.unwrap();
    // A token that is seen again does not come back to life.
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

impl World {
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
async fn content(reader: &Reader, item: &Item) -> FileId {
    let snapshot = reader.snapshot().await.unwrap();
    let found = reader.item(&snapshot, item.vault, item.id).await.unwrap().unwrap();
    found.item().unwrap().files[0].content.unwrap()
}

#[tokio::test]
async fn file_contents_come_back_chunk_by_chunk() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let item = world.create("doc").await;
    let item = world.attach(&item, FileId::random(), 7).await;
    let place = content(&reader, &item).await;
    assert_eq!(reader.chunk(world.vault, place, 2).await.unwrap().unwrap(), [7; 10]);
    assert!(reader.chunk(world.vault, place, 3).await.unwrap().is_none());
    let mut batch = world.writer.begin().await.unwrap();
    batch.delete_item(&item).await.unwrap();
    batch.commit().await.unwrap();
    assert!(reader.chunk(world.vault, place, 0).await.unwrap().is_none());
}

#[tokio::test]
async fn whoever_reads_a_file_never_gets_chunks_of_another_version() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let item = world.create("doc").await;
    let file = FileId::random();
    let item = world.attach(&item, file, 1).await;
    // The item as a reader has it, who now is slower than the writer.
    let slow = content(&reader, &item).await;
    let item = world.attach(&item, file, 2).await;
    assert!(reader.chunk(world.vault, slow, 0).await.unwrap().is_none());
    let now = content(&reader, &item).await;
    assert_eq!(reader.chunk(world.vault, now, 0).await.unwrap().unwrap(), [2; 10]);
    // A change of the rest of the item leaves the content where it is.
    let item = world.replace(&item, "doc", "v2").await;
    assert_eq!(content(&reader, &item).await, now);
    assert!(reader.chunk(world.vault, now, 2).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_miss_at_once_each_get_their_own_rows_though_some_are_given_up() {
    let mut world = World::new().await;
    let items: Vec<Item> = (0..100)
        .map(|n| item(world.vault, &format!("title {n}"), &format!("value {n}")))
        .collect();
    let mut batch = world.writer.begin().await.unwrap();
    for item in &items {
        batch.insert_item(item, None).await.unwrap();
    }
    batch.commit().await.unwrap();
    let reader = Arc::new(world.reader().await);
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
            .item(&snapshot, world.vault, ItemId::random())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_batch_finds_what_it_has_just_made() {
    let mut world = World::new().await;
    let (first, second) = (item(world.vault, "first", "v1"), item(world.vault, "second", "v1"));
    let mut batch = world.writer.begin().await.unwrap();
    batch.insert_item(&first, Some("file")).await.unwrap();
    batch.insert_item(&second, None).await.unwrap();
    assert_eq!(batch.items_of(world.vault, "file").await.unwrap(), [first.id]);
    let found = batch.item(world.vault, second.id).await.unwrap().unwrap();
    assert_eq!(found.title, "second");
    let third = item(world.vault, "third", "v1");
    batch.insert_item(&third, None).await.unwrap();
    assert_eq!(batch.origins(world.vault).await.unwrap().len(), 3);
    let fourth = item(world.vault, "fourth", "v1");
    batch.insert_item(&fourth, None).await.unwrap();
    assert!(batch.item(world.vault, fourth.id).await.unwrap().is_some());
    let fifth = item(world.vault, "fifth", "v1");
    batch.insert_item(&fifth, None).await.unwrap();
    batch.delete_item(&fifth).await.unwrap();
    batch.commit().await.unwrap();
    let reader = world.reader().await;
    assert_eq!(reader.snapshot().await.unwrap().vault(world.vault).unwrap().vault.items, 4);
    assert_eq!(value(&reader, &fifth).await, None);
    assert_eq!(value(&reader, &third).await.as_deref(), Some("v1"));
}

/// A read of the vault by a token, told as the api tells it.
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

impl World {
    async fn note(&mut self, requests: &[ApiRequest]) {
        let mut batch = self.writer.begin().await.unwrap();
        batch.add_activity(requests).await.unwrap();
        batch.commit().await.unwrap();
    }

    async fn another_vault(&mut self, name: &str) -> VaultId {
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
async fn the_activity_log_is_bounded_and_a_token_drops_only_records_of_its_own() {
    const ROOM: u64 = 256 << 10;
    let mut world = World::with(WriterOptions {
        activity_bytes: ROOM,
        ..WriterOptions::default()
    })
    .await;
    let other = world.another_vault("other").await;
    let quiet: Vec<_> = (0..3).map(|n| request(world.vault, "quiet", n)).collect();
    world.note(&quiet).await;
    let mut shared = request(world.vault, "flood", 3);
    shared.action = Action::Update;
    world.note(&[shared]).await;
    for round in 0..20 {
        let flood: Vec<_> = (0..256)
            .map(|n| {
                request(
                    if n % 2 == 0 { other } else { world.vault },
                    "flood",
                    4 + round * 256 + n,
                )
            })
            .collect();
        world.note(&flood).await;
    }
    assert!(world.bytes_of_activity().await <= ROOM);
    let reader = world.reader().await;
    let kept = reader.activity(&[world.vault], 0, 10_000).await.unwrap();
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
    // A page is the same part of the whole, and the order is by time, newest first, whoever asked.
    let number = |record: &ApiRequest| -record.request_id.parse::<i64>().unwrap();
    assert!(kept.records.is_sorted_by_key(number));
    let page = reader.activity(&[world.vault], 5, 7).await.unwrap();
    assert_eq!(page.records, kept.records[5..12]);

    // What was counted is counted again when the store is opened anew, and a vault that is deleted frees its room.
    let World {
        dir,
        keys,
        writer,
        vault,
    } = world;
    writer.close().await.unwrap();
    let options = WriterOptions {
        activity_bytes: ROOM,
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir.path(), keys.kek(), options).await.unwrap();
    let mut world = World {
        dir,
        keys,
        writer,
        vault,
    };
    world.note(&[request(vault, "late", 9_999)]).await;
    assert!(world.bytes_of_activity().await <= ROOM);
    let mut batch = world.writer.begin().await.unwrap();
    batch.delete_vault(other).await.unwrap();
    batch.commit().await.unwrap();
    let before = world.bytes_of_activity().await;
    world.note(&[request(vault, "late", 10_000)]).await;
    assert!(
        world.bytes_of_activity().await > before,
        "room was made where there was enough"
    );
}

#[tokio::test]
async fn records_of_one_second_are_told_in_order_whoever_asked() {
    let mut world = World::new().await;
    let mixed: Vec<_> = (0..10)
        .map(|n| request(world.vault, if n % 2 == 0 { "even" } else { "odd" }, n))
        .collect();
    world.note(&mixed).await;
    let told = world.reader().await.activity(&[world.vault], 0, 100).await.unwrap();
    let numbers: Vec<_> = told.records.iter().map(|record| record.request_id.as_str()).collect();
    assert_eq!(numbers, ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
}

#[tokio::test]
async fn changes_are_read_of_the_wanted_vaults_only_and_not_after_a_number_that_never_was() {
    let mut world = World::new().await;
    let other = world.another_vault("other").await;
    let reader = world.reader().await;
    let start = reader.snapshot().await.unwrap().sequence();
    let mut batch = world.writer.begin().await.unwrap();
    for n in 0..100 {
        batch
            .insert_item(&item(other, &n.to_string(), "v"), None)
            .await
            .unwrap();
    }
    batch.insert_item(&item(world.vault, "mine", "v"), None).await.unwrap();
    let newest = batch.commit().await.unwrap();
    let mine = [world.vault];
    // One page has it, however much there is of others before it.
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
    // As a restored store that goes on at a higher number: the client heard of changes that are not there any more.
    world
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

/// While a store is in use, most of it is in the write-ahead log.
#[tokio::test]
async fn a_copy_without_its_log_is_named_and_not_made_an_empty_store() {
    let world = World::new().await;
    let copy = tempfile::tempdir().unwrap();
    let database = copy.path().join(DATABASE_FILE);
    std::fs::copy(world.dir.path().join(DATABASE_FILE), &database).unwrap();
    let before = std::fs::read(&database).unwrap();
    let read = Reader::open(copy.path(), world.keys.kek(), ReaderOptions::default()).await;
    assert!(matches!(&read, Err(StoreError::Empty(_))));
    let error = read.err().unwrap().to_string();
    assert!(error.contains("1password.sqlite-wal is missing"), "{error}");
    let written = Writer::open(copy.path(), world.keys.kek(), WriterOptions::default()).await;
    assert!(matches!(written, Err(StoreError::Empty(_))));
    assert_eq!(std::fs::read(&database).unwrap(), before);

    // A writer that was killed while it made the store left the same, and a mark.
    std::fs::write(copy.path().join(format!("{DATABASE_FILE}-unfinished")), "").unwrap();
    let writer = Writer::open(copy.path(), world.keys.kek(), WriterOptions::default())
        .await
        .unwrap();
    writer.close().await.unwrap();
    let reader = Reader::open(copy.path(), world.keys.kek(), ReaderOptions::default())
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
async fn numbers_of_changes_outlast_a_restart_of_the_writer() {
    let mut world = World::new().await;
    let item = world.create("a").await;
    let reader = world.reader().await;
    let before = reader.snapshot().await.unwrap().sequence();
    let World {
        dir,
        keys,
        writer,
        vault,
    } = world;
    writer.close().await.unwrap();
    let writer = Writer::open(dir.path(), keys.kek(), WriterOptions::default())
        .await
        .unwrap();
    let mut world = World {
        dir,
        keys,
        writer,
        vault,
    };
    // Old changes are looked for once in a thousand.
    let mut batch = world.writer.begin().await.unwrap();
    for n in 0..1100 {
        let new = self::item(world.vault, &n.to_string(), "v");
        batch.insert_item(&new, None).await.unwrap();
    }
    batch.commit().await.unwrap();
    world.replace(&item, "b", "v2").await;
    let resumed = reader
        .changes(before, i64::MAX, None, 2000)
        .await
        .unwrap()
        .expect("the number is known still");
    assert_eq!(resumed.len(), 1102, "the opening, the new items and the change");
    assert!(
        reader.changes(before + 1, i64::MAX, None, 1).await.unwrap().is_none(),
        "a number that was never given"
    );
}

#[tokio::test]
async fn a_store_with_other_keys_that_is_put_in_the_place_is_named_and_reads_go_on() {
    let mut world = World::new().await;
    let item = world.create("a").await;
    let reader = world.reader().await;
    let stranger = World::new().await;
    stranger.writer.close().await.unwrap();
    let file = |dir: &Path, suffix: &str| dir.join(format!("{DATABASE_FILE}{suffix}"));
    std::fs::copy(file(stranger.dir.path(), ""), file(world.dir.path(), ".new")).unwrap();
    std::fs::rename(file(world.dir.path(), ".new"), file(world.dir.path(), "")).unwrap();
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(file(world.dir.path(), suffix)).unwrap();
    }
    reader.look_for_other_files().await.unwrap();
    assert_eq!(
        value(&reader, &item).await.as_deref(),
        Some("v1"),
        "no writer has opened it yet"
    );
    std::fs::write(file(world.dir.path(), "-shm"), "").unwrap();
    let looked = reader.look_for_other_files().await;
    assert!(matches!(looked, Err(StoreError::WrongKeys(_))), "{looked:?}");
    assert_eq!(value(&reader, &item).await.as_deref(), Some("v1"));
}
