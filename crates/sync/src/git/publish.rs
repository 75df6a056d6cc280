//! Clients' writes to a Git source: each becomes a commit that is pushed.

use std::path::{Path, PathBuf};

use sidevault_store::CommandRefusal;
use tokio::time::Instant;

/// Looks at a directory, and refuses it or not.
pub(crate) type Accept = Box<dyn FnOnce(&Path) -> Result<(), CommandRefusal> + Send>;

/// A change of one file.
#[cfg_attr(not(feature = "git"), allow(dead_code, reason = "there is nobody to give it to"))]
pub(crate) struct FileChange {
    /// The commit that the change was made of, as [`crate::config::DirectorySource::commit`] names it.
    pub(crate) tree: String,
    /// The file, by its path in the source's directory.
    pub(crate) path: PathBuf,
    /// Its new content; `None` to remove it.
    pub(crate) content: Option<Vec<u8>>,
    /// What the commit does, as the first word of its message.
    pub(crate) action: &'static str,
    /// The id of the token that asked for it.
    pub(crate) by: String,
    /// Is given the directory with the new tree before the commit is pushed. It is not pushed if this is refused.
    pub(crate) accept: Accept,
}

/// What became of a change.
#[cfg_attr(not(feature = "git"), allow(dead_code, reason = "nothing is published"))]
pub(crate) enum Published {
    /// The remote has it, and its commit is served.
    Done,
    /// Nothing was changed, because the branch had moved. Its newest commit is served now.
    Moved,
}

#[cfg(feature = "git")]
pub(crate) use with_git::{Publisher, PushRequest, WAITING_PUSHES};

/// Nothing: this program was built without Git sources.
#[cfg(not(feature = "git"))]
#[derive(Clone)]
pub(crate) enum Publisher {}

#[cfg(not(feature = "git"))]
impl Publisher {
    pub(crate) async fn publish(&self, _: FileChange, _: Instant) -> Result<Published, CommandRefusal> {
        match *self {}
    }
}

#[cfg(feature = "git")]
mod with_git {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use sidevault_git::{Change, GitError, Pushed};
    use sidevault_store::FailureKind;
    use tokio::sync::{mpsc, oneshot};

    use super::{CommandRefusal, FileChange, Instant, Published};

    /// How many pushes wait for a source's follower. A source's scanner asks for one at a time.
    pub(crate) const WAITING_PUSHES: usize = 1;

    /// A push that a source's follower is asked to do.
    pub(crate) struct PushRequest {
        pub(crate) change: Change,
        pub(crate) deadline: Instant,
        pub(crate) reply: oneshot::Sender<Result<Pushed, GitError>>,
    }

    /// The sending end of a source's pushes.
    #[derive(Clone)]
    pub(crate) struct Publisher {
        pub(crate) pushes: mpsc::Sender<PushRequest>,
        /// The message of commits, with placeholders.
        pub(crate) message: String,
    }

    impl Publisher {
        /// Pushes a change, and returns when the new commit is served. No step begins after the deadline.
        pub(crate) async fn publish(&self, change: FileChange, deadline: Instant) -> Result<Published, CommandRefusal> {
            let shown = change.path.to_string_lossy().into_owned();
            let refusal = Arc::new(Mutex::new(None));
            let (accept, kept) = (change.accept, refusal.clone());
            let change = Change {
                tree: change.tree,
                content: change.content,
                message: message(&self.message, change.action, &shown, &change.by),
                path: change.path,
                accept: Box::new(move |tree| match accept(tree) {
                    Ok(()) => true,
                    Err(refused) => {
                        *kept.lock() = Some(refused);
                        false
                    }
                }),
            };
            let (reply, answer) = oneshot::channel();
            let request = PushRequest {
                change,
                deadline,
                reply,
            };
            let closed = || {
                CommandRefusal::new(
                    FailureKind::Unavailable,
                    "sync is stopping. Read the item before you try again",
                )
            };
            self.pushes.send(request).await.map_err(|_| closed())?;
            match answer.await.map_err(|_| closed())? {
                Ok(Pushed::Done(_)) => Ok(Published::Done),
                Ok(Pushed::Moved(_)) => Ok(Published::Moved),
                Err(error) => Err(refusal.lock().take().unwrap_or_else(|| refused(&shown, &error))),
            }
        }
    }

    /// The message of a commit.
    fn message(template: &str, action: &str, file: &str, by: &str) -> String {
        let file: String = file.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        // The file comes last, because its name may have braces.
        let message = template.replace("{action}", action).replace("{token}", by);
        message.replace("{file}", &file)
    }

    /// The refusal for the client.
    fn refused(file: &str, error: &GitError) -> CommandRefusal {
        let (kind, advice) = match error {
            GitError::Credentials(_) | GitError::NoRepository(_) => (
                FailureKind::ReadOnly,
                "Give the source credentials that may push to the branch. Nothing was changed",
            ),
            GitError::Refused(_) => (
                FailureKind::Conflict,
                "Allow these credentials to push to the branch, or change the file as the repository's rules want it. Nothing was changed",
            ),
            GitError::NotPossible(_) => (FailureKind::Invalid, "Nothing was changed"),
            GitError::Unknown { .. } => (FailureKind::Unavailable, "Read the item before you try again"),
            GitError::NotServed { .. } => (
                FailureKind::Unavailable,
                "It is served as soon as that works. Do not repeat the write",
            ),
            _ => (FailureKind::Unavailable, "Nothing was changed"),
        };
        let message = format!("{file} can't be changed in the repository: {error}. {advice}");
        // Every 403 of Connect begins with this word.
        let message = match kind {
            FailureKind::ReadOnly => format!("Authorization: {message}"),
            _ => message,
        };
        CommandRefusal::new(kind, message)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_message_names_action_file_and_token_on_lines_of_its_own() {
            let template = "secrets: {action} {file}\n\nToken: {token}";
            let made = message(template, "Change", "a/{token}\n.yaml", "ID");
            assert_eq!(made, "secrets: Change a/{token}?.yaml\n\nToken: ID");
        }
    }
}
