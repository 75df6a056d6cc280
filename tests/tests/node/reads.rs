//! Clients that read while a test updates what serves them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::fixture::Client;

/// What was answered to the clients' reads, together.
#[derive(Default)]
pub(crate) struct Reads {
    answered: AtomicUsize,
    failed: Mutex<Vec<Option<(u16, String)>>>,
}

impl Reads {
    /// Reads these items of the vault `apps`, one after the other, until `ends`. Each request has a connection of its own.
    pub(crate) fn run(&self, client: &Client, items: impl Iterator<Item = String>, ends: &AtomicBool) {
        for item in items {
            if ends.load(Ordering::Relaxed) {
                return;
            }
            match client.ask("GET", &format!("/v1/vaults/apps/items/{item}"), "") {
                Some(reply) if reply.status == 200 => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                other => self
                    .failed
                    .lock()
                    .expect("no panic")
                    .push(other.map(|reply| (reply.status, reply.text()))),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Fails unless there were more than a hundred reads, and all of them were answered with the item.
    pub(crate) fn assert_all_answered(self) {
        let failed = self.failed.into_inner().expect("no panic");
        assert!(failed.is_empty(), "{failed:?}");
        assert!(self.answered.into_inner() > 100);
    }
}
