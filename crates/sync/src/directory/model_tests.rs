//! Plays random histories of a tree against a simple model of the items that should be served.
//!
//! After each step the source is scanned, and the items in the store are compared with those of the model. The model walks
//! the tree anew each time, with the standard library and full paths. It has no stamps, digests, descriptors, origins or
//! results of earlier scans, only the items that were served before.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use sidevault_keys::{Credentials, IdKey};
use sidevault_model::{ItemId, VaultId, filter};
use sidevault_store::{Database, Reader, ReaderOptions, Writer, WriterOptions};
use tempfile::TempDir;
use tokio::sync::watch;
use unicode_normalization::UnicodeNormalization;

use super::scanner::{DirectoryScanner, Next, SharedSealedFiles, SourceContext};
use crate::config::DirectorySource;
use crate::disk::disk_of;
use crate::low_disk::LowDisk;
use crate::metrics::Metrics;
use crate::queue::{self, Queue, WriterContext};
use crate::status::Status;

/// Pairs of directories that are one vault: by case, by the Kelvin sign, which folds to `k`, and by normalisation.
const DIRECTORIES: [&str; 7] = ["", "Prod", "prod", "K8s", "\u{212a}8s", "\u{e9}", "e\u{301}"];
const FILES: [&str; 6] = [
    "a.yaml",
    "A.yaml",
    "\u{e9}.yaml",
    "e\u{301}.yaml",
    "sub/b.yaml",
    "\u{fffd}.yaml",
];
const TARGETS: [&str; 9] = [
    "a.yaml",
    "../prod/a.yaml",
    "../Prod/sub/b.yaml",
    "../../outside.yaml",
    ".hidden.yaml",
    "/etc/hostname",
    "nowhere",
    ".",
    "sub",
];

#[derive(Clone, Debug)]
enum Step {
    /// Writes a file in place.
    Write(PathBuf, String),
    /// Writes a file beside the path and renames it onto the path.
    Replace(PathBuf, String),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Link(PathBuf, &'static str),
    Fifo(PathBuf),
    /// Replaces a file by a directory with a file in it.
    Directory(PathBuf),
    /// Takes all permissions away, or gives them back.
    Allow(PathBuf, bool),
    /// Restarts sync: the records of earlier scans are lost, the store is kept.
    Restart,
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name = prop_oneof![
        8 => prop::sample::select(&FILES[..]).prop_map(PathBuf::from),
        1 => Just(PathBuf::from("sub")),
        1 => prop::sample::select(vec![b"\xff.yaml", b"\xfe.yaml"])
            .prop_map(|name| PathBuf::from(OsString::from_vec(name.to_vec()))),
    ];
    let few = prop::sample::select(vec![
        "Prod/a.yaml",
        "prod/a.yaml",
        "prod/\u{e9}.yaml",
        "prod/e\u{301}.yaml",
    ]);
    prop_oneof![
        // Most steps use few paths, so that they meet files of earlier steps.
        12 => few.prop_map(PathBuf::from),
        6 => (prop::sample::select(&DIRECTORIES[..]), name).prop_map(|(dir, name)| Path::new(dir).join(name)),
        1 => prop::sample::select(&DIRECTORIES[1..]).prop_map(PathBuf::from),
    ]
}

/// Contents of equal length, so that only its times show that a file changed; or broken YAML.
fn content() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => (0..9).prop_map(|n| format!("k: v{n}\n")),
        1 => Just("k: [\n".to_owned()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (path(), content()).prop_map(|(path, content)| Step::Write(path, content)),
        6 => (path(), content()).prop_map(|(path, content)| Step::Replace(path, content)),
        4 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => path().prop_map(Step::Remove),
        4 => (path(), prop::sample::select(&TARGETS[..])).prop_map(|(path, to)| Step::Link(path, to)),
        1 => path().prop_map(Step::Fifo),
        2 => path().prop_map(Step::Directory),
        3 => (path(), any::<bool>()).prop_map(|(path, allowed)| Step::Allow(path, allowed)),
        2 => Just(Step::Restart),
    ]
}

impl Step {
    /// Carries out the step. A step on a path that does not exist does nothing.
    fn take(&self, root: &Path) {
        let at = |path: &PathBuf| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).ok();
            path
        };
        let clear = |path: &PathBuf| {
            let path = at(path);
            fs::remove_file(&path).ok();
            path
        };
        // A step that can't be carried out changes nothing, which the model sees as well.
        let _ = match self {
            // Not through a link: that would write to another file.
            Self::Write(path, content) if !at(path).is_symlink() && !is_fifo(&at(path)) => fs::write(at(path), content),
            Self::Write(path, content) | Self::Replace(path, content) => {
                let path = at(path);
                let beside = path.with_file_name(".new");
                fs::write(&beside, content).and_then(|()| fs::rename(beside, path))
            }
            Self::Rename(from, to) => fs::rename(root.join(from), at(to)),
            Self::Remove(path) => fs::remove_file(root.join(path)).or_else(|_| fs::remove_dir_all(root.join(path))),
            Self::Link(path, to) => symlink(to, clear(path)),
            Self::Fifo(path) => {
                let fifo = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, clear(path), fifo, 0o600.into(), 0).map_err(Into::into)
            }
            Self::Directory(path) => {
                let path = clear(path);
                fs::create_dir_all(&path).and_then(|()| fs::write(path.join("in.yaml"), "k: v1\n"))
            }
            Self::Allow(path, allowed) if !root.join(path).is_symlink() => {
                let mode = if *allowed { 0o700 } else { 0 };
                fs::set_permissions(root.join(path), Permissions::from_mode(mode))
            }
            Self::Allow(..) | Self::Restart => Ok(()),
        };
    }
}

fn is_fifo(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// The items that should be served: the value of each, by the vault's folded name and the file's path in composed form.
#[derive(Default)]
struct Model {
    served: BTreeMap<(String, String), String>,
    /// Whether the whole tree could be listed since sync was started. Until then, a directory that can't be listed may have a
    /// `.sidevault.yaml` that gives its files any vault.
    was_listed: bool,
}

/// The result of a walk over the tree.
#[derive(Default)]
struct WalkedTree {
    /// The paths as the file system has them, by vault and path in composed form.
    files: BTreeMap<(String, String), BTreeSet<(bool, PathBuf)>>,
    refused: BTreeSet<(String, String)>,
    unlisted: BTreeSet<String>,
}

impl Model {
    fn scan(&mut self, root: &Path) {
        let mut seen = WalkedTree::default();
        seen.walk(root, root);
        for (key, paths) in &seen.files {
            let (_, path) = paths.first().unwrap();
            let read = fs::read_to_string(path);
            if !key.1.ends_with(".yaml") && read.is_ok() {
                self.served.insert(key.clone(), String::new());
            } else if let Ok(text) = read
                && let Some(value) = text.strip_prefix("k: ").filter(|value| !value.starts_with('['))
            {
                self.served.insert(key.clone(), value.trim_end().to_owned());
            }
        }
        self.was_listed |= seen.unlisted.is_empty();
        if !seen.files.is_empty() && self.was_listed {
            self.served.retain(|key, _| {
                seen.files.contains_key(key) || seen.refused.contains(key) || seen.unlisted.contains(&key.0)
            });
        }
    }
}

impl WalkedTree {
    fn walk(&mut self, root: &Path, dir: &Path) {
        let parts = |path: &Path| -> Vec<String> {
            let below = path.strip_prefix(root).unwrap();
            below
                .iter()
                .map(|part| part.to_str().unwrap().nfc().collect())
                .collect()
        };
        let vault_of = |parts: &[String]| filter::fold(parts.first().map_or("tree", String::as_str));
        // A directory that may be listed but not entered counts as unreadable.
        let entries = fs::read_dir(dir).and_then(|mut entries| {
            entries.try_for_each(|entry| fs::symlink_metadata(entry?.path()).map(drop))?;
            fs::read_dir(dir)
        });
        let Ok(entries) = entries else {
            self.unlisted.insert(vault_of(&parts(dir)));
            return;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let Some(name) = path.file_name().unwrap().to_str() else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let key = (vault_of(&parts(dir)), parts(&path).join("/"));
            if kind.is_dir() {
                self.walk(root, &path);
            } else if kind.is_file() || kind.is_symlink() && leads_to_file(root, &path) == Some(true) {
                let decomposed = path.strip_prefix(root).unwrap() != Path::new(&key.1);
                self.files.entry(key).or_default().insert((decomposed, path));
            } else if !kind.is_symlink() || leads_to_file(root, &path).is_none() {
                self.refused.insert(key);
            }
        }
    }
}

/// Whether a link leads to a file rather than a directory; `None` if it must not be followed.
fn leads_to_file(root: &Path, link: &Path) -> Option<bool> {
    let root = root.canonicalize().unwrap();
    let target = link.canonicalize().ok()?;
    let below = target.strip_prefix(&root).ok()?;
    let hidden = below.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
    let metadata = fs::metadata(&target).ok()?;
    (!hidden && (metadata.is_file() || metadata.is_dir())).then(|| metadata.is_file())
}

/// A source with a store of its own.
pub(super) struct TestSource {
    pub(super) root: PathBuf,
    pub(super) ids: IdKey,
    queue: Queue,
    pub(super) reader: Reader,
    source: DirectoryScanner,
}

impl TestSource {
    pub(super) async fn new(home: &Path) -> Self {
        let (root, data) = (home.join("tree"), home.join("data"));
        fs::create_dir(&root).unwrap();
        fs::write(home.join("outside.yaml"), "k: out\n").unwrap();
        for dir in DIRECTORIES {
            fs::create_dir_all(root.join(dir)).unwrap();
            fs::write(root.join(dir).join(".hidden.yaml"), "k: hid\n").unwrap();
        }
        let credentials = Credentials::from_seed(&[7; 32]);
        let database = Database::Sqlite(data.clone());
        let writer = Writer::open(&database, credentials.kek(), WriterOptions::default()).await;
        let (disk, metrics) = (disk_of(&database, &data), Arc::new(Metrics::default()));
        let context = WriterContext {
            ids: credentials.id_key(),
            writable_sources: HashSet::new(),
            low_disk: LowDisk::default(),
            status: Arc::new(Status::new(&database, metrics.clone())),
            disk,
            metrics,
            committed: watch::Sender::new(0),
        };
        let (queue, _writer) = queue::start(writer.unwrap(), context);
        let reader = Reader::open(&database, credentials.kek(), ReaderOptions::default()).await;
        Self {
            source: source(&root, &queue, &credentials.id_key()),
            root,
            ids: credentials.id_key(),
            queue,
            reader: reader.unwrap(),
        }
    }

    pub(super) fn restart(&mut self) {
        self.source = source(&self.root, &self.queue, &self.ids);
    }

    pub(super) async fn scan(&mut self) {
        let next = self.source.scan(None).await.unwrap();
        assert!(matches!(next, Next::Wait), "nothing changes during the scan");
    }

    pub(super) fn vault(&self, folded: &str) -> VaultId {
        self.ids.vault(folded)
    }

    /// The values of all items in the store, by vault and id.
    async fn served(&self) -> BTreeMap<(VaultId, ItemId), String> {
        let snapshot = self.reader.snapshot().await.unwrap();
        let mut served = BTreeMap::new();
        for vault in snapshot.vaults().map(|entry| entry.vault.id) {
            for summary in self.reader.summaries(vault, None, 1000).await.unwrap().0 {
                let item = self.reader.item(&snapshot, vault, summary.id).await.unwrap().unwrap();
                let item: serde_json::Value = serde_json::from_slice(item.json()).unwrap();
                // A DOCUMENT has no fields.
                let value = item["fields"][0]["value"].as_str().unwrap_or_default().to_owned();
                served.insert((vault, summary.id), value);
            }
        }
        served
    }

    async fn sequence(&self) -> i64 {
        self.reader.snapshot().await.unwrap().sequence()
    }
}

fn source(root: &Path, queue: &Queue, ids: &IdKey) -> DirectoryScanner {
    let metrics = Arc::new(Metrics::default());
    let context = SourceContext {
        queue: queue.clone(),
        ids: ids.clone(),
        status: Arc::new(Status::new(&Database::Sqlite(root.to_owned()), metrics.clone())),
        metrics,
        sealed: SharedSealedFiles::default(),
        earlier: Vec::new(),
        publisher: None,
    };
    DirectoryScanner::new(DirectorySource::new(root), context)
}

/// Runs `run` without root's right to ignore permissions, on a thread of its own. Threads that it starts have the same
/// rights.
fn without_privileges<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let bound = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, sets).unwrap();
        run()
    };
    std::thread::scope(|scope| {
        scope
            .spawn(bound)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// Histories that failed once, found by the random test or reported.
#[test]
fn known_histories_serve_what_the_model_says() {
    let write = |path: &str, n: u8| Step::Write(path.into(), format!("k: v{n}\n"));
    let histories = [
        // A directory of the same folded name appears and disappears.
        vec![
            write("Prod/a.yaml", 1),
            write("Prod/A.yaml", 2),
            write("prod/a.yaml", 3),
            Step::Remove("prod/a.yaml".into()),
            Step::Restart,
        ],
        // The only directory is renamed in case.
        vec![write("Prod/a.yaml", 1), Step::Rename("Prod".into(), "prod".into())],
        // A file is replaced by a link out of the tree and back.
        vec![
            write("prod/a.yaml", 1),
            write("K8s/a.yaml", 1),
            Step::Link("prod/a.yaml".into(), "../../outside.yaml"),
            Step::Restart,
            write("prod/a.yaml", 2),
        ],
        // sync is restarted while a directory can't be read.
        vec![
            write("prod/sub/b.yaml", 1),
            write("K8s/a.yaml", 1),
            Step::Allow("prod/sub".into(), false),
            Step::Restart,
            write("K8s/a.yaml", 2),
            Step::Allow("prod/sub".into(), true),
            write("prod/sub/b.yaml", 2),
        ],
        // The path in composed form is removed, the decomposed one stays.
        vec![
            write("prod/\u{e9}.yaml", 1),
            write("prod/e\u{301}.yaml", 2),
            Step::Remove("prod/\u{e9}.yaml".into()),
        ],
    ];
    for history in histories {
        check(&history).unwrap();
    }
}

fn check(history: &[Step]) -> Result<(), TestCaseError> {
    let home = memory();
    // The directory itself is removed with all rights.
    without_privileges(|| block_on(check_in(home.path(), history)))
}

/// A directory in memory, if there is a tmpfs, because the store waits for the disk at each commit.
pub(super) fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

async fn check_in(home: &Path, history: &[Step]) -> Result<(), TestCaseError> {
    let mut source = TestSource::new(home).await;
    let mut model = Model::default();
    for (n, step) in history.iter().enumerate() {
        step.take(&source.root);
        if matches!(step, Step::Restart) {
            source.restart();
            model.was_listed = false;
        }
        source.scan().await;
        model.scan(&source.root);
        let wanted: BTreeMap<_, _> = model
            .served
            .iter()
            .map(|((vault, path), value)| {
                let vault = source.vault(vault);
                ((vault, source.ids.item(vault, path)), value.clone())
            })
            .collect();
        prop_assert_eq!(
            source.served().await,
            wanted,
            "after step {} of {:?}: {:?}",
            n,
            history,
            model.served
        );
        // A second scan of the unchanged tree writes nothing.
        let before = source.sequence().await;
        source.scan().await;
        prop_assert_eq!(source.sequence().await, before, "after step {} of {:?}", n, history);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_serve_what_the_model_says(history in prop::collection::vec(step(), 4..20)) {
        check(&history)?;
    }
}
