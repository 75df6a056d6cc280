//! One read for everyone who asks at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ProviderError;

type Answer<V> = Result<V, ProviderError>;
type Slot<V> = Arc<tokio::sync::Mutex<Option<Known<V>>>>;

struct Known<V> {
    began: Instant,
    used: Instant,
    answer: Answer<V>,
}

/// Answers by key, each with the moment its read began. An answer serves whoever asked no later than that: a question
/// asked at a time can be answered with what was so at that time or after it.
pub(super) struct Slots<K, V>(Mutex<HashMap<K, Slot<V>>>);

impl<K: Eq + Hash + Clone, V: Clone> Slots<K, V> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// The answer, read by `read` unless one that `is_fresh` (by the moment its read began, and whether it is no
    /// failure) is there. Those who ask meanwhile wait for the read that is under way. A failure is an answer too:
    /// hundreds who wait for a server that does not answer get one time-out, not a time-out each.
    pub(super) async fn get<F: Future<Output = Answer<V>>>(
        &self,
        key: K,
        is_fresh: impl Fn(Instant, bool) -> bool,
        read: impl FnOnce() -> F,
    ) -> Answer<V> {
        let slot = self.lock().entry(key).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(known) = &mut *slot
            && is_fresh(known.began, known.answer.is_ok())
        {
            known.used = Instant::now();
            return known.answer.clone();
        }
        let began = Instant::now();
        let answer = read().await;
        *slot = Some(Known {
            began,
            used: Instant::now(),
            answer: answer.clone(),
        });
        answer
    }

    /// Forgets what nobody used for `age`: values are not kept in memory for nothing. What is used goes on serving,
    /// however long the queue is of those who want it.
    pub(super) fn forget_unused(&self, age: Duration) {
        self.lock().retain(|_, slot| match slot.try_lock() {
            Ok(slot) => slot.as_ref().is_some_and(|known| known.used.elapsed() < age),
            Err(_) => true,
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Slot<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_thousand_who_ask_at_once_cause_one_read() {
        let (slots, reads) = (Arc::new(Slots::new()), Arc::new(AtomicUsize::new(0)));
        let asked = Instant::now();
        let all: Vec<_> = (0..1000)
            .map(|_| {
                let (slots, reads) = (slots.clone(), reads.clone());
                tokio::spawn(async move {
                    let read = || async {
                        tokio::task::yield_now().await;
                        Ok(reads.fetch_add(1, Ordering::SeqCst))
                    };
                    slots.get("key", |began, _| began >= asked, read).await.unwrap()
                })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), 0);
        }
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_later_question_is_read_anew() {
        let slots = Slots::new();
        let first = slots.get("key", |_, _| true, || async { Ok(1) }).await.unwrap();
        let asked = Instant::now();
        let second = slots
            .get("key", |began, _| began >= asked, || async { Ok(2) })
            .await
            .unwrap();
        assert_eq!((first, second), (1, 2));
        slots.forget_unused(Duration::ZERO);
        assert!(slots.lock().is_empty());
    }
}
