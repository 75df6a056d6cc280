//! Carries out one write to a tree.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::ThreadRng;
use sidevault_model::{Commit, Edit, Item, ItemId, Timestamp, VaultId};
use sidevault_store::{Command, CommandAnswer, FailureKind};
use tokio::time::Instant;

use super::super::draft::ItemDraft;
use super::super::folder::FileSettings;
use super::super::read::ReadError;
use super::super::records::FileRecord;
use super::super::scanner::{DirectoryScanner, Given};
use super::super::{DirectoryAnswer, DirectoryJob, run_blocking};
use super::WriteRequest;
use super::file::{Edited, HeldFile, ItemOfFile};
use super::new_file::NewFile;
use super::refusal::{FileError, WriteError, refuse};
use crate::execute::{item_answer, require_match};
use crate::git::{FileChange, Published, Publisher};
use crate::queue::{JobError, QueueClosed};

/// How long a push of a Git source may take, counted from the client's request. The api waits for 30 seconds.
const PUSH: Duration = Duration::from_secs(18);

/// How often a change is made anew because the branch of a Git source has moved.
const MAX_TRIES: u32 = 5;

/// What a client asks for, for the commit of a Git source.
struct Asked {
    /// What is done, as the first word of a commit's message.
    action: &'static str,
    /// The id of the client's token.
    by: String,
    /// When the client is answered at the latest.
    deadline: Instant,
}

/// A change that was answered with the version from before it, as Connect answers. The client may take that for the present one.
pub(in super::super) struct Answered {
    item: ItemId,
    by: String,
    before: u32,
    after: u32,
}

/// An item, and the file that has it.
struct Held {
    vault: VaultId,
    item: Item,
    /// Where the file has the item.
    place: ItemOfFile,
    file: HeldFile,
    /// Whether the file had changed since it was last read. What changed is in the store by now.
    had_changed: bool,
}

impl DirectoryScanner {
    /// Carries out a write, and answers it.
    ///
    /// # Errors
    /// [`QueueClosed`] if the writer of the store is gone.
    pub(in super::super) async fn carry_out(&mut self, request: WriteRequest) -> Result<(), QueueClosed> {
        let answer = match self.write(request.command, request.received + PUSH).await {
            Ok(answer) => answer,
            Err(WriteError::Refused(refusal)) => CommandAnswer::Refused(refusal),
            Err(WriteError::Closed(closed)) => return Err(closed),
        };
        // Fails only if the client has gone.
        request.reply.send(answer).ok();
        Ok(())
    }

    async fn write(&mut self, command: Command, deadline: Instant) -> Result<CommandAnswer, WriteError> {
        let asked = |action, by: &String| Asked {
            action,
            by: by.clone(),
            deadline,
        };
        match command {
            Command::ReplaceItem {
                vault,
                item,
                input,
                if_match,
                by,
            } => {
                let held = self.hold(vault, item).await?;
                require_match(&held.item, &if_match)?;
                held.require_unchanged()?;
                if let Some(seen) = input.version {
                    self.require_version(&held, seen, &by)?;
                }
                let wanted = held.item.replace(input, &mut edit(&by, &mut rand::rng()))?;
                self.change(held, wanted, asked("Change", &by)).await
            }
            Command::PatchItem {
                vault,
                item,
                operations,
                if_match,
                by,
            } => {
                // The operations name what they change, so they apply to the file as it is now.
                let held = self.hold(vault, item).await?;
                require_match(&held.item, &if_match)?;
                let patched = held.item.patch(&operations, &mut edit(&by, &mut rand::rng()))?;
                match patched {
                    Some(wanted) => self.change(held, wanted, asked("Change", &by)).await,
                    None => answer(&held.item),
                }
            }
            Command::RestoreItem {
                vault,
                item,
                version,
                by,
            } => {
                let held = self.hold(vault, item).await?;
                held.require_unchanged()?;
                let Some(kept) = self.stored(vault, item, Some(version)).await? else {
                    let message = format!("version {version} of item {item} not found");
                    return Err(refuse(FailureKind::NotFound, message));
                };
                let mut wanted = held.item.restore(&kept, &mut edit(&by, &mut rand::rng()));
                // It follows from the fields.
                wanted.category = held.item.category;
                self.change(held, wanted, asked("Restore", &by)).await
            }
            Command::DeleteItem {
                vault,
                item,
                if_match,
                by,
            } => {
                let held = self.hold(vault, item).await?;
                require_match(&held.item, &if_match)?;
                held.require_unchanged()?;
                self.delete(held, asked("Remove", &by)).await
            }
            Command::CreateItem { vault, input, by } => {
                // The item gets the id that is computed from its file's path.
                let wanted = Item::create(input, vault, ItemId::random(), &mut edit(&by, &mut rand::rng()))?;
                self.create(wanted, asked("Add", &by)).await
            }
            _ => Err(refuse(
                FailureKind::Internal,
                "a fault in sync: this command is not for files",
            )),
        }
    }

    /// Makes a file for a new item.
    async fn create(&mut self, wanted: Item, asked: Asked) -> Result<CommandAnswer, WriteError> {
        let vault = wanted.vault;
        let new = Arc::new(NewFile {
            source: self.config.clone(),
            ids: self.context.ids.clone(),
            vault,
            wanted,
            encrypted: self.encrypted,
            folder: self.folders.get(&vault).cloned(),
        });
        let file = match self.context.publisher.clone() {
            Some(publisher) => self.publish_new(&publisher, new, &asked).await?,
            None => {
                let created = blocking(move || new.create()).await;
                created.map_err(|error| error.about("a new file"))?
            }
        };
        let relative = file.found.relative.clone();
        tracing::info!(file = relative, "a client's write made a file");
        self.take_in(vault, &file).await?;
        let id = self
            .records
            .get(&relative)
            .and_then(|record| record.items.first().copied());
        let item = match id {
            Some(id) => self.stored(vault, id, None).await?,
            None => None,
        };
        match item {
            Some(item) => answer(&item),
            None => Err(FileError::Changed.about(&relative)),
        }
    }

    /// Finds an item's file, and takes in what changed in it.
    async fn hold(&mut self, vault: VaultId, id: ItemId) -> Result<Held, WriteError> {
        let not_found = || refuse(FailureKind::NotFound, format!("item {id} not found"));
        let Some((relative, known)) = self.file_of(id) else {
            return Err(match self.stored(vault, id, None).await? {
                Some(_) => refuse(
                    FailureKind::Unavailable,
                    "the item's file has not been read since sync started, or can't be read; /health and the log of sync say why",
                ),
                None => not_found(),
            });
        };
        let digest = known.digest;
        let opened = self.open(known.path.clone(), known.settings.clone()).await;
        let file = opened.map_err(|error| error.about(&relative))?;
        let had_changed = file.digest != digest;
        if had_changed {
            self.take_in(vault, &file).await?;
        }
        // A document of the file may be gone, or have moved.
        let (_, known) = self.file_of(id).ok_or_else(not_found)?;
        let place = ItemOfFile {
            n: known.items.iter().position(|item| *item == id).unwrap_or_default(),
            of: known.items.len(),
        };
        let item = self.stored(vault, id, None).await?.ok_or_else(not_found)?;
        Ok(Held {
            vault,
            item,
            place,
            file,
            had_changed,
        })
    }

    async fn open(&self, path: PathBuf, settings: Arc<FileSettings>) -> Result<HeldFile, FileError> {
        let config = self.config.clone();
        blocking(move || HeldFile::open(&config, path, settings)).await
    }

    /// Refuses a PUT that was made of an older version than the present one.
    fn require_version(&self, held: &Held, seen: u32, by: &str) -> Result<(), WriteError> {
        let answered = self
            .records
            .get(&held.file.found.relative)
            .and_then(|record| record.answered.as_deref());
        let own = answered.is_some_and(|answered| {
            let (item, last) = (answered.item == held.item.id, answered.after == held.item.version);
            item && last && answered.by == by && answered.before == seen
        });
        if seen == held.item.version || own {
            return Ok(());
        }
        Err(refuse(
            FailureKind::Conflict,
            format!(
                "the item has version {} by now, and this change was made of version {seen} (conflict): read the item again, and \
                 repeat the change if it is still right. Nothing was changed",
                held.item.version
            ),
        ))
    }

    /// The path in the tree of the file that has an item, and what was last read of that file.
    fn file_of(&self, id: ItemId) -> Option<(String, &FileRecord)> {
        let (relative, record) = self.records.of_item(id)?;
        Some((relative.to_owned(), record))
    }

    /// Changes an item in its file, and answers as Connect does: with the version from before the change.
    async fn change(&mut self, held: Held, wanted: Item, asked: Asked) -> Result<CommandAnswer, WriteError> {
        let Held {
            vault,
            item,
            place,
            file,
            ..
        } = held;
        let relative = file.found.relative.clone();
        let given = self.given().await?;
        let editing = blocking(move || {
            let edited = file.edited(place, &item, &wanted, &given.identities)?;
            Ok((edited, item, file))
        });
        let (edited, item, file) = editing.await.map_err(|error| error.about(&relative))?;
        let Some(edited) = edited else {
            return answer(&item);
        };
        let file = self.replace(vault, file, edited, &asked).await?;
        tracing::info!(file = relative, item = %item.id, "a client's write changed a file");
        self.take_in(vault, &file).await?;
        let Some(now) = self.stored(vault, item.id, None).await? else {
            return Err(FileError::Changed.about(&relative));
        };
        if let Some(record) = self.records.get_mut(&relative) {
            record.answered = Some(Box::new(Answered {
                item: now.id,
                by: asked.by,
                before: item.version,
                after: now.version,
            }));
        }
        answer(&Item {
            version: item.version,
            ..now
        })
    }

    /// Removes the file of an item.
    async fn delete(&mut self, held: Held, asked: Asked) -> Result<CommandAnswer, WriteError> {
        let Held { vault, place, file, .. } = held;
        let relative = file.found.relative.clone();
        HeldFile::require_whole(place).map_err(|error| error.about(&relative))?;
        match self.context.publisher.clone() {
            Some(publisher) => self.publish(&publisher, vault, file, None, &asked).await?,
            None => {
                let removed = blocking(move || file.remove()).await;
                removed.map_err(|error| error.about(&relative))?;
            }
        }
        tracing::info!(file = relative, "a client's write removed a file");
        self.records.remove(&relative);
        self.titles_changed = true;
        let commit = self.config.served().and_then(|served| served.commit);
        self.hand_over(vault, &relative, Vec::new(), commit).await?;
        Ok(CommandAnswer::Done)
    }

    /// Gives a file its new content, and returns it as it is then.
    async fn replace(
        &mut self,
        vault: VaultId,
        file: HeldFile,
        edited: Edited,
        asked: &Asked,
    ) -> Result<HeldFile, WriteError> {
        let relative = file.found.relative.clone();
        let Some(publisher) = self.context.publisher.clone() else {
            let replacing = blocking(move || {
                file.replace(&edited)?;
                Ok(file)
            });
            return replacing.await.map_err(|error| error.about(&relative));
        };
        let (path, settings) = (file.found.path.clone(), file.found.settings.clone());
        self.publish(&publisher, vault, file, Some(edited.bytes), asked).await?;
        let opened = self.open(path, settings).await;
        opened.map_err(|error| error.about(&relative))
    }

    /// Has the change of a file committed and pushed. If the branch has moved, and the file is the same in its new commit, the
    /// change is made of that one.
    async fn publish(
        &mut self,
        publisher: &Publisher,
        vault: VaultId,
        mut file: HeldFile,
        content: Option<Vec<u8>>,
        asked: &Asked,
    ) -> Result<(), WriteError> {
        let relative = file.found.relative.clone();
        for _ in 0..MAX_TRIES {
            let change = FileChange {
                tree: file.tree.as_ref().map(|tree| tree.name.clone()).unwrap_or_default(),
                path: file.found.path.clone(),
                content: content.clone(),
                action: asked.action,
                by: asked.by.clone(),
                accept: Box::new(|_| Ok(())),
            };
            match publisher.publish(change, asked.deadline).await {
                Ok(Published::Done) => return Ok(()),
                Ok(Published::Moved) => {}
                Err(refusal) => return Err(WriteError::Refused(refusal)),
            }
            let opened = self.open(file.found.path.clone(), file.found.settings.clone()).await;
            let new = opened.map_err(|error| error.about(&relative))?;
            if new.digest != file.digest {
                self.take_in(vault, &new).await?;
                return Err(FileError::Changed.about(&relative));
            }
            file = new;
        }
        Err(moved_too_often(&relative))
    }

    /// Has a new file committed and pushed, and returns it.
    async fn publish_new(
        &self,
        publisher: &Publisher,
        new: Arc<NewFile>,
        asked: &Asked,
    ) -> Result<HeldFile, WriteError> {
        let about = |error: FileError| error.about("a new file");
        for _ in 0..MAX_TRIES {
            let tree = self.config.served().map(|served| served.name).unwrap_or_default();
            let making = new.clone();
            let (path, content) = blocking(move || making.unwritten()).await.map_err(about)?;
            let (checking, checked) = (new.clone(), path.clone());
            let change = FileChange {
                tree,
                path: path.clone(),
                content: Some(content),
                action: asked.action,
                by: asked.by.clone(),
                accept: Box::new(move |root| {
                    let found = checking.check_in(root, &checked);
                    found.map_err(|error| error.refusal("a new file"))
                }),
            };
            match publisher.publish(change, asked.deadline).await {
                Ok(Published::Done) => return blocking(move || new.find(&path)).await.map_err(about),
                Ok(Published::Moved) => {}
                Err(refusal) => return Err(WriteError::Refused(refusal)),
            }
        }
        Err(moved_too_often("a new file"))
    }

    /// Reads a file that changed, and hands its items to the store.
    async fn take_in(&mut self, vault: VaultId, file: &HeldFile) -> Result<(), WriteError> {
        let relative = &file.found.relative;
        let given = Arc::new(self.given().await?);
        if let Some(record) = self.records.get_mut(relative) {
            record.stamp = None;
        }
        match self.read_file(vault, &file.found, &file.root, &given).await {
            Ok(Some(drafts)) => {
                let commit = file.tree.as_ref().and_then(|tree| tree.commit.clone());
                self.hand_over(vault, relative, drafts, commit).await
            }
            Ok(None) => Ok(()),
            Err(ReadError::Closed(closed)) => Err(closed.into()),
            Err(ReadError::Gone) => Err(FileError::Changed.about(relative)),
            Err(ReadError::Bad(error) | ReadError::NoAgeKey(error)) => {
                Err(FileError::Unreadable(error).about(relative))
            }
        }
    }

    /// Hands the items of a file, as it is in a commit, to the store.
    async fn hand_over(
        &mut self,
        vault: VaultId,
        relative: &str,
        drafts: Vec<ItemDraft>,
        commit: Option<Commit>,
    ) -> Result<(), WriteError> {
        let job = DirectoryJob::Apply {
            source: self.config.name.clone(),
            vault,
            files: vec![(self.origin(vault, relative), drafts)],
            commit,
        };
        match self.context.queue.directory(job).await {
            Ok(_) => Ok(()),
            Err(JobError::Closed(closed)) => Err(closed.into()),
            Err(error) => {
                // The next scan reads the tree again.
                self.records.clear();
                tracing::error!(file = relative, %error, "a changed file could not be stored; the next scan tries again");
                Err(refuse(
                    FailureKind::Unavailable,
                    format!(
                        "{relative} is as it is on disk, but the store can't be written at the moment; /health and the log of sync say \
                         why. Once it can, the item is what the file says. Read it before you try again"
                    ),
                ))
            }
        }
    }

    /// The keys of the source, and its rule for plaintext.
    async fn given(&self) -> Result<Given, WriteError> {
        let (config, keys, encrypted) = (self.config.clone(), self.keys.clone(), self.encrypted);
        let load = move || {
            let identities = keys.lock().load(&config.name);
            Ok(Given { identities, encrypted })
        };
        blocking(load)
            .await
            .map_err(|error: FileError| error.about("the source's age keys"))
    }

    /// An item as the store has it. The present version if none is given.
    async fn stored(&self, vault: VaultId, item: ItemId, version: Option<u32>) -> Result<Option<Item>, WriteError> {
        let job = DirectoryJob::Item { vault, item, version };
        match self.context.queue.directory(job).await? {
            DirectoryAnswer::Item(item) => Ok(item.map(|item| *item)),
            _ => Err(JobError::WrongAnswer.into()),
        }
    }
}

impl Held {
    /// Refuses a write that is made of the whole item, if the client can't have seen what the item is by now.
    fn require_unchanged(&self) -> Result<(), WriteError> {
        if self.had_changed {
            return Err(FileError::Changed.about(&self.file.found.relative));
        }
        Ok(())
    }
}

/// Runs `work` on a thread for blocking calls.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    run_blocking(work).await.map_err(FileError::Fault).flatten()
}

fn moved_too_often(file: &str) -> WriteError {
    refuse(
        FailureKind::Conflict,
        format!(
            "{file}: others pushed to the branch {MAX_TRIES} times while this change was made of its newest commit (conflict): try \
             again. Nothing was changed"
        ),
    )
}

fn edit<'a>(by: &'a str, rng: &'a mut ThreadRng) -> Edit<'a> {
    Edit {
        now: Timestamp::now(),
        by,
        rng,
    }
}

fn answer(item: &Item) -> Result<CommandAnswer, WriteError> {
    item_answer(item).map_err(WriteError::Refused)
}
