//! Webhooks: a forge says that somebody has pushed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::config::Config;

/// What a webhook is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAnswer {
    /// The source asks its remote now.
    Accepted,
    /// No source of this name takes webhooks.
    Unknown,
    /// The signature or token is missing or wrong.
    Forged,
    /// The secret's file can't be read.
    Broken,
}

/// The sources that take webhooks.
#[derive(Debug, Default)]
pub struct Hooks {
    by_source: BTreeMap<String, Hook>,
}

#[derive(Debug)]
struct Hook {
    pushed: Arc<Notify>,
    secret_file: Option<PathBuf>,
}

impl Hooks {
    pub(crate) fn of(config: &Config) -> Self {
        let sources = config.directories.iter().filter_map(|source| {
            let hook = Hook {
                pushed: Arc::default(),
                secret_file: secret_file(source.git.as_ref()?),
            };
            Some((source.name.clone(), hook))
        });
        Self {
            by_source: sources.collect(),
        }
    }

    /// Is notified when a source should ask its remote.
    #[cfg(feature = "git")]
    pub(crate) fn of_source(&self, name: &str) -> Arc<Notify> {
        self.by_source
            .get(name)
            .map(|hook| hook.pushed.clone())
            .unwrap_or_default()
    }

    /// Checks a request, and lets the source ask its remote. `header` returns the value of a header.
    pub fn receive<'a>(&self, source: &str, header: impl Fn(&str) -> Option<&'a str>, body: &[u8]) -> HookAnswer {
        let Some(hook) = self.by_source.get(source) else {
            return HookAnswer::Unknown;
        };
        let Some(file) = &hook.secret_file else {
            return HookAnswer::Unknown;
        };
        let secret = std::fs::read_to_string(file).unwrap_or_default();
        let secret = zeroize::Zeroizing::new(secret);
        if secret.trim().is_empty() {
            tracing::error!(source, file = %file.display(), "a webhook is refused: the file with its secret can't be read, or is empty");
            return HookAnswer::Broken;
        }
        if !is_genuine(secret.trim().as_bytes(), header, body) {
            tracing::warn!(source, "a webhook with a wrong signature or token is refused");
            return HookAnswer::Forged;
        }
        hook.pushed.notify_one();
        HookAnswer::Accepted
    }
}

#[cfg(feature = "git")]
fn secret_file(git: &super::GitSource) -> Option<PathBuf> {
    git.webhook_secret_file.clone()
}

#[cfg(not(feature = "git"))]
fn secret_file(git: &super::GitSource) -> Option<PathBuf> {
    match *git {}
}

#[cfg(feature = "git")]
fn is_genuine<'a>(secret: &[u8], header: impl Fn(&str) -> Option<&'a str>, body: &[u8]) -> bool {
    sidevault_git::webhook::is_genuine(secret, header, body)
}

#[cfg(not(feature = "git"))]
fn is_genuine<'a>(_: &[u8], _: impl Fn(&str) -> Option<&'a str>, _: &[u8]) -> bool {
    false
}
