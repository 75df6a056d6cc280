//! Whatever ends a transaction, the next one works.
#![allow(clippy::unwrap_used)]

use sidevault_keys::Credentials;
use sqlx::Connection as _;

use super::*;
use crate::{LOCAL_SOURCE, Reader, ReaderOptions, TokenRecord};

struct World {
    dir: tempfile::TempDir,
    keys: Credentials,
    writer: Writer,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (keys, _) = Credentials::generate();
        let writer = Writer::open(dir.path(), keys.kek(), WriterOptions::default())
            .await
            .unwrap();
        Self { dir, keys, writer }
    }

    async fn create_vault(&mut self, name: &str) -> Result<VaultId, StoreError> {
        let id = self.keys.id_key().vault(name);
        let info = VaultInfo {
            id,
            name: name.into(),
            source: LOCAL_SOURCE.into(),
        };
        let mut batch = self.writer.begin().await?;
        batch.create_vault(info, None, Timestamp::now()).await?;
        batch.commit().await?;
        Ok(id)
    }

    async fn put(&mut self, vault: VaultId, bytes: usize) -> Result<(), StoreError> {
        let mut batch = self.writer.begin().await?;
        let content = sidevault_model::FileId::random();
        for n in 0..i64::try_from(bytes / CHUNK_BYTES).unwrap() {
            batch.put_chunk(vault, content, n, &[7; CHUNK_BYTES]).await?;
        }
        batch.commit().await?;
        Ok(())
    }

    /// The failure is over; the same writer writes, and a reader sees it.
    async fn reader(&self) -> Reader {
        Reader::open(self.dir.path(), self.keys.kek(), ReaderOptions::default())
            .await
            .unwrap()
    }

    async fn assert_writable(&mut self) {
        let id = self.create_vault("after").await.unwrap();
        let reader = self.reader().await;
        assert!(reader.snapshot().await.unwrap().vault(id).is_some());
        reader.close().await;
    }
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_for_lack_of_room_is_over() {
    let mut world = World::new().await;
    let vault = world.create_vault("apps").await.unwrap();
    sqlx::query("PRAGMA max_page_count = 60")
        .execute(&mut world.writer.conn)
        .await
        .unwrap();
    let failed = world.put(vault, 1 << 20).await.unwrap_err();
    assert!(
        matches!(failed, StoreError::Full) && failed.is_of_the_disk(),
        "{failed}"
    );
    world.assert_writable().await;
}

#[tokio::test]
async fn a_transaction_that_was_interrupted_is_over() {
    let mut world = World::new().await;
    let vault = world.create_vault("apps").await.unwrap();
    world
        .writer
        .conn
        .lock_handle()
        .await
        .unwrap()
        .set_progress_handler(1, || false);
    let failed = world.put(vault, 1 << 20).await.unwrap_err();
    assert!(failed.is_of_the_disk(), "{failed}");
    world.assert_writable().await;
}

#[tokio::test]
async fn a_transaction_that_ended_in_its_commit_is_over() {
    let mut world = World::new().await;
    world.create_vault("apps").await.unwrap();
    world.writer.conn.lock_handle().await.unwrap().set_commit_hook(|| false);
    assert!(world.create_vault("lost").await.is_err());
    world.assert_writable().await;
    assert!(
        !world
            .writer
            .begin()
            .await
            .unwrap()
            .vaults()
            .any(|vault| vault.name == "lost")
    );
}

#[tokio::test]
async fn a_statement_that_failed_costs_its_batch_and_no_more() {
    let mut world = World::new().await;
    world.create_vault("apps").await.unwrap();
    let failed = world.create_vault("apps").await.unwrap_err();
    assert!(!failed.is_of_the_disk(), "it is the vault's fault: {failed}");
    world.assert_writable().await;
}

#[tokio::test]
async fn another_program_that_holds_the_database_locked_delays_writes_only() {
    let mut world = World::new().await;
    let mut other = sqlite::connect_writer(&world.dir.path().join(DATABASE_FILE))
        .await
        .unwrap();
    sqlx::query("PRAGMA busy_timeout = 1")
        .execute(&mut world.writer.conn)
        .await
        .unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let failed = world.create_vault("apps").await.unwrap_err();
    assert!(failed.is_of_the_disk(), "{failed}");
    held.rollback().await.unwrap();
    world.assert_writable().await;
}

/// The key that seals tokens is replaced when it is worn. A batch that fails takes its replacement with it.
#[tokio::test]
async fn a_key_that_a_failed_batch_made_seals_nothing() {
    let mut world = World::new().await;
    world.writer.state.options.seals_per_key = 1;
    let record = |jti: &str| TokenRecord::unseen(jti, None);
    world.writer.conn.lock_handle().await.unwrap().set_commit_hook(|| false);
    let mut batch = world.writer.begin().await.unwrap();
    batch.register_token(&record("lost")).await.unwrap();
    assert!(batch.commit().await.is_err());
    world.writer.state.options.seals_per_key = SEALS_PER_KEY;
    let mut batch = world.writer.begin().await.unwrap();
    batch.register_token(&record("kept")).await.unwrap();
    batch.commit().await.unwrap();
    let reader = world.reader().await;
    let tokens = reader.tokens().await.unwrap();
    assert_eq!(tokens.iter().map(|token| &*token.jti).collect::<Vec<_>>(), ["kept"]);
}

/// A vault with all that a vault has: keys, its sealed name, a chunk of a file.
struct Doomed {
    vault: VaultId,
    blobs: Vec<Vec<u8>>,
    dir: PathBuf,
}

impl Doomed {
    async fn new(world: &mut World) -> Self {
        let vault = world.create_vault("apps").await.unwrap();
        world.put(vault, CHUNK_BYTES).await.unwrap();
        let blobs: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT wrapped FROM vault_keys WHERE vault_id <> '' UNION ALL SELECT sealed FROM vaults
             UNION ALL SELECT sealed FROM file_chunks",
        )
        .fetch_all(&mut world.writer.conn)
        .await
        .unwrap();
        let doomed = Self {
            vault,
            blobs,
            dir: world.dir.path().to_owned(),
        };
        assert_eq!(doomed.count_on_disk(), 4, "the test does not find what is there");
        doomed
    }

    /// How many of the vault's blobs are in the database's file or in its write-ahead log.
    fn count_on_disk(&self) -> usize {
        let file = |suffix: &str| std::fs::read(self.dir.join(format!("{DATABASE_FILE}{suffix}"))).unwrap();
        let bytes = [file(""), file("-wal")].concat();
        // A sealed row may be spread over pages: its first bytes, a key's id and a random nonce, are enough.
        self.blobs.iter().filter(|blob| contains(&bytes, &blob[..20])).count()
    }

    async fn delete(&self, writer: &mut Writer) {
        let mut batch = writer.begin().await.unwrap();
        batch.delete_vault(self.vault).await.unwrap();
        batch.drop_orphaned_contents().await.unwrap();
        batch.commit().await.unwrap();
    }
}

#[tokio::test]
async fn nothing_of_a_deleted_vault_is_left_in_the_databases_files() {
    let mut world = World::new().await;
    // A reader that stays keeps SQLite from removing the log.
    let reader = world.reader().await;
    let doomed = Doomed::new(&mut world).await;
    doomed.delete(&mut world.writer).await;
    assert!(world.writer.wipe_deleted(Duration::from_secs(1)).await.unwrap());
    assert_eq!(doomed.count_on_disk(), 0);
    reader.close().await;
}

#[tokio::test]
async fn the_writer_after_a_crash_wipes_what_a_deleted_vault_left_in_the_log() {
    let mut world = World::new().await;
    let reader = world.reader().await;
    let doomed = Doomed::new(&mut world).await;
    doomed.delete(&mut world.writer).await;
    let World { dir, keys, writer } = world;
    drop(writer);
    assert!(doomed.count_on_disk() > 0, "the crash comes too late");
    let mut writer = Writer::open(dir.path(), keys.kek(), WriterOptions::default())
        .await
        .unwrap();
    assert!(writer.wipe_deleted(Duration::from_secs(1)).await.unwrap());
    assert_eq!(doomed.count_on_disk(), 0);
    // The next writer has nothing to do.
    drop(writer);
    let writer = Writer::open(dir.path(), keys.kek(), WriterOptions::default())
        .await
        .unwrap();
    assert!(!writer.state.has_remains);
    reader.close().await;
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn the_log_shrinks_once_nobody_needs_it() {
    let mut world = World::new().await;
    let vault = world.create_vault("apps").await.unwrap();
    let log = world.dir.path().join(format!("{DATABASE_FILE}-wal"));
    let mut other = sqlite::connect_writer(&world.dir.path().join(DATABASE_FILE))
        .await
        .unwrap();
    let mut reads = other.begin().await.unwrap();
    sqlx::query("SELECT * FROM vaults")
        .fetch_all(&mut *reads)
        .await
        .unwrap();
    sqlx::query("INSERT INTO file_chunks (content_id, n, sealed) VALUES ('large', 0, randomblob(9000000))")
        .execute(&mut world.writer.conn)
        .await
        .unwrap();
    let most = log.metadata().unwrap().len();
    reads.rollback().await.unwrap();
    for _ in 0..3 {
        world.put(vault, CHUNK_BYTES).await.unwrap();
    }
    let now = log.metadata().unwrap().len();
    assert!(most > 9_000_000 && now <= 8 << 20, "{most} then {now}");
}

#[tokio::test]
async fn nobody_else_can_lock_the_writer_out_or_list_its_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(".op/data");
    let (keys, _) = Credentials::generate();
    let writer = Writer::open(&dir, keys.kek(), WriterOptions::default()).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&root.path().join(".op"))), (0o700, 0o700));
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    writer.close().await.unwrap();
    // One that an older version made, too.
    std::fs::set_permissions(dir.join("writer.lock"), Permissions::from_mode(0o644)).unwrap();
    let _writer = Writer::open(&dir, keys.kek(), WriterOptions::default()).await.unwrap();
    assert_eq!(mode(&dir.join("writer.lock")), 0o600);
}
