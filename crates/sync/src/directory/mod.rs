//! A tree of files as vaults.
//!
//! Each source has one task ([`run`]). It lists the tree (`tree`), opens, reads and decrypts the files that changed
//! (`beneath`, `read`), turns them into items (`draft`, `secret`, `items`), hands those to the writer (`apply`), and
//! waits for a file event or the next full check (`watch`). An error never deletes anything: a file that can't be read
//! keeps the items that it made before, and a vault with a directory that can't be listed keeps all of its items.

mod apply;
mod beneath;
mod content;
mod draft;
mod identities;
mod items;
mod key_command;
#[cfg(test)]
mod model_tests;
mod read;
mod scanner;
mod secret;
mod tree;
mod watch;

pub(crate) use apply::{DirectoryAnswer, DirectoryJob, apply};
pub(crate) use scanner::{SourceContext, run};

/// Runs `work` on one of tokio's threads for blocking calls, in the current span. Reading a file may take long, and
/// would hold up all other tasks of an async thread.
///
/// # Errors
/// If `work` panics. The log has the panic.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|_| "sync failed while it read this; its log says where".to_owned())
}
