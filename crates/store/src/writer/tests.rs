//! Failing transactions, what deleted vaults leave behind, and the modes of the store's files.

use std::path::PathBuf;

use sidevault_keys::Credentials;

use super::*;
use crate::{DATABASE_FILE, LOCAL_SOURCE, Reader, ReaderOptions, TokenRecord};

struct TestStore {
    dir: tempfile::TempDir,
    keys: Credentials,
    writer: Writer,
}

impl TestStore {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (keys, _) = Credentials::generate();
        let writer = Writer::open(
            &Database::Sqlite(dir.path().into()),
            keys.kek(),
            WriterOptions::default(),
        )
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

    /// Fails unless the writer can write again and a reader sees it.
    async fn reader(&self) -> Reader {
        Reader::open(
            &Database::Sqlite(self.dir.path().into()),
            self.keys.kek(),
            ReaderOptions::default(),
        )
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
async fn a_writer_works_after_a_full_database() {
    let mut store = TestStore::new().await;
    let vault = store.create_vault("apps").await.unwrap();
    sqlx::query("PRAGMA max_page_count = 60")
        .execute(&mut store.writer.conn)
        .await
        .unwrap();
    let failed = store.put(vault, 1 << 20).await.unwrap_err();
    assert!(matches!(failed, StoreError::Full) && failed.is_disk_error(), "{failed}");
    store.assert_writable().await;
}

#[tokio::test]
async fn a_writer_works_after_sqlite_ended_a_transaction() {
    let mut store = TestStore::new().await;
    let vault = store.create_vault("apps").await.unwrap();
    let trigger = "CREATE TRIGGER ends BEFORE INSERT ON file_chunks BEGIN SELECT RAISE(ROLLBACK, 'ended'); END";
    store.writer.conn.run(trigger).await.unwrap();
    store.put(vault, 1 << 20).await.unwrap_err();
    store.assert_writable().await;
}

/// Lets each commit of this connection fail whose transaction inserted a change or a token.
const FAILING_COMMITS: &str = "CREATE TEMP TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TEMP TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TEMP TRIGGER changes_fail AFTER INSERT ON main.changes BEGIN INSERT INTO child VALUES (1); END;
    CREATE TEMP TRIGGER tokens_fail AFTER INSERT ON main.tokens BEGIN INSERT INTO child VALUES (1); END";

#[tokio::test]
async fn a_writer_works_after_a_failed_commit() {
    let mut store = TestStore::new().await;
    store.create_vault("apps").await.unwrap();
    store.writer.conn.run(FAILING_COMMITS).await.unwrap();
    assert!(store.create_vault("lost").await.is_err());
    store.assert_writable().await;
    assert!(
        !store
            .writer
            .begin()
            .await
            .unwrap()
            .vaults()
            .any(|vault| vault.name == "lost")
    );
}

#[tokio::test]
async fn a_writer_works_after_a_failed_statement() {
    let mut store = TestStore::new().await;
    store.create_vault("apps").await.unwrap();
    let failed = store.create_vault("apps").await.unwrap_err();
    assert!(
        !failed.is_disk_error(),
        "a duplicate id is no fault of the disk: {failed}"
    );
    store.assert_writable().await;
}

#[tokio::test]
async fn a_writer_works_after_another_program_held_a_lock() {
    let mut store = TestStore::new().await;
    let mut other = sqlite::connect_writer(&store.dir.path().join(DATABASE_FILE))
        .await
        .unwrap();
    sqlx::query("PRAGMA busy_timeout = 1")
        .execute(&mut store.writer.conn)
        .await
        .unwrap();
    other.run("BEGIN IMMEDIATE").await.unwrap();
    let failed = store.create_vault("apps").await.unwrap_err();
    assert!(failed.is_disk_error(), "{failed}");
    other.run("ROLLBACK").await.unwrap();
    store.assert_writable().await;
}

/// The key that seals tokens is replaced after a number of seals. If the batch fails, the new key is not in the database.
#[tokio::test]
async fn a_key_of_a_failed_batch_seals_nothing() {
    let mut store = TestStore::new().await;
    store.writer.state.options.seals_per_key = 1;
    let record = |jti: &str| TokenRecord::unseen(jti, None);
    store.writer.conn.run(FAILING_COMMITS).await.unwrap();
    let mut batch = store.writer.begin().await.unwrap();
    batch.register_token(&record("lost")).await.unwrap();
    assert!(batch.commit().await.is_err());
    store.writer.state.options.seals_per_key = SEALS_PER_KEY;
    let mut batch = store.writer.begin().await.unwrap();
    batch.register_token(&record("kept")).await.unwrap();
    batch.commit().await.unwrap();
    let reader = store.reader().await;
    let tokens = reader.tokens().await.unwrap();
    assert_eq!(tokens.iter().map(|token| &*token.jti).collect::<Vec<_>>(), ["kept"]);
}

/// A vault to delete, with keys, a sealed name and a chunk of a file.
struct DeletedVault {
    vault: VaultId,
    blobs: Vec<Vec<u8>>,
    dir: PathBuf,
}

impl DeletedVault {
    async fn new(store: &mut TestStore) -> Self {
        let vault = store.create_vault("apps").await.unwrap();
        store.put(vault, CHUNK_BYTES).await.unwrap();
        let blobs: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT wrapped FROM vault_keys WHERE vault_id <> '' UNION ALL SELECT sealed FROM vaults
             UNION ALL SELECT sealed FROM file_chunks",
        )
        .fetch_all(&mut store.writer.conn)
        .await
        .unwrap();
        let deleted = Self {
            vault,
            blobs,
            dir: store.dir.path().to_owned(),
        };
        assert_eq!(deleted.count_on_disk(), 4, "the search finds nothing");
        deleted
    }

    /// How many of the vault's sealed values are in the database's file or in its write-ahead log.
    fn count_on_disk(&self) -> usize {
        let file = |suffix: &str| std::fs::read(self.dir.join(format!("{DATABASE_FILE}{suffix}"))).unwrap();
        let bytes = [file(""), file("-wal")].concat();
        // A sealed value may be spread over pages. Its first bytes, a key's id and a random nonce, identify it.
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
async fn wiping_removes_a_deleted_vault_from_database_and_log() {
    let mut store = TestStore::new().await;
    // A reader that stays keeps SQLite from removing the log.
    let reader = store.reader().await;
    let deleted = DeletedVault::new(&mut store).await;
    deleted.delete(&mut store.writer).await;
    assert!(store.writer.wipe_deleted(Duration::from_secs(1)).await.unwrap());
    assert_eq!(deleted.count_on_disk(), 0);
    reader.close().await;
}

#[tokio::test]
async fn a_new_writer_wipes_a_vault_deleted_before_a_crash() {
    let mut store = TestStore::new().await;
    let reader = store.reader().await;
    let deleted = DeletedVault::new(&mut store).await;
    deleted.delete(&mut store.writer).await;
    let TestStore { dir, keys, writer } = store;
    drop(writer);
    assert!(deleted.count_on_disk() > 0, "nothing was left to wipe");
    let mut writer = Writer::open(
        &Database::Sqlite(dir.path().into()),
        keys.kek(),
        WriterOptions::default(),
    )
    .await
    .unwrap();
    assert!(writer.wipe_deleted(Duration::from_secs(1)).await.unwrap());
    assert_eq!(deleted.count_on_disk(), 0);
    // The writer after that has nothing to wipe.
    drop(writer);
    let writer = Writer::open(
        &Database::Sqlite(dir.path().into()),
        keys.kek(),
        WriterOptions::default(),
    )
    .await
    .unwrap();
    assert!(!writer.state.has_remains);
    reader.close().await;
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn the_log_is_truncated_after_a_long_read() {
    let mut store = TestStore::new().await;
    let vault = store.create_vault("apps").await.unwrap();
    let log = store.dir.path().join(format!("{DATABASE_FILE}-wal"));
    let mut other = sqlite::connect_writer(&store.dir.path().join(DATABASE_FILE))
        .await
        .unwrap();
    other.run("BEGIN").await.unwrap();
    sqlx::query("SELECT * FROM vaults").fetch_all(&mut other).await.unwrap();
    sqlx::query("INSERT INTO file_chunks (content_id, n, sealed) VALUES ('large', 0, randomblob(9000000))")
        .execute(&mut store.writer.conn)
        .await
        .unwrap();
    let most = log.metadata().unwrap().len();
    other.run("ROLLBACK").await.unwrap();
    for _ in 0..3 {
        store.put(vault, CHUNK_BYTES).await.unwrap();
    }
    let now = log.metadata().unwrap().len();
    assert!(most > 9_000_000 && now <= 8 << 20, "{most} then {now}");
}

#[tokio::test]
async fn other_users_can_neither_lock_nor_list_the_data_directory() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(".op/data");
    let (keys, _) = Credentials::generate();
    let writer = Writer::open(&Database::Sqlite(dir.clone()), keys.kek(), WriterOptions::default())
        .await
        .unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&root.path().join(".op"))), (0o700, 0o700));
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    writer.close().await.unwrap();
    // The mode of an existing lock file is corrected.
    std::fs::set_permissions(dir.join("writer.lock"), Permissions::from_mode(0o644)).unwrap();
    let _writer = Writer::open(&Database::Sqlite(dir.clone()), keys.kek(), WriterOptions::default())
        .await
        .unwrap();
    assert_eq!(mode(&dir.join("writer.lock")), 0o600);
}

#[tokio::test]
async fn after_a_rotation_of_the_root_key_nothing_on_disk_opens_with_the_old_one() {
    let mut store = TestStore::new().await;
    let vault = store.create_vault("apps").await.unwrap();
    // A reader that stays keeps SQLite from removing the log.
    let reader = store.reader().await;
    let TestStore { dir, keys: old, writer } = store;
    drop(writer);
    let mut both = old.clone();
    assert!(both.rotate_root());
    let mut new = both.clone();
    assert!(new.finish_root());
    let database = Database::Sqlite(dir.path().into());
    let wrapped = async || -> Vec<Vec<u8>> {
        let mut conn = database.connect_writer().await.unwrap();
        let blobs = sqlx::query_scalar("SELECT wrapped FROM vault_keys")
            .fetch_all(&mut conn)
            .await;
        conn.close().await.unwrap();
        blobs.unwrap()
    };
    let opens = async |keys: &Credentials| {
        let reader = Reader::open(&database, keys.kek(), ReaderOptions::default()).await?;
        reader.catch_up().await?;
        let is_there = reader.snapshot().await?.vault(vault).is_some();
        reader.close().await;
        Ok::<bool, StoreError>(is_there)
    };
    let retired = wrapped().await;
    let writer = Writer::open(&database, both.kek(), WriterOptions::default())
        .await
        .unwrap();
    for keys in [&old, &both, &new] {
        assert!(opens(keys).await.unwrap());
    }
    drop(writer);
    // The file from before: a writer that starts with it again, by mistake or because it was not updated yet, spoils nothing.
    let writer = Writer::open(&database, old.kek(), WriterOptions::default())
        .await
        .unwrap();
    assert!(opens(&new).await.unwrap());
    drop(writer);
    let introduced = wrapped().await;
    let mut writer = Writer::open(&database, new.kek(), WriterOptions::default())
        .await
        .unwrap();
    assert!(opens(&new).await.unwrap());
    assert!(matches!(opens(&old).await, Err(StoreError::WrongKeys(_))));
    assert!(writer.wipe_deleted(Duration::from_secs(1)).await.unwrap());
    let file = |suffix: &str| std::fs::read(dir.path().join(format!("{DATABASE_FILE}{suffix}"))).unwrap();
    let bytes = [file(""), file("-wal")].concat();
    for blob in retired.iter().chain(&introduced) {
        assert!(
            !contains(&bytes, &blob[..30]),
            "a key that the old root key unwraps is still on disk"
        );
        assert!(!contains(&bytes, &blob[blob.len() - 30..]));
    }
    reader.close().await;
}
