//! A directory that always holds the tree of one commit, and follows a branch or tag.
//!
//! ```text
//! DIR/objects/            what was fetched, as Git packs it
//! DIR/trees/NAME/         the files of a commit
//! DIR/trees/NAME.json     which commit that is
//! DIR/current             a symbolic link to trees/NAME, which is replaced by a rename
//! ```
//!
//! A change of the caller's becomes a commit: its tree is written to trees/ like any other, but the link leads there only when
//! the remote has the commit. So a crash leaves nothing that is served and not pushed.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gix_hash::{Kind, ObjectId};
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http;
use gix_transport::{Protocol, Service};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::checkout::{Checkout, Limits, WrittenTree};
use crate::commit::{Committer, Edit, commit};
use crate::error::GitError;
use crate::fetch::{Connected, Tip, store_pack};
use crate::http::{Requests, client};
use crate::objects::peel;
use crate::programs;
use crate::push::{Answer, Receiver};
use crate::remote::Remote;
use crate::session::{Session, TOTAL};
use crate::streams;
use crate::verify::verify;

const OBJECTS: &str = "objects";
const TREES: &str = "trees";
const CURRENT: &str = "current";
/// After so many fetches, everything is fetched anew, so that objects that no commit needs any more are removed.
const MAX_PACKS: usize = 30;
/// How long to wait for the answer to the question whether a commit has arrived after all.
const LAST_QUESTION: Duration = Duration::from_secs(4);

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
    /// How the commits of [`Mirror::push`] are made.
    pub committer: Committer,
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

impl Checked {
    /// What was served before is served again.
    fn again(served: &Served) -> Self {
        Self {
            commit: served.commit.clone(),
            is_new: false,
            left_out: Vec::new(),
        }
    }
}

/// A change of one file, to be pushed.
pub struct Change {
    /// The name of the directory that the change was made of: where the link of [`Mirror::tree`] led then.
    pub tree: String,
    /// The file, by its path in that directory.
    pub path: PathBuf,
    /// Its new content; `None` to remove it.
    pub content: Option<Vec<u8>>,
    /// The commit's message.
    pub message: String,
    /// Is given the directory with the new tree before the commit is pushed, and says whether to push it.
    pub accept: Box<dyn FnOnce(&Path) -> bool + Send>,
}

impl fmt::Debug for Change {
    /// Without the content, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The outcome of a push. No error means that nothing is in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The remote has the commit, and it is served.
    Done(Checked),
    /// Nothing was pushed, because another tree is served than the one that the change was made of.
    Moved(Checked),
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

/// A tree that is written, but not served.
struct Ready {
    served: Served,
    /// What the tree has that is not written, each with the reason.
    left_out: Vec<(String, &'static str)>,
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

    /// The commit that a directory below the one of [`Self::tree`]'s link is of, if it is still there.
    pub fn commit_of(tree: &Path) -> Option<Commit> {
        let (trees, name) = (tree.parent()?, tree.file_name()?.to_str()?);
        read_served(trees, name).map(|served| served.commit)
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
        let (served, checked) = self.work(TOTAL, stop, Check::run).await?;
        self.served = Some(served);
        Ok(checked)
    }

    /// Makes a commit of a change, pushes it to the branch that is followed, and serves it. `deadline` is the time after which
    /// nothing is begun any more; a step that was begun may take some seconds longer.
    ///
    /// # Errors
    /// [`GitError::Unknown`] if the remote did not say whether it took the commit, and [`GitError::NotServed`] if it did, but
    /// the commit can't be served yet. After any other error, the remote does not have the commit. What was served before still is.
    pub async fn push(
        &mut self,
        change: Change,
        deadline: Instant,
        stop: &CancellationToken,
    ) -> Result<Pushed, GitError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(GitError::Setup(
                "the write waited too long behind others to this source, each of which is a push: try again".to_owned(),
            ));
        }
        let (served, pushed) = self.work(left, stop, move |check| check.push(change)).await?;
        self.served = Some(served);
        Ok(pushed)
    }

    /// Runs `work` on a thread for blocking calls.
    async fn work<T: Send + 'static>(
        &self,
        total: Duration,
        stop: &CancellationToken,
        work: impl FnOnce(Check) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let interrupt = Arc::new(AtomicBool::new(false));
        let check = Check {
            dir: self.dir.clone(),
            settings: self.settings.clone(),
            served: self.served.clone(),
            session: Session::new(stop.clone(), self.settings.limits.fetched, total),
            stop: stop.clone(),
            interrupt: interrupt.clone(),
        };
        let span = tracing::Span::current();
        let mut work = tokio::task::spawn_blocking(move || span.in_scope(|| work(check)));
        let done = tokio::select! {
            done = &mut work => done,
            () = stop.cancelled() => {
                interrupt.store(true, Ordering::Relaxed);
                work.await
            }
        };
        done.map_err(|_| GitError::Protocol("the check failed; the log says where".to_owned()))?
    }
}

/// One check or push, on a thread for blocking calls.
struct Check {
    dir: PathBuf,
    settings: Arc<Settings>,
    served: Option<Served>,
    session: Arc<Session>,
    stop: CancellationToken,
    interrupt: Arc<AtomicBool>,
}

impl Check {
    fn run(self) -> Result<(Served, Checked), GitError> {
        self.remove_old_trees();
        let mut remote = self.remote(&self.session)?;
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
        let checked = Checked::again(&served);
        Ok((served, checked))
    }

    /// Makes a commit of a change, pushes and serves it.
    fn push(self, change: Change) -> Result<(Served, Pushed), GitError> {
        let Some(served) = self.served.clone() else {
            return Err(GitError::Setup("no commit is served yet".to_owned()));
        };
        if served.name != change.tree {
            let checked = Checked::again(&served);
            return Ok((served, Pushed::Moved(checked)));
        }
        self.remove_old_trees();
        let branch = branch(&self.settings.reference);
        let transport = self.connect(Service::ReceivePack, &self.session)?;
        let receiver = Receiver::new(transport, &branch, &self.session)?;
        let tip = receiver.tip;
        if tip != served.tip {
            drop(receiver);
            return self.run().map(|(served, checked)| (served, Pushed::Moved(checked)));
        }
        let objects = self.dir.join(OBJECTS);
        if self.have(&objects)?.is_none() {
            let tip = Tip { object: tip };
            self.remote(&self.session)?
                .fetch(tip, None, &objects, &self.interrupt)?;
        }
        let store = gix_odb::at(&objects, Kind::Sha1)?;
        let edit = Edit {
            parent: tip,
            tree: peel(&store, tip)?.tree,
            path: &Path::new(self.settings.path.trim_matches('/')).join(&change.path),
            content: change.content.as_deref(),
            message: &change.message,
            time: Timestamp::now().as_second(),
        };
        let new = commit(&store, &edit, &self.settings.committer)?;
        store_pack(&mut new.pack.as_slice(), None, &objects, &self.interrupt).map_err(GitError::Disk)?;
        let ready = match self.prepare(Tip { object: new.id }, &objects) {
            Ok(ready) => ready,
            Err(GitError::Unverified { reason, .. }) => {
                return Err(GitError::Setup(format!(
                    "the commits of this source would not be served: {reason}"
                )));
            }
            Err(GitError::NoPath { path, .. }) => {
                return Err(GitError::NotPossible(format!(
                    "this is the last file of {path}, and the source is that directory: remove the file in the repository"
                )));
            }
            Err(error) => return Err(error),
        };
        let place = self.dir.join(TREES).join(&ready.served.name);
        let answer = if (change.accept)(&place) {
            receiver.send(&new)
        } else {
            Err(GitError::Declined)
        };
        let answer = match answer {
            Err(error @ GitError::Unknown { .. }) if self.has_taken(new.id) => {
                tracing::info!(commit = %new.id, %error, "the branch is at the commit all the same");
                Ok(Answer::Taken)
            }
            answer => answer,
        };
        let discard = || fs::remove_dir_all(&place).ok();
        match answer {
            Ok(Answer::Taken) => {}
            Ok(Answer::Refused(reason)) => {
                discard();
                return self.refused(tip, reason);
            }
            Err(error) => {
                discard();
                return Err(error);
            }
        }
        let commit = new.id.to_string();
        let published = self.publish(ready).map_err(|error| GitError::NotServed {
            commit,
            reason: error.to_string(),
        });
        published.map(|(served, checked)| (served, Pushed::Done(checked)))
    }

    /// A commit was refused. If the branch has moved meanwhile, that is the reason, and the new commit is served.
    fn refused(self, tip: ObjectId, reason: String) -> Result<(Served, Pushed), GitError> {
        let now = self.remote(&self.session)?.tip(&self.settings.reference)?;
        if now.object == tip {
            return Err(GitError::Refused(reason));
        }
        self.run().map(|(served, checked)| (served, Pushed::Moved(checked)))
    }

    /// Asks, on a new connection, whether the branch is at a commit.
    fn has_taken(&self, commit: ObjectId) -> bool {
        let session = Session::new(self.stop.clone(), self.settings.limits.fetched, LAST_QUESTION);
        let tip = self
            .remote(&session)
            .and_then(|mut remote| remote.tip(&self.settings.reference));
        tip.is_ok_and(|tip| tip.object == commit)
    }

    /// Writes the tree of a commit that was fetched, and puts it in the place of the one that is served.
    fn serve(&self, tip: Tip, objects: &Path) -> Result<(Served, Checked), GitError> {
        let ready = self.prepare(tip, objects)?;
        self.publish(ready)
    }

    /// Checks the signature of a commit whose objects are there, and writes its tree beside the one that is served.
    fn prepare(&self, tip: Tip, objects: &Path) -> Result<Ready, GitError> {
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
        let before = self.written(&store, &checkout);
        if let Err(error) = checkout.write(tree, &place, before) {
            fs::remove_dir_all(&place).ok();
            return Err(error);
        }
        let left_out = checkout.left_out;
        let served = Served {
            of: identity(&self.settings),
            tip: tip.object.to_string(),
            commit: Commit {
                id,
                time: commit.time,
                signed_by,
            },
            name,
        };
        Ok(Ready { served, left_out })
    }

    /// The tree that is served, if its objects are still there.
    fn written(&self, store: &gix_odb::Handle, checkout: &Checkout<'_>) -> Option<WrittenTree> {
        let served = self.served.as_ref()?;
        let commit = peel(store, ObjectId::from_hex(served.commit.id.as_bytes()).ok()?).ok()?;
        Some(WrittenTree {
            tree: checkout.subtree(commit.tree, &self.settings.path).ok()?,
            path: self.dir.join(TREES).join(&served.name),
        })
    }

    /// Lets the link lead to a tree that was written.
    fn publish(&self, ready: Ready) -> Result<(Served, Checked), GitError> {
        let Ready { served, left_out } = ready;
        let name = &served.name;
        let text = serde_json::to_vec(&served).map_err(|error| GitError::Disk(error.to_string()))?;
        fs::write(self.dir.join(TREES).join(format!("{name}.json")), text)?;
        self.flush()?;
        let (link, new) = (self.dir.join(CURRENT), self.dir.join(".current"));
        remove_if_there(fs::remove_file(&new))?;
        symlink(Path::new(TREES).join(name), &new)?;
        fs::rename(&new, &link)?;
        self.flush()?;
        let checked = Checked {
            commit: served.commit.clone(),
            is_new: true,
            left_out,
        };
        Ok((served, checked))
    }

    fn remote<'a>(&self, session: &'a Arc<Session>) -> Result<Connected<'a>, GitError> {
        Connected::new(self.connect(Service::UploadPack, session)?, session)
    }

    /// Opens a connection with new credentials from the files.
    fn connect(&self, service: Service, session: &Arc<Session>) -> Result<Box<dyn Transport>, GitError> {
        let settings = &self.settings;
        match &settings.remote {
            Remote::Http(url) => {
                let client = client(settings.authorities_file.as_deref())?;
                let authorization = settings.auth.header()?;
                let requests = Requests::new(session.clone(), client, authorization, settings.auth.to_string());
                let url = gix_url::Url::try_from(url.as_str()).map_err(|error| GitError::Setup(error.to_string()))?;
                Ok(Box::new(http::Transport::new_http(requests, url, Protocol::V2, false)))
            }
            Remote::Daemon { host, port, path } => streams::daemon(session, host, *port, path),
            Remote::File(path) => programs::local(session, service, path),
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
                programs::ssh(session, service, &target)
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

/// The full name of the branch of this name.
fn branch(name: &str) -> String {
    match name.strip_prefix("refs/") {
        Some(_) => name.to_owned(),
        None => format!("refs/heads/{name}"),
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
    let served = read_served(&trees, &name)?;
    trees.join(&name).is_dir().then_some(Served { name, ..served })
}

/// What is written beside a tree.
fn read_served(trees: &Path, name: &str) -> Option<Served> {
    let text = fs::read(trees.join(format!("{name}.json"))).ok()?;
    serde_json::from_slice(&text).ok()
}

fn remove_if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
