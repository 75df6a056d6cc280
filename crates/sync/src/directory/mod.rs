//! A tree of files as vaults.
//!
//! Each source has one task ([`run`]). It lists the tree (`tree`) without what the rules leave out (`selection`, `folder`, `sealed`), opens,
//! reads and decrypts the files that changed (`beneath`, `read`), turns them into items (`draft`, `secret`, `titles`, `items`), hands
//! those to the writer (`apply`), and waits for a file event or the next full check (`watch`). An error never deletes anything: a file that can't be read
//! keeps the items that it made before, and a vault with a directory that can't be listed keeps all of its items. Between two
//! scans, the task carries out clients' writes to a source that allows them (`write`).

mod apply;
mod beneath;
mod content;
mod draft;
mod folder;
mod identities;
mod items;
mod key_command;
mod kinds;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod name_tests;
mod once;
mod origin;
mod preview;
mod read;
mod records;
mod scanner;
mod sealed;
mod secret;
mod selection;
mod suspects;
mod titles;
mod tree;
mod watch;
mod write;

pub(crate) use apply::{DirectoryAnswer, DirectoryJob, apply};
pub(crate) use folder::{Folder, FolderText, given_folders};
pub use kinds::Recognized;
pub use once::{DirectoryFile, DirectoryItem, DirectoryOnce};
pub use preview::{Preview, PreviewItem, SharedTitle, preview};
pub(crate) use scanner::{SharedSealedFiles, SourceContext, run};
pub(crate) use selection::LeftOutCounts;
pub use selection::{Encrypted, LeftOut, LeftOutBy, Selection};
pub use suspects::Suspect;
pub use titles::TitleRule;
pub(crate) use write::TreeWriters;

/// Runs `work` on one of tokio's threads for blocking calls, in the current span. Reading a file may take long, and
/// would hold up all other tasks of an async thread.
///
/// # Errors
/// If `work` panics. The log has the panic.
pub(crate) fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, String>> + Send {
    let span = tracing::Span::current();
    // It begins at once, and not when the caller waits for it.
    let running = tokio::task::spawn_blocking(move || span.in_scope(work));
    async {
        let done = running.await;
        done.map_err(|_| "sync failed while it read this; its log says where".to_owned())
    }
}

/// How many files are read and decrypted at once, each of which is in memory.
pub(crate) fn parallel_reads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8))
}
