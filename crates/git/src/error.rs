//! Why a check of a remote failed.

/// Why a check of a remote or a push failed. What was served before is still served. No text of an error has a credential in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// The server can't be reached, or does not answer in time.
    #[error("the Git server can't be reached: {0}")]
    Unreachable(String),
    /// The server refuses the credentials, or asks for some.
    #[error("{0}")]
    Credentials(String),
    /// The server's SSH host key is not the expected one.
    #[error("{0}")]
    HostKey(String),
    /// The repository does not exist, or is hidden from these credentials.
    #[error("the Git server has no such repository, or these credentials may not read it: {0}")]
    NoRepository(String),
    /// The repository has no such branch or tag.
    #[error("the repository has no branch or tag \"{0}\": it was deleted, or its name is wrong")]
    NoRef(String),
    /// The commit has no such directory.
    #[error("commit {commit} has no directory \"{path}\"")]
    NoPath {
        /// The commit.
        commit: String,
        /// The directory that the settings name.
        path: String,
    },
    /// More files or bytes than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// The commit has no signature by an allowed key.
    #[error("commit {commit} is not served: {reason}")]
    Unverified {
        /// The commit.
        commit: String,
        /// What is wrong with its signature.
        reason: String,
    },
    /// The commit has a file name that must not be written.
    #[error("commit {commit} is not served: {reason}")]
    Unsafe {
        /// The commit.
        commit: String,
        /// Which name, and why.
        reason: String,
    },
    /// A file that the settings name, or a program, is missing or can't be used.
    #[error("{0}")]
    Setup(String),
    /// The server's answer can't be understood.
    #[error("the Git server's answer can't be used: {0}")]
    Protocol(String),
    /// The directory of the mirror can't be written or read.
    #[error("the copy of the repository can't be written: {0}")]
    Disk(String),
    /// The server does not take a commit: a rule of the repository or a hook forbids it.
    #[error("the Git server refused the commit: {0}")]
    Refused(String),
    /// The server did not say whether it took a commit.
    #[error("the Git server did not say whether it took commit {commit}: {reason}")]
    Unknown {
        /// The commit.
        commit: String,
        /// Why there was no answer.
        reason: String,
    },
    /// The tree can't be changed like this.
    #[error("{0}")]
    NotPossible(String),
    /// The caller did not accept the tree of the new commit.
    #[error("the new tree is not accepted")]
    Declined,
    /// The server has the commit, but it can't be served yet.
    #[error("the Git server has commit {commit}, but it can't be served yet: {reason}")]
    NotServed {
        /// The commit.
        commit: String,
        /// Why not.
        reason: String,
    },
    /// The check was told to stop.
    #[error("the check was stopped")]
    Stopped,
}

impl GitError {
    pub(crate) fn unknown(commit: gix_hash::ObjectId, cause: &Self) -> Self {
        Self::Unknown {
            commit: commit.to_string(),
            reason: cause.to_string(),
        }
    }

    /// The error in a few words, without a name of a host, file, branch or commit.
    pub fn summary(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "the Git server can't be reached",
            Self::Credentials(_) => "the Git server refuses the credentials",
            Self::HostKey(_) => "the Git server's SSH host key is not the expected one",
            Self::NoRepository(_) => "the Git server has no such repository, or hides it",
            Self::NoRef(_) => "the repository has no such branch or tag",
            Self::NoPath { .. } => "the newest commit has no such directory",
            Self::TooLarge(_) => "the repository is too large",
            Self::Unverified { .. } => "the newest commit has no valid signature by an allowed key",
            Self::Unsafe { .. } => "the newest commit has a file name that can't be written safely",
            Self::Setup(_) => "a file or program that the source needs can't be used",
            Self::Protocol(_) => "the Git server's answer can't be used",
            Self::Disk(_) => "the copy of the repository can't be written",
            Self::Refused(_) => "the Git server refuses the commit",
            Self::Unknown { .. } => "the Git server did not confirm the commit",
            Self::NotPossible(_) => "the commit is not possible",
            Self::Declined => "the new tree is not accepted",
            Self::NotServed { .. } => "the newest commit can't be served yet",
            Self::Stopped => "the check was stopped",
        }
    }
}

impl From<std::io::Error> for GitError {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error.to_string())
    }
}
