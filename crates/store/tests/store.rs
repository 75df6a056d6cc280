//! The store as sync and the api use it: one writer, readers that are right at every call.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use sidevault_keys::Credentials;
use sidevault_model::{Edit, FileId, Item, ItemId, ItemInput, Timestamp, VaultId};
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
    let view = reader.view().await.unwrap();
    let found = reader.item(&view, item.vault, item.id).await.unwrap()?;
    Some(Item::from_json(found.json()).unwrap().fields[0].value.clone())
}

async fn titled(reader: &Reader, vault: VaultId, title: &str) -> usize {
    let view = reader.view().await.unwrap();
    reader.items_titled(&view, vault, title).await.unwrap().len()
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
    let view = reader.view().await.unwrap();
    for item in [a, b] {
        let read = reader.item(&view, item.vault, item.id).await;
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
    let view = reader.view().await.unwrap();
    assert!(matches!(
        reader.item(&view, item.vault, item.id).await,
        Err(StoreError::Corrupt { .. })
    ));
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
        let view = reader.view().await.unwrap();
        let vault = &view.vault(world.keys.id_key().vault("apps")).unwrap().vault;
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
    let start = reader.view().await.unwrap().sequence();
    let item = world.create("a").await;
    world.replace(&item, "b", "v2").await;
    let changes = reader.changes(start, 10).await.unwrap().unwrap();
    let seen: Vec<_> = changes
        .iter()
        .map(|change| (change.seq - start, change.kind.as_str(), change.version))
        .collect();
    assert_eq!(seen, [(1, "item.created", 1), (2, "item.updated", 2)]);
    assert_eq!(reader.changes(start + 1, 10).await.unwrap().unwrap().len(), 1);
    world.sql("DELETE FROM changes").await;
    world.create("c").await;
    assert!(reader.changes(0, 10).await.unwrap().is_none(), "those numbers are gone");
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
    assert!(!reader.view().await.unwrap().is_revoked("known"));
    let mut batch = world.writer.begin().await.unwrap();
    batch.revoke_token("known", None, Timestamp::now()).await.unwrap();
    batch.revoke_token("unknown", None, Timestamp::now()).await.unwrap();
    // A token that is seen again does not come back to life.
    batch.register_token(&record).await.unwrap();
    batch.commit().await.unwrap();
    let view = reader.view().await.unwrap();
    assert!(view.is_revoked("known") && view.is_revoked("unknown"));
    let tokens = reader.tokens().await.unwrap();
    assert!(
        tokens
            .iter()
            .any(|token| token.name == "ci" && token.revoked_at.is_some())
    );
}

#[tokio::test]
async fn file_contents_come_back_chunk_by_chunk() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let item = world.create("doc").await;
    let (file, content) = (FileId::random(), FileId::random());
    let mut batch = world.writer.begin().await.unwrap();
    for n in 0..3 {
        batch.put_chunk(world.vault, content, n, &[n as u8; 10]).await.unwrap();
    }
    batch.set_file(world.vault, item.id, file, content).await.unwrap();
    batch.commit().await.unwrap();
    let place = reader.file(world.vault, item.id, file).await.unwrap().unwrap();
    assert_eq!(reader.chunk(place, 2).await.unwrap().unwrap(), [2; 10]);
    assert!(reader.chunk(place, 3).await.unwrap().is_none());
    let mut batch = world.writer.begin().await.unwrap();
    batch.delete_item(&item).await.unwrap();
    batch.commit().await.unwrap();
    assert!(reader.chunk(place, 0).await.unwrap().is_none());
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
                let view = reader.view().await.unwrap();
                let found = reader.items_titled(&view, item.vault, &item.title).await.unwrap();
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
    let view = reader.view().await.unwrap();
    assert!(
        reader
            .item(&view, world.vault, ItemId::random())
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
    assert_eq!(reader.view().await.unwrap().vault(world.vault).unwrap().vault.items, 4);
    assert_eq!(value(&reader, &fifth).await, None);
    assert_eq!(value(&reader, &third).await.as_deref(), Some("v1"));
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
    assert_eq!(reader.view().await.unwrap().vaults().count(), 0);
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
    let before = reader.view().await.unwrap().sequence();
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
        .changes(before, 2000)
        .await
        .unwrap()
        .expect("the number is known still");
    assert_eq!(resumed.len(), 1102, "the opening, the new items and the change");
    assert!(
        reader.changes(before + 1, 1).await.unwrap().is_none(),
        "a number that was never given"
    );
}
