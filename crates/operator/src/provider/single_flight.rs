//! One read of a value for all tasks that need it at the same time, and its result for a while after.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ProviderError;

type ReadResult<V> = Result<V, ProviderError>;
/// The lock is held while the value is read, so that other tasks wait for the same read.
type Entry<V> = Arc<tokio::sync::Mutex<Option<CachedResult<V>>>>;

struct CachedResult<V> {
    read_began: Instant,
    last_used: Instant,
    result: ReadResult<V>,
}

/// Results of reads by key. A result may serve every request that was made before its read began: a value that was
/// read later than it was asked for is at least as new as the request needs.
pub(super) struct SingleFlight<K, V>(Mutex<HashMap<K, Entry<V>>>);

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Returns the cached result if `is_fresh` accepts it, and calls `read` otherwise. The arguments of `is_fresh` are
    /// the moment at which the cached read began and whether it succeeded. Tasks that call this while a read of the
    /// same key is in flight wait for that read. A failure is cached too: when a server does not answer, hundreds of
    /// waiting tasks share one time-out.
    ///
    /// # Errors
    /// The error of the read, new or cached.
    pub(super) async fn get<F: Future<Output = ReadResult<V>>>(
        &self,
        key: K,
        is_fresh: impl Fn(Instant, bool) -> bool,
        read: impl FnOnce() -> F,
    ) -> ReadResult<V> {
        let entry = self.0.lock().entry(key).or_default().clone();
        let mut entry = entry.lock().await;
        if let Some(cached) = &mut *entry
            && is_fresh(cached.read_began, cached.result.is_ok())
        {
            cached.last_used = Instant::now();
            return cached.result.clone();
        }
        let read_began = Instant::now();
        let result = read().await;
        *entry = Some(CachedResult {
            read_began,
            last_used: Instant::now(),
            result: result.clone(),
        });
        result
    }

    /// Removes results that were last used longer than `age` ago, so that values do not stay in memory without need.
    /// Results that are used stay, however long the queue of objects that need them is.
    pub(super) fn forget_unused(&self, age: Duration) {
        self.0.lock().retain(|_, entry| match entry.try_lock() {
            Ok(entry) => entry.as_ref().is_some_and(|cached| cached.last_used.elapsed() < age),
            // A read is in flight.
            Err(_) => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_thousand_concurrent_requests_cause_one_read() {
        let (flights, reads) = (Arc::new(SingleFlight::new()), Arc::new(AtomicUsize::new(0)));
        let asked = Instant::now();
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                let (flights, reads) = (flights.clone(), reads.clone());
                tokio::spawn(async move {
                    let read = || async {
                        tokio::task::yield_now().await;
                        Ok(reads.fetch_add(1, Ordering::SeqCst))
                    };
                    flights.get("key", |began, _| began >= asked, read).await.unwrap()
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 0);
        }
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_request_made_after_a_read_began_causes_a_new_read() {
        let flights = SingleFlight::new();
        let first = flights.get("key", |_, _| true, || async { Ok(1) }).await.unwrap();
        let asked = Instant::now();
        let second = flights
            .get("key", |began, _| began >= asked, || async { Ok(2) })
            .await
            .unwrap();
        assert_eq!((first, second), (1, 2));
    }

    #[tokio::test]
    async fn unused_results_are_removed() {
        let flights = SingleFlight::new();
        flights.get("key", |_, _| true, || async { Ok(1) }).await.unwrap();
        flights.forget_unused(Duration::MAX);
        assert_eq!(flights.0.lock().len(), 1);
        flights.forget_unused(Duration::ZERO);
        assert!(flights.0.lock().is_empty());
    }
}
