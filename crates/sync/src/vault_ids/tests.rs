//! Plays random histories of vaults and tokens against a model of the vault that the maker of each token meant.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sidevault_keys::{Credentials, Token};
use sidevault_model::Access;
use sidevault_store::{Database, Reader, ReaderOptions, Writer, WriterOptions};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

/// `apps` and `Apps` are one name.
const NAMES: [&str; 4] = ["apps", "Apps", "infra", "legacy"];

#[derive(Clone, Debug)]
enum Step {
    Create(&'static str),
    Rename(&'static str, &'static str),
    Delete(&'static str),
    /// The source `git` gets a directory of this name.
    Directory(&'static str),
    /// All directory sources are removed from the configuration.
    NoDirectories,
    /// sync is restarted.
    Restart,
    /// `token create` on a machine without the store.
    Offline(&'static str),
    /// `token create` on a machine with the store.
    Online(&'static str),
}

/// What a person takes for the same vault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    /// The local vault with this position in the order in which local vaults were made.
    Local(usize),
    /// The directory of this name.
    Directory(String),
}

#[derive(Debug)]
enum Meaning {
    Vault(Identity),
    /// No vault had this name: the token is meant for the first vault that gets it.
    FirstNamed(String),
}

struct World {
    dir: tempfile::TempDir,
    keys: Credentials,
    writer: Option<Writer>,
    reader: Reader,
    /// The vaults that should exist, by id: who they are, and their names.
    vaults: BTreeMap<VaultId, (Identity, String)>,
    /// The vaults that ever had a name, by the name.
    had: BTreeMap<String, BTreeSet<Identity>>,
    renamed: BTreeSet<Identity>,
    tokens: Vec<(Token, Meaning)>,
    made: usize,
}

impl World {
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
        let reader = Reader::open(
            &Database::Sqlite(dir.path().into()),
            keys.kek(),
            ReaderOptions::default(),
        )
        .await
        .unwrap();
        Self {
            dir,
            keys,
            writer: Some(writer),
            reader,
            vaults: BTreeMap::new(),
            had: BTreeMap::new(),
            renamed: BTreeSet::new(),
            tokens: Vec::new(),
            made: 0,
        }
    }

    fn named(&self, name: &str) -> Option<VaultId> {
        let folded = filter::fold(name);
        self.vaults
            .iter()
            .find(|(_, (_, name))| *name == folded)
            .map(|(id, _)| *id)
    }

    /// A vault gets a name. Tokens that were made for the first vault of this name are now meant for it.
    fn gets(&mut self, id: VaultId, identity: Identity, name: &str) {
        let folded = filter::fold(name);
        self.had.entry(folded.clone()).or_default().insert(identity.clone());
        for (_, meaning) in &mut self.tokens {
            if matches!(meaning, Meaning::FirstNamed(name) if *name == folded) {
                *meaning = Meaning::Vault(identity.clone());
            }
        }
        self.vaults.insert(id, (identity, folded));
    }

    async fn step(&mut self, step: &Step) {
        let ids = self.keys.id_key();
        let snapshot = self.reader.snapshot().await.unwrap();
        let mut batch = self.writer.as_mut().unwrap().begin().await.unwrap();
        match *step {
            Step::Create(name) if named(&batch, name).is_none() => {
                let info = create_local(&mut batch, &ids, name, None, NOW).await.unwrap();
                batch.commit().await.unwrap();
                self.made += 1;
                self.gets(info.id, Identity::Local(self.made), name);
            }
            Step::Rename(old, new) => {
                let vault = named(&batch, old).filter(|vault| vault.source == LOCAL_SOURCE).cloned();
                let Some(vault) = vault else { return };
                if named(&batch, new).is_some_and(|other| other.id != vault.id) {
                    return;
                }
                rename_local(&mut batch, &ids, &vault, new, NOW).await.unwrap();
                batch.commit().await.unwrap();
                let (identity, before) = self.vaults[&vault.id].clone();
                if before != filter::fold(new) {
                    self.renamed.insert(identity.clone());
                }
                self.gets(vault.id, identity, new);
            }
            Step::Delete(name) => {
                let vault = named(&batch, name)
                    .filter(|vault| vault.source == LOCAL_SOURCE)
                    .cloned();
                let Some(vault) = vault else { return };
                delete(&mut batch, &ids, &vault).await.unwrap();
                batch.commit().await.unwrap();
                self.vaults.remove(&vault.id);
            }
            Step::Directory(name) => {
                let id = ids.vault(&filter::fold(name));
                let obstacle = claim(&mut batch, "git", id, name, NOW).await.unwrap();
                batch.commit().await.unwrap();
                let identity = Identity::Directory(filter::fold(name));
                let had = self.had.get(&filter::fold(name));
                let is_first = had.is_none_or(|had| had.iter().all(|other| *other == identity));
                assert_eq!(obstacle.is_none(), is_first, "{name}: {obstacle:?}");
                if obstacle.is_none() {
                    self.gets(id, identity, name);
                }
            }
            Step::NoDirectories => {
                let gone: Vec<VaultInfo> = batch.vaults().filter(|v| v.source != LOCAL_SOURCE).cloned().collect();
                for vault in gone {
                    delete(&mut batch, &ids, &vault).await.unwrap();
                    self.vaults.remove(&vault.id);
                }
                batch.commit().await.unwrap();
            }
            Step::Restart => {
                drop(batch);
                self.writer.take().unwrap().close().await.unwrap();
                let opened = Writer::open(
                    &Database::Sqlite(self.dir.path().into()),
                    self.keys.kek(),
                    WriterOptions::default(),
                )
                .await;
                self.writer = Some(opened.unwrap());
            }
            Step::Offline(name) => {
                drop(batch);
                self.issue(name, ids.vault(&filter::fold(name)), true);
            }
            Step::Online(name) => {
                drop(batch);
                let derived = ids.vault(&filter::fold(name));
                match self.named(name) {
                    Some(id) => self.issue(name, id, false),
                    None if snapshot.is_retired(derived) => {}
                    None => self.issue(name, derived, true),
                }
            }
            Step::Create(_) => {}
        }
    }

    fn issue(&mut self, name: &str, id: VaultId, by_name: bool) {
        let meaning = match self.named(name) {
            Some(there) => Meaning::Vault(self.vaults[&there].0.clone()),
            None => Meaning::FirstNamed(filter::fold(name)),
        };
        let token = Token {
            jti: "j".repeat(26),
            name: name.to_owned(),
            kid: String::new(),
            vaults: BTreeMap::from([(id, Access::READ)]),
            by_name: by_name.then_some(id).into_iter().collect(),
            issued_at: NOW,
            expires_at: None,
        };
        self.tokens.push((token, meaning));
    }

    async fn check(&self, steps: &[Step]) {
        let snapshot = self.reader.snapshot().await.unwrap();
        let stored: BTreeSet<VaultId> = snapshot.vaults().map(|entry| entry.vault.id).collect();
        assert!(stored.iter().eq(self.vaults.keys()), "{steps:?}");
        for (token, meaning) in &self.tokens {
            for (id, (identity, name)) in &self.vaults {
                let opens = snapshot.access(token, *id).is_some();
                let is_meant = matches!(meaning, Meaning::Vault(meant) if meant == identity);
                assert!(
                    is_meant || !opens,
                    "{token:?} opens {identity:?} but means {meaning:?}: {steps:?}"
                );
                // A token opens the vault that it is meant for: always if it has the vault's id, and if it was made by
                // name, as long as no other vault ever had the name.
                let has_id = token.vaults.contains_key(id) && token.by_name.is_empty();
                let is_only = self.had[name].len() == 1 && !self.renamed.contains(identity);
                if is_meant && (has_id || is_only) {
                    assert!(opens, "{token:?} does not open {identity:?}: {steps:?}");
                }
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || prop::sample::select(&NAMES[..]);
    let step = prop_oneof![
        3 => name().prop_map(Step::Create),
        3 => (name(), name()).prop_map(|(old, new)| Step::Rename(old, new)),
        2 => name().prop_map(Step::Delete),
        2 => name().prop_map(Step::Directory),
        1 => Just(Step::NoDirectories),
        1 => Just(Step::Restart),
        3 => name().prop_map(Step::Offline),
        3 => name().prop_map(Step::Online),
    ];
    prop::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_token_opens_another_vault_than_its_maker_meant(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for (n, step) in steps.iter().enumerate() {
                world.step(step).await;
                world.check(&steps[..=n]).await;
            }
            world.reader.close().await;
        });
    }
}
