//! A directory that always holds the tree of one commit, and follows a branch or tag.
//!
//! ```text
//! DIR/objects/            what was fetched, as Git packs it
//! DIR/trees/NAME/         the files of a commit
//! DIR/trees/NAME.json     which commit that is
//! DIR/current             a symbolic link to trees/NAME, which is replaced by a rename
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gix_hash::{Kind, ObjectId};
use gix_transport::Protocol;
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::checkout::{Checkout, Limits};
use crate::error::GitError;
use crate::fetch::{Connected, Tip};
use crate::http::{Requests, client};
use crate::objects::peel;
use crate::programs;
use crate::remote::Remote;
use crate::session::Session;
use crate::streams;
use crate::verify::verify;

const OBJECTS: &str = "objects";
const TREES: &str = "trees";
const CURRENT: &str = "current";
/// After so many fetches, everything is fetched anew, so that objects that no commit needs any more are removed.
const MAX_PACKS: usize = 30;

/// What a mirror follows, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the repository is.
    pub remote: Remote,
    /// A branch, a tag, the full name of a ref, `HEAD`, or the id of a commit.
    pub reference: String,
    /// The directory of the tree that is written; empty for the whole tree.
    pub path: String,
    /// The credentials.
    pub auth: Auth,
    /// Certificate authorities to trust besides Mozilla's, in PEM.
    pub authorities_file: Option<PathBuf>,
    /// If set, only commits that are signed with a key of this file are served.
    pub allowed_signers_file: Option<PathBuf>,
    /// The most that is fetched and written.
    pub limits: Limits,
}

/// A commit that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
    /// Who signed it, if that was checked.
    pub signed_by: Option<String>,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What is served now.
    pub commit: Commit,
    /// Whether it is another commit than before.
    pub is_new: bool,
    /// What the tree has that is not served, each with the reason. Empty if the commit is not new.
    pub left_out: Vec<(String, &'static str)>,
}

/// A tree on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Served {
    /// What the settings were. A tree of other settings is not served.
    of: String,
    /// The commit, or the annotated tag.
    tip: String,
    commit: Commit,
    #[serde(skip)]
    name: String,
}

/// A directory that follows a branch or tag.
#[derive(Debug)]
pub struct Mirror {
    dir: PathBuf,
    settings: Arc<Settings>,
    served: Option<Served>,
}

impl Mirror {
    /// Opens or makes the directory. The commit that was served before is served again.
    ///
    /// # Errors
    /// If the directory can't be made or read.
    pub fn open(dir: PathBuf, settings: Settings) -> io::Result<Self> {
        let mut maker = fs::DirBuilder::new();
        maker.recursive(true).mode(0o700);
        maker.create(dir.join(TREES))?;
        maker.create(dir.join(OBJECTS).join("pack"))?;
        let served = served(&dir).filter(|served| served.of == identity(&settings));
        if served.is_none() {
            // The tree of another repository must not be served as this one's.
            remove_if_there(fs::remove_file(dir.join(CURRENT)))?;
        }
        Ok(Self {
            dir,
            settings: Arc::new(settings),
            served,
        })
    }

    /// The directory with the files: a symbolic link, which is replaced when there is a new commit. It does not exist
    /// before the first commit.
    pub fn tree(dir: &Path) -> PathBuf {
        dir.join(CURRENT)
    }

    /// What is served.
    pub fn commit(&self) -> Option<&Commit> {
        self.served.as_ref().map(|served| &served.commit)
    }

    /// Asks the remote for its newest commit, and serves it.
    ///
    /// # Errors
    /// If that is not possible. What was served before still is.
    pub async fn check(&mut self, stop: &CancellationToken) -> Result<Checked, GitError> {
        let interrupt = Arc::new(AtomicBool::new(false));
        let check = Check {
            dir: self.dir.clone(),
            settings: self.settings.clone(),
            served: self.served.clone(),
            session: Session::new(stop.clone(), self.settings.limits.fetched),
            interrupt: interrupt.clone(),
        };
        let span = tracing::Span::current();
        let mut work = tokio::task::spawn_blocking(move || span.in_scope(|| check.run()));
        let done = tokio::select! {
            done = &mut work => done,
            () = stop.cancelled() => {
                interrupt.store(true, Ordering::Relaxed);
                work.await
            }
        };
        let (served, checked) =
            done.map_err(|_| GitError::Protocol("the check failed; the log says where".to_owned()))??;
        self.served = Some(served);
        Ok(checked)
    }
}

/// One check, on a thread for blocking calls.
struct Check {
    dir: PathBuf,
    settings: Arc<Settings>,
    served: Option<Served>,
    session: Arc<Session>,
    interrupt: Arc<AtomicBool>,
}

impl Check {
    fn run(self) -> Result<(Served, Checked), GitError> {
        self.remove_old_trees();
        let transport = self.connect()?;
        let mut remote = Connected::new(transport, &self.session)?;
        let tip = remote.tip(&self.settings.reference)?;
        let objects = self.dir.join(OBJECTS);
        if let Some(served) = self.served.clone()
            && ObjectId::from_hex(served.tip.as_bytes()).is_ok_and(|known| known == tip.object)
        {
            return self.unchanged(served, tip, &objects);
        }
        let have = self.have(&objects)?;
        let fetched = remote.fetch(tip, have, &objects, &self.interrupt);
        drop(remote);
        if let Err(error) = fetched {
            // The objects of this machine may be damaged, so the next check fetches all of them.
            if have.is_some() && self.session.fault().is_none() {
                self.empty(&objects)?;
            }
            return Err(error);
        }
        self.serve(tip, &objects)
    }

    /// The commit is served already. Whether its signer is still allowed is checked again.
    fn unchanged(&self, mut served: Served, tip: Tip, objects: &Path) -> Result<(Served, Checked), GitError> {
        if let Some(file) = &self.settings.allowed_signers_file {
            let store = gix_odb::at(objects, Kind::Sha1)?;
            served.commit.signed_by = Some(verify(&peel(&store, tip.object)?, file)?);
        }
        let checked = Checked {
            commit: served.commit.clone(),
            is_new: false,
            left_out: Vec::new(),
        };
        Ok((served, checked))
    }

    /// Writes the tree of a commit that was fetched, and puts it in the place of the one that is served.
    fn serve(&self, tip: Tip, objects: &Path) -> Result<(Served, Checked), GitError> {
        let store = gix_odb::at(objects, Kind::Sha1)?;
        let commit = peel(&store, tip.object)?;
        let signed_by = match &self.settings.allowed_signers_file {
            Some(file) => Some(verify(&commit, file)?),
            None => None,
        };
        let id = commit.id.to_string();
        let mut checkout = Checkout::new(&store, &id, self.settings.limits);
        let tree = checkout.subtree(commit.tree, &self.settings.path)?;
        let name = self.free_name(&id)?;
        let place = self.dir.join(TREES).join(&name);
        if let Err(error) = checkout.write(tree, &place) {
            fs::remove_dir_all(&place).ok();
            return Err(error);
        }
        let served = Served {
            of: identity(&self.settings),
            tip: tip.object.to_string(),
            commit: Commit {
                id: id.clone(),
                time: commit.time,
                signed_by,
            },
            name: name.clone(),
        };
        let text = serde_json::to_vec(&served).map_err(|error| GitError::Disk(error.to_string()))?;
        fs::write(self.dir.join(TREES).join(format!("{name}.json")), text)?;
        self.flush()?;
        let (link, new) = (self.dir.join(CURRENT), self.dir.join(".current"));
        remove_if_there(fs::remove_file(&new))?;
        symlink(Path::new(TREES).join(&name), &new)?;
        fs::rename(&new, &link)?;
        self.flush()?;
        let checked = Checked {
            commit: served.commit.clone(),
            is_new: true,
            left_out: checkout.left_out,
        };
        Ok((served, checked))
    }

    /// Opens a connection with new credentials from the files.
    fn connect(&self) -> Result<Box<dyn Transport>, GitError> {
        let settings = &self.settings;
        match &settings.remote {
            Remote::Http(url) => {
                let client = client(settings.authorities_file.as_deref())?;
                let authorization = settings.auth.header()?;
                let requests = Requests::new(self.session.clone(), client, authorization, settings.auth.to_string());
                let url = gix_url::Url::try_from(url.as_str()).map_err(|error| GitError::Setup(error.to_string()))?;
                Ok(Box::new(http::Transport::new_http(requests, url, Protocol::V2, false)))
            }
            Remote::Daemon { host, port, path } => streams::daemon(&self.session, host, *port, path),
            Remote::File(path) => programs::local(&self.session, path),
            Remote::Ssh { user, host, port, path } => {
                let Auth::Ssh {
                    key_file,
                    known_hosts_file,
                } = &settings.auth
                else {
                    return Err(GitError::Setup(
                        "an SSH URL needs a key file and a file of known hosts".to_owned(),
                    ));
                };
                let target = programs::Ssh {
                    user,
                    host,
                    port: *port,
                    path,
                    key_file,
                    known_hosts_file,
                    scratch: &self.dir,
                };
                programs::ssh(&self.session, &target)
            }
        }
    }

    /// The commit whose objects are there already. When there are many packs, all are removed, and there is none.
    fn have(&self, objects: &Path) -> Result<Option<ObjectId>, GitError> {
        let packs = fs::read_dir(objects.join("pack"))?.count() / 2;
        let commit = self
            .served
            .as_ref()
            .and_then(|served| ObjectId::from_hex(served.commit.id.as_bytes()).ok());
        let known = match commit {
            Some(commit) if packs < MAX_PACKS => {
                let store = gix_odb::at(objects, Kind::Sha1)?;
                gix_object::Exists::exists(&store, &commit).then_some(commit)
            }
            _ => None,
        };
        if known.is_none() {
            self.empty(objects)?;
        }
        Ok(known)
    }

    fn empty(&self, objects: &Path) -> Result<(), GitError> {
        remove_if_there(fs::remove_dir_all(objects))?;
        fs::create_dir_all(objects.join("pack"))?;
        Ok(())
    }

    /// A name for a tree: the commit, and a number if there is a tree of it already.
    fn free_name(&self, commit: &str) -> io::Result<String> {
        let trees = self.dir.join(TREES);
        let short = &commit[..commit.len().min(12)];
        for number in 0..u32::MAX {
            let name = format!("{short}-{number}");
            if !trees.join(&name).try_exists()? {
                return Ok(name);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes every tree but the one that is served. The one before it is left until the next check, because it may still
    /// be read.
    fn remove_old_trees(&self) {
        let kept = self.served.as_ref().map(|served| served.name.as_str());
        for entry in fs::read_dir(self.dir.join(TREES)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if Some(name.strip_suffix(".json").unwrap_or(&name)) == kept {
                continue;
            }
            let path = entry.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "an old tree can't be removed");
            }
        }
    }

    /// Waits until all that was written is on disk.
    fn flush(&self) -> Result<(), GitError> {
        let dir = fs::File::open(&self.dir)?;
        rustix::fs::syncfs(&dir).map_err(|error| GitError::Disk(error.to_string()))
    }
}

/// What a tree is of.
fn identity(settings: &Settings) -> String {
    format!("{} {}", settings.remote, settings.path)
}

/// What the link leads to.
fn served(dir: &Path) -> Option<Served> {
    let target = fs::read_link(dir.join(CURRENT)).ok()?;
    let name = target.file_name()?.to_str()?.to_owned();
    let trees = dir.join(TREES);
    let text = fs::read(trees.join(format!("{name}.json"))).ok()?;
    let served: Served = serde_json::from_slice(&text).ok()?;
    trees.join(&name).is_dir().then_some(Served { name, ..served })
}

fn remove_if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
