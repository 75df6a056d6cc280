//! The activity log's way to sync: collected here, handed over once a second, bounded.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sidevault_model::ApiRequest;
use sidevault_store::Notice;

use crate::link::SyncLink;
use crate::metrics::Metrics;

/// How often the collected requests are handed over (Connect 1.1.0: at most once a second).
const EVERY: Duration = Duration::from_secs(1);

/// How many requests are collected at the most; further ones in the same second are counted,
/// not kept, so that a flood of reads costs no more than this.
const MOST: usize = 2000;

/// Collects what was asked of the api.
#[derive(Default)]
pub(crate) struct Recorder {
    collected: Mutex<Vec<ApiRequest>>,
    full: AtomicBool,
    dropped: AtomicU64,
}

impl Recorder {
    /// Notes a request; it is only put together if there is room for it.
    pub(crate) fn record(&self, request: impl FnOnce() -> ApiRequest) {
        if self.full.load(Ordering::Relaxed) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let request = request();
        let mut collected = self.collected.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        collected.push(request);
        self.full.store(collected.len() >= MOST, Ordering::Relaxed);
    }

    /// Hands over once a second, for as long as it is polled.
    pub(crate) async fn hand_over(&self, link: &SyncLink, metrics: &Metrics) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.flush(link, metrics).await;
        }
    }

    /// Hands over what is there. Kept for the next time while sync is away, as far as it fits.
    pub(crate) async fn flush(&self, link: &SyncLink, metrics: &Metrics) {
        metrics.activity_dropped(self.dropped.swap(0, Ordering::Relaxed));
        if !link.is_up() {
            return;
        }
        let mut requests = {
            let mut collected = self.collected.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            self.full.store(false, Ordering::Relaxed);
            std::mem::take(&mut *collected)
        };
        // Requests that were answered at the same time may have got here in any order.
        requests.sort_by_key(|request| request.timestamp);
        let count = requests.len() as u64;
        if count > 0 && !link.notify(&Notice::Activity(requests)).await {
            metrics.activity_dropped(count);
        }
    }
}
