//! Random histories of a tree, after each step of which every name is looked up: a title stays, and a look-up never begins to mean
//! another item because a file was added.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use sidevault_model::filter::fold;
use sidevault_model::{ItemId, VaultId, tree_path};

use super::model_tests::{TestSource, block_on, memory};

/// Paths of which several have one stem, one folded form, or one path below the directory of their vault.
const PATHS: [&str; 11] = [
    "media/db.yaml",
    "media/db.sops.yaml",
    "media/DB.yml",
    "media/db-2.yaml",
    "media/plex/db.yaml",
    "media/plex/secret.yaml",
    "media/x/plex/secret.yaml",
    "media/media/secret.yaml",
    "media/secret.yaml",
    "media/media/plex/db.yaml",
    "media/tls.crt",
];

/// Contents that give an item the title of its path, two items, or the title of another file's path.
const CONTENTS: [&str; 5] = [
    "k: v\n",
    "k: v\n---\nk: w\n",
    "{apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {k: v}}\n",
    "{apiVersion: v1, kind: Secret, metadata: {name: plex/db}, stringData: {k: v}}\n",
    "{apiVersion: v1, kind: Secret, metadata: {name: media/secret}, stringData: {k: v}}\n",
];

/// The names that are looked up, besides the paths.
const NAMES: [&str; 10] = [
    "db",
    "db-2",
    "secret",
    "plex/db",
    "plex/db.yaml",
    "plex/secret",
    "media/secret",
    "media/db",
    "media/db-2",
    "tls",
];

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Remove(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..PATHS.len(), 0..CONTENTS.len()).prop_map(|(path, content)| Step::Write(path, content)),
        3 => (0..PATHS.len()).prop_map(Step::Remove),
        1 => Just(Step::Restart),
    ]
}

/// What the names mean at one time.
#[derive(Default)]
struct Meanings {
    titles: BTreeMap<ItemId, String>,
    by_name: BTreeMap<&'static str, BTreeSet<ItemId>>,
}

async fn meanings(source: &TestSource, vault: VaultId) -> Meanings {
    let mut now = Meanings::default();
    let snapshot = source.reader.snapshot().await.unwrap();
    for summary in source.reader.summaries(vault, None, 1000).await.unwrap().0 {
        let item: serde_json::Value = serde_json::from_slice(&summary.json).unwrap();
        now.titles
            .insert(summary.id, item["title"].as_str().unwrap().to_owned());
    }
    for name in NAMES.into_iter().chain(PATHS) {
        let found = source.reader.items_named(&snapshot, vault, name).await.unwrap();
        now.by_name
            .insert(name, found.iter().map(|summary| summary.id).collect());
    }
    now
}

async fn check(history: &[Step]) -> Result<(), TestCaseError> {
    let home = memory();
    let mut source = TestSource::new(home.path()).await;
    let vault = source.vault("media");
    let mut before = Meanings::default();
    let mut contents: BTreeMap<usize, usize> = BTreeMap::new();
    for step in history {
        let added = match step {
            Step::Write(path, content) => {
                let file = source.root.join(PATHS[*path]);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, CONTENTS[*content]).unwrap();
                contents.insert(*path, *content).is_none()
            }
            Step::Remove(path) => {
                fs::remove_file(source.root.join(PATHS[*path])).ok();
                contents.remove(path);
                false
            }
            Step::Restart => {
                source.restart();
                true
            }
        };
        source.scan().await;
        if contents.is_empty() {
            // The scanner takes an empty tree for one that is not mounted.
            before = Meanings::default();
            continue;
        }
        let now = meanings(&source, vault).await;
        for (path, content) in &contents {
            let id = source.ids.item(vault, PATHS[*path]);
            prop_assert!(*content > 1 || now.titles.contains_key(&id));
            for form in [PATHS[*path].to_owned(), tree_path::comparable(PATHS[*path])] {
                let found = &now.by_name.get(form.as_str());
                let known = *content > 1 || found.is_none_or(|found| found.contains(&id));
                prop_assert!(known, "{} does not find its item: {:?}", form, found);
            }
        }
        for (id, title) in &before.titles {
            prop_assert!(!added || now.titles.get(id) == Some(title), "{:?}", history);
        }
        for (name, found) in before.by_name.iter().filter(|(_, found)| added && found.len() == 1) {
            let only = found.first().unwrap();
            let title = &before.titles[only];
            // As in Connect, the exact title wins over one that differs in case.
            if fold(title) != fold(name) || title == name {
                let still = now.by_name[name].contains(only);
                prop_assert!(still, "{} meant {}: {:?}", name, title, history);
            }
        }
        before = now;
    }
    Ok(())
}

#[test]
fn a_file_whose_title_is_the_path_of_another_takes_no_look_up_from_it() {
    let history = [Step::Write(4, 0), Step::Write(0, 3), Step::Restart];
    block_on(check(&history)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_look_up_never_begins_to_mean_another_item_because_a_file_was_added(
        history in prop::collection::vec(step(), 2..14)
    ) {
        block_on(check(&history))?;
    }
}

/// The titles of all items, by the vault's folded name.
async fn titles(source: &TestSource, vault: &str) -> Vec<String> {
    let mut titles: Vec<String> = meanings(source, source.vault(vault))
        .await
        .titles
        .into_values()
        .collect();
    titles.sort_unstable();
    titles
}

#[test]
fn a_folder_file_chooses_vault_title_and_tags_and_its_changes_are_followed() {
    block_on(async {
        let home = memory();
        let mut source = TestSource::new(home.path()).await;
        let write = |source: &TestSource, file: &str, text: &str| {
            let path = source.root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(&source, "apps/plex/secret.yaml", "token: t\n");
        write(&source, "apps/plex/old.yaml", "token: t\n");
        write(&source, "apps/radarr/db.yaml", "token: t\n");
        source.scan().await;
        assert_eq!(titles(&source, "apps").await, ["db", "old", "plex/secret"]);
        let plex = "vault: Media\nignore: [old.yaml]\ntags: [tv]\nfiles: {secret.yaml: {title: Plex, fields: {token: STRING}}}\n";
        write(&source, "apps/plex/.sidevault.yaml", plex);
        source.scan().await;
        assert_eq!(titles(&source, "apps").await, ["db"]);
        assert_eq!(titles(&source, "media").await, ["Plex"]);
        let snapshot = source.reader.snapshot().await.unwrap();
        let (vault, id) = (
            source.vault("media"),
            source.ids.item(source.vault("media"), "apps/plex/secret.yaml"),
        );
        let item = source.reader.item(&snapshot, vault, id).await.unwrap().unwrap();
        let item: serde_json::Value = serde_json::from_slice(item.json()).unwrap();
        assert_eq!(
            (&item["tags"], &item["fields"][0]["type"]),
            (&serde_json::json!(["tv"]), &"STRING".into())
        );
        // An error deletes nothing, also right after a restart.
        write(&source, "apps/plex/.sidevault.yaml", "vault: [\n");
        fs::remove_file(source.root.join("apps/radarr/db.yaml")).unwrap();
        write(&source, "apps/sonarr/db.yaml", "token: t\n");
        for _ in 0..2 {
            source.scan().await;
            assert_eq!(titles(&source, "media").await, ["Plex"]);
            assert_eq!(titles(&source, "apps").await, ["db", "db"]);
            source.restart();
        }
        write(&source, "apps/plex/.sidevault.yaml", &plex.replace("Plex", "Films"));
        source.scan().await;
        assert_eq!(titles(&source, "media").await, ["Films"]);
        assert_eq!(titles(&source, "apps").await, ["db"]);
        fs::remove_file(source.root.join("apps/plex/.sidevault.yaml")).unwrap();
        source.scan().await;
        assert!(titles(&source, "media").await.is_empty());
        assert_eq!(titles(&source, "apps").await, ["db", "old", "plex/secret"]);
    });
}
