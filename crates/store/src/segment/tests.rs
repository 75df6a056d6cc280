//! Random histories of a store, of which every state that a segment ends with comes back; and segments that are not what they were.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use sidevault_keys::Credentials;
use sidevault_model::{Edit, File, FileId, Item, ItemId, ItemInput, Timestamp, VaultId};

use super::*;
use crate::sqlite;
use crate::tables::TABLES;
use crate::{
    Database, LOCAL_SOURCE, Manifest, StoreError, TokenRecord, VaultInfo, Writer, WriterOptions, back_up,
    check_backup_with_keys,
};

struct Store {
    dir: tempfile::TempDir,
    keys: Credentials,
    writer: Writer,
    items: Vec<Item>,
    rng: StdRng,
}

const VAULTS: [&str; 3] = ["apps", "other", "more"];

fn input(text: &str) -> ItemInput {
    let fields = serde_json::json!([{ "id": "v", "type": "CONCEALED", "value": text }]);
    let body = serde_json::json!({ "title": format!("item {text}"), "category": "LOGIN", "fields": fields });
    ItemInput::from_json(body.to_string().as_bytes()).unwrap()
}

fn edit(rng: &mut StdRng) -> Edit<'_> {
    Edit {
        now: Timestamp::now(),
        by: "TEST",
        rng,
    }
}

impl Store {
    async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (keys, _) = Credentials::generate();
        let writer = Writer::open(&Database::Sqlite(dir.path().join("data")), keys.kek(), options())
            .await
            .unwrap();
        let mut store = Self {
            dir,
            keys,
            writer,
            items: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
        };
        for name in VAULTS {
            store.create_vault(name).await;
        }
        store
    }

    fn database(&self) -> Database {
        Database::Sqlite(self.dir.path().join("data"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn vault(&self, name: &str) -> VaultId {
        self.keys.id_key().vault(name)
    }

    async fn create_vault(&mut self, name: &str) {
        let info = VaultInfo {
            id: self.vault(name),
            name: name.into(),
            source: LOCAL_SOURCE.into(),
        };
        let mut batch = self.writer.begin().await.unwrap();
        batch.create_vault(info, None, Timestamp::now()).await.unwrap();
        batch.commit().await.unwrap();
    }

    /// A random write.
    async fn write(&mut self, n: usize) {
        let name = VAULTS[self.rng.random_range(0..VAULTS.len())];
        let vault = self.vault(name);
        let choice = if self.items.is_empty() {
            0
        } else {
            self.rng.random_range(0..14)
        };
        let at = if self.items.is_empty() {
            0
        } else {
            self.rng.random_range(0..self.items.len())
        };
        let mut batch = self.writer.begin().await.unwrap();
        match choice {
            0..3 => {
                let mut item =
                    Item::create(input(&n.to_string()), vault, ItemId::random(), &mut edit(&mut self.rng)).unwrap();
                if self.rng.random_bool(0.4) {
                    let content = FileId::random();
                    for chunk in 0..2 {
                        batch.put_chunk(vault, content, chunk, &[n as u8; 100]).await.unwrap();
                    }
                    let file = File::new(vault, item.id, FileId::random(), "a.bin", 200);
                    item.files = vec![file.with_content(content)];
                }
                batch.insert_item(&item, None).await.unwrap();
                self.items.push(item);
            }
            3..8 => {
                let old = self.items[at].clone();
                let mut new = old.replace(input(&n.to_string()), &mut edit(&mut self.rng)).unwrap();
                new.files.clone_from(&old.files);
                if self.rng.random_bool(0.2) {
                    new.files.clear();
                }
                batch.update_item(&old, &new).await.unwrap();
                self.items[at] = new;
            }
            8..10 => {
                let old = self.items.swap_remove(at);
                batch.delete_item(&old).await.unwrap();
            }
            10 => {
                batch
                    .rename_vault(vault, &format!("name {n}"), Timestamp::now())
                    .await
                    .unwrap();
                batch
                    .retire_vault_id(VaultId::from_digest(&[n as u8; 32]), LOCAL_SOURCE)
                    .await
                    .unwrap();
            }
            11 => {
                let record = TokenRecord {
                    jti: format!("token {n}"),
                    name: "ci".into(),
                    vaults: Default::default(),
                    by_name: Default::default(),
                    issued_at: Timestamp::now(),
                    expires_at: None,
                    revoked_at: None,
                };
                batch.register_token(&record).await.unwrap();
                batch.revoke_token("token", None, Timestamp::now()).await.unwrap();
            }
            12 => {
                // The vault comes back with the same id, and other keys.
                batch.delete_vault(vault).await.unwrap();
                self.items.retain(|item| item.vault != vault);
                let info = VaultInfo {
                    id: vault,
                    name: format!("again {n}"),
                    source: LOCAL_SOURCE.into(),
                };
                // Else both have the same time of creation, which only a test can do.
                let later = Timestamp::from_millis(Timestamp::now().as_millis() + n as i64);
                batch.create_vault(info, None, later).await.unwrap();
            }
            _ => {
                batch.rotate_data_keys().await.unwrap();
            }
        }
        batch.commit().await.unwrap();
        if choice == 13 && self.rng.random_bool(0.5) {
            while self.writer.resealing() != crate::Resealing::Idle {
                self.writer.reseal_some().await.unwrap();
            }
        }
    }

    /// The rows of all tables that segments carry, in a copy that was made now. Rows that were sealed anew are other bytes, so only the
    /// columns of keys are compared.
    async fn state(&self) -> State {
        let file = self.path("now.sqlite");
        std::fs::remove_file(&file).ok();
        back_up(&self.database(), &file).await.unwrap();
        state_of(&file).await
    }
}

fn options() -> WriterOptions {
    WriterOptions {
        history: 3,
        ..WriterOptions::default()
    }
}

/// The keys of the rows of each table.
type State = BTreeMap<&'static str, Vec<String>>;

async fn state_of(file: &std::path::Path) -> State {
    let mut conn = sqlite::connect_immutable(file).await.unwrap();
    let mut state = State::new();
    for table in TABLES {
        // A data key that was replaced stays in the chain.
        if ["activity", "vault_keys"].contains(&table.name) {
            continue;
        }
        let mut rows = Vec::new();
        let add = |row: &crate::tables::TableRow| {
            let shown: Vec<String> = row
                .iter()
                .zip(table.columns)
                .filter(|(_, (name, _))| !table.sealed.iter().any(|(sealed, _)| sealed == name))
                .map(|(value, _)| format!("{} {} {:?}", value.as_text(), value.as_number(), value.as_bytes()))
                .collect();
            rows.push(shown.join(" "));
            Ok(())
        };
        table.rows().each(&mut conn, add).await.unwrap();
        state.insert(table.name, rows);
    }
    conn.close().await.unwrap();
    state
}

/// A backup and its segments.
struct Chain {
    backup: PathBuf,
    segments: Vec<PathBuf>,
}

impl Chain {
    async fn begin(store: &Store) -> (Self, SegmentWriter, Link) {
        let backup = store.path("backup.sqlite");
        let manifest: Manifest = back_up(&store.database(), &backup).await.unwrap();
        let mut writer = SegmentWriter::new(&store.database(), manifest.newest_change);
        let mut link = Link {
            backup: "backup.sqlite".to_owned(),
            number: 0,
            previous: manifest.sha256,
        };
        let file = store.path("0.segment");
        writer.write_first(&link, &file).await.unwrap();
        link.previous = sha256(&file);
        link.number = 1;
        let segments = vec![file];
        (Self { backup, segments }, writer, link)
    }

    /// Replays segments. The error has the number of the first that can't be used.
    async fn replay(&self, segments: &[PathBuf], to: &std::path::Path) -> Result<Manifest, (usize, SegmentFault)> {
        let mut assembly = Assembly::begin(&self.backup, to).await.unwrap();
        let mut link = Link {
            backup: "backup.sqlite".to_owned(),
            number: 0,
            previous: assembly.manifest_sha256().to_owned(),
        };
        for (n, segment) in segments.iter().enumerate() {
            assembly.apply(segment, &link).await.map_err(|fault| (n, fault))?;
            link.number += 1;
            link.previous = sha256(segment);
        }
        Ok(assembly.finish().await.unwrap())
    }
}

fn sha256(file: &std::path::Path) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(std::fs::read(file).unwrap()))
}

#[tokio::test]
async fn every_state_that_a_segment_ends_with_comes_back() {
    for seed in 0..4 {
        let mut store = Store::new(seed).await;
        for n in 0..20 {
            store.write(n).await;
        }
        let (mut chain, mut writer, mut link) = Chain::begin(&store).await;
        let mut states = Vec::new();
        for n in 20..90 {
            store.write(n).await;
            if !store.rng.random_bool(0.3) {
                continue;
            }
            let file = store.path(&format!("{}.segment", link.number));
            if writer.write(&link, &file).await.unwrap().is_none() {
                continue;
            }
            // One that did not reach its place is written anew.
            if store.rng.random_bool(0.2) {
                store.write(1000 + n).await;
                writer.write(&link, &file).await.unwrap().unwrap();
            }
            writer.kept();
            link.previous = sha256(&file);
            link.number += 1;
            chain.segments.push(file);
            states.push(store.state().await);
            // As after a restart.
            if store.rng.random_bool(0.3) {
                writer = SegmentWriter::new(&store.database(), writer.through());
            }
        }
        assert!(states.len() > 10);
        for (n, wanted) in states.iter().enumerate().step_by(3) {
            let to = store.path("restored.sqlite");
            chain.replay(&chain.segments[..n + 2], &to).await.unwrap();
            assert_eq!(&state_of(&to).await, wanted, "seed {seed}, segment {}", n + 1);
            check_backup_with_keys(&to, store.keys.kek()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn each_change_of_the_chain_is_named() {
    let mut store = Store::new(9).await;
    let (mut chain, mut writer, mut link) = Chain::begin(&store).await;
    for n in 0..6 {
        store.write(n).await;
        let file = store.path(&format!("{}.segment", link.number));
        writer.write(&link, &file).await.unwrap().unwrap();
        writer.kept();
        link.previous = sha256(&file);
        link.number += 1;
        chain.segments.push(file);
    }
    let to = store.path("restored.sqlite");
    let whole = chain.segments.clone();
    chain.replay(&whole, &to).await.unwrap();
    for dropped in 0..6 {
        let mut segments = whole.clone();
        segments.remove(dropped);
        let (n, fault) = chain.replay(&segments, &to).await.unwrap_err();
        assert!(
            n == dropped && matches!(fault, SegmentFault::Misplaced { .. }),
            "{dropped}: {fault}"
        );
    }
    for swapped in 1..5 {
        let mut segments = whole.clone();
        segments.swap(swapped, swapped + 1);
        let (n, fault) = chain.replay(&segments, &to).await.unwrap_err();
        assert!(
            n == swapped && matches!(fault, SegmentFault::Misplaced { .. }),
            "{swapped}: {fault}"
        );
    }
    let bytes = std::fs::read(&whole[3]).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&whole[3], changed).unwrap();
        let (n, fault) = chain.replay(&whole, &to).await.unwrap_err();
        assert_eq!(n, 3, "{at}: {fault}");
    }
    for length in (0..bytes.len()).step_by(5) {
        std::fs::write(&whole[3], &bytes[..length]).unwrap();
        let (n, fault) = chain.replay(&whole, &to).await.unwrap_err();
        assert!(n == 3 && matches!(fault, SegmentFault::Damaged(_)), "{length}: {fault}");
    }
    std::fs::write(&whole[3], &bytes).unwrap();
    let other = Store::new(10).await;
    let (foreign, ..) = Chain::begin(&other).await;
    let (_, fault) = chain.replay(&foreign.segments, &to).await.unwrap_err();
    assert!(matches!(fault, SegmentFault::Foreign(_)), "{fault}");
}

#[tokio::test]
async fn a_store_whose_log_does_not_reach_back_needs_a_new_backup() {
    let mut store = Store::new(3).await;
    let (_, _, link) = Chain::begin(&store).await;
    store.write(1).await;
    let mut writer = SegmentWriter::new(&store.database(), 17);
    let error = writer.write(&link, &store.path("1.segment")).await.unwrap_err();
    assert!(matches!(error, StoreError::ChangeUnknown(17)), "{error}");
}
