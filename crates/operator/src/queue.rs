//! Work that waits its turn.
//!
//! As Kubernetes' work queues, an object is worked at by one worker at a time, waits once however often it is requested
//! and after a failure waits longer each time. Beyond them, objects wait in groups (one a store), each with
//! workers of its own: a store that does not answer holds up nothing but its own objects.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::metrics::WorkQueue;

/// The first wait after a failure.
const FAILED: Duration = Duration::from_secs(1);
/// The first wait after a conflict, and the longest: what was missed is on its way.
const CONFLICTED: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// A namespace (empty for what has none) and a name. Kept in many places, so a copy is no larger than a pointer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey(Arc<Names>);

/// What an [`ObjectKey`] says.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Names {
    /// The namespace.
    pub(crate) namespace: Box<str>,
    /// The name.
    pub(crate) name: Box<str>,
}

impl ObjectKey {
    pub(crate) fn new(namespace: impl Into<Box<str>>, name: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Names {
            namespace: namespace.into(),
            name: name.into(),
        }))
    }
}

impl std::ops::Deref for ObjectKey {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.0
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.namespace {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

impl std::fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Why an object is looked at, the weightier last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trigger {
    /// It, or what is made of it, may have changed.
    WatchEvent,
    /// Its time has come.
    Interval,
    /// What it is made of changed at the source, and it failed then.
    Retry,
    /// What it is made of changed at the source.
    SourceChanged,
}

/// An object whose turn it is.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The object.
    pub(crate) key: ObjectKey,
    /// Why.
    pub(crate) trigger: Trigger,
    /// Since when that is so; what is read must be as new as this.
    pub(crate) requested_at: Instant,
    group: String,
    began: Instant,
}

/// What becomes of an object after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requeue {
    /// Nothing, until something changes.
    OnChange,
    /// It comes up again.
    After(Duration),
    /// It comes up again soon, after a conflict.
    AfterConflict,
    /// It failed, and comes up again after a wait.
    AfterFailure,
}

struct Entry {
    group: String,
    trigger: Trigger,
    requested_at: Instant,
    queued: Instant,
}

#[derive(Default)]
struct Group {
    ready: VecDeque<ObjectKey>,
    running: usize,
}

#[derive(Default)]
struct State {
    /// What waits, in `groups`.
    waiting: HashMap<ObjectKey, Entry>,
    /// What is worked at, with what was requested meanwhile.
    running: HashMap<ObjectKey, Option<Entry>>,
    groups: BTreeMap<String, Group>,
    /// The group whose turn was last.
    last_group: String,
    /// When objects come up again, and the other way round.
    later: BTreeMap<(Instant, u64), (ObjectKey, String, Trigger)>,
    due: HashMap<ObjectKey, (Instant, u64)>,
    numbers: u64,
    /// How often in a row what came of it was this.
    consecutive_failures: HashMap<ObjectKey, (Requeue, u32)>,
}

/// The queue of one controller.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    /// How many objects of one group are in work at once.
    max_per_group: usize,
    /// The longest wait after a failure.
    longest: Duration,
    metrics: WorkQueue,
}

impl Queue {
    pub(crate) fn new(max_per_group: usize, longest: Duration, metrics: WorkQueue) -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            max_per_group: max_per_group.max(1),
            longest,
            metrics,
        }
    }

    /// Asks for an object to be looked at now.
    pub(crate) fn add(&self, key: ObjectKey, group: &str, trigger: Trigger, requested_at: Instant) {
        let mut state = self.lock();
        self.add_to(&mut state, key, group, trigger, requested_at);
        drop(state);
        self.wake.notify_one();
    }

    /// Whether more objects wait than can be in work at once.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock().waiting.len() > self.max_per_group
    }

    /// The next object whose turn it is.
    pub(crate) async fn next(&self) -> Work {
        loop {
            let (work, later) = {
                let mut state = self.lock();
                self.release_due(&mut state);
                (self.take(&mut state), state.later.keys().next().map(|(when, _)| *when))
            };
            if let Some(work) = work {
                return work;
            }
            match later {
                None => self.wake.notified().await,
                Some(when) => {
                    let _woken_or_due = tokio::time::timeout_at(when.into(), self.wake.notified()).await;
                }
            }
        }
    }

    /// Ends an object's turn.
    pub(crate) fn done(&self, work: &Work, requeue: Requeue) {
        let mut state = self.lock();
        let requested_meanwhile = state.running.remove(&work.key).flatten();
        if let Some(group) = state.groups.get_mut(&work.group) {
            group.running -= 1;
            if group.running == 0 && group.ready.is_empty() {
                state.groups.remove(&work.group);
            }
        }
        self.metrics.worked(work.began.elapsed());
        let backoff = match requeue {
            Requeue::AfterFailure => Some([FAILED, self.longest]),
            Requeue::AfterConflict => Some(CONFLICTED),
            Requeue::OnChange | Requeue::After(_) => None,
        };
        let wait = match (backoff, requeue) {
            (Some([first, longest]), _) => {
                let known = state.consecutive_failures.get(&work.key);
                let count = known.map_or(0, |(known, count)| if *known == requeue { *count } else { 0 });
                state
                    .consecutive_failures
                    .insert(work.key.clone(), (requeue, count + 1));
                self.metrics.retried();
                // Those that failed together shall not come back together.
                let wait = first.saturating_mul(1 << count.min(10)).min(longest);
                Some(wait.mul_f64(rand::random_range(0.8..1.2)))
            }
            (None, requeue) => {
                state.consecutive_failures.remove(&work.key);
                match requeue {
                    Requeue::After(wait) => Some(wait),
                    _ => None,
                }
            }
        };
        if let Some(wait) = wait {
            let trigger = match requeue {
                Requeue::After(_) => Trigger::Interval,
                _ => work.trigger.min(Trigger::Retry),
            };
            // A wait of many years is none that ends.
            if let Some(when) = Instant::now().checked_add(wait) {
                Self::schedule(&mut state, work.key.clone(), &work.group, trigger, when);
            }
        }
        if let Some(entry) = requested_meanwhile {
            self.add_to(
                &mut state,
                work.key.clone(),
                &entry.group,
                entry.trigger,
                entry.requested_at,
            );
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Forgets what an object was waiting for; it is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        let mut state = self.lock();
        state.consecutive_failures.remove(key);
        Self::unschedule(&mut state, key);
    }

    fn add_to(&self, state: &mut State, key: ObjectKey, group: &str, trigger: Trigger, requested_at: Instant) {
        // Says whether it is in another group now.
        let merge = |entry: &mut Entry| {
            entry.trigger = entry.trigger.max(trigger);
            entry.requested_at = entry.requested_at.max(requested_at);
            let moved = entry.group != group;
            if moved {
                group.clone_into(&mut entry.group);
            }
            moved
        };
        let new = Entry {
            group: group.to_owned(),
            trigger,
            requested_at,
            queued: Instant::now(),
        };
        if let Some(meanwhile) = state.running.get_mut(&key) {
            match meanwhile {
                Some(entry) => drop(merge(entry)),
                None => *meanwhile = Some(new),
            }
            return;
        }
        match state.waiting.get_mut(&key) {
            Some(entry) => {
                // One that moved stays where it stood, too: `take` passes over it there.
                if !merge(entry) {
                    return;
                }
            }
            None => {
                self.metrics.added();
                state.waiting.insert(key.clone(), new);
            }
        }
        state.groups.entry(group.to_owned()).or_default().ready.push_back(key);
    }

    fn release_due(&self, state: &mut State) {
        let now = Instant::now();
        while let Some(first) = state.later.first_entry()
            && first.key().0 <= now
        {
            let (key, group, trigger) = first.remove();
            state.due.remove(&key);
            self.add_to(state, key, &group, trigger, now);
        }
    }

    /// The first of the next group that has both work and a free worker.
    fn take(&self, state: &mut State) -> Option<Work> {
        let (group, key, entry) = loop {
            let free = |group: &Group| !group.ready.is_empty() && group.running < self.max_per_group;
            let after = (
                std::ops::Bound::Excluded(state.last_group.clone()),
                std::ops::Bound::Unbounded,
            );
            let mut groups = state.groups.range(after).chain(&state.groups);
            let name = groups.find(|(_, group)| free(group))?.0.clone();
            let group = state.groups.get_mut(&name)?;
            let key = group.ready.pop_front()?;
            match state.waiting.remove(&key) {
                Some(entry) if entry.group == name => {
                    group.running += 1;
                    break (name, key, entry);
                }
                // It moved to another group, or had its turn there.
                Some(entry) => drop(state.waiting.insert(key, entry)),
                None => {}
            }
            if group.running == 0 && group.ready.is_empty() {
                state.groups.remove(&name);
            }
        };
        if state.waiting.is_empty() {
            // All of thousands waited at the start, and so many never will again.
            state.waiting.shrink_to(64);
        }
        // A look does not stand for the retry it comes before.
        let retry = Self::unschedule(state, &key).filter(|trigger| *trigger >= Trigger::Retry);
        state.running.insert(key.clone(), None);
        state.last_group.clone_from(&group);
        self.metrics.taken(entry.queued.elapsed());
        Some(Work {
            key,
            trigger: retry.map_or(entry.trigger, |retry| retry.max(entry.trigger)),
            requested_at: entry.requested_at,
            group,
            began: Instant::now(),
        })
    }

    fn schedule(state: &mut State, key: ObjectKey, group: &str, trigger: Trigger, when: Instant) {
        Self::unschedule(state, &key);
        state.numbers += 1;
        let at = (when, state.numbers);
        state.later.insert(at, (key.clone(), group.to_owned(), trigger));
        state.due.insert(key, at);
    }

    fn unschedule(state: &mut State, key: &ObjectKey) -> Option<Trigger> {
        let at = state.due.remove(key)?;
        state.later.remove(&at).map(|(.., trigger)| trigger)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(max_per_group: usize) -> Queue {
        Queue::new(max_per_group, Duration::from_secs(3), WorkQueue::unregistered("test"))
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    fn add(queue: &Queue, name: &str, group: &str) {
        queue.add(key(name), group, Trigger::WatchEvent, Instant::now());
    }

    async fn next(queue: &Queue) -> Option<Work> {
        tokio::time::timeout(Duration::from_millis(1), queue.next()).await.ok()
    }

    #[tokio::test]
    async fn an_object_waits_once_and_is_worked_at_once() {
        let queue = queue(8);
        add(&queue, "a", "x");
        add(&queue, "a", "x");
        let work = next(&queue).await;
        assert!(next(&queue).await.is_none());
        add(&queue, "a", "x");
        assert!(next(&queue).await.is_none(), "it is being worked at");
        queue.done(&work.unwrap_or_else(|| unreachable!()), Requeue::OnChange);
        assert!(next(&queue).await.is_some(), "it was requested meanwhile");
    }

    #[tokio::test]
    async fn a_stuck_group_does_not_delay_another_group() {
        let queue = queue(1);
        add(&queue, "stuck", "dead");
        add(&queue, "waits", "dead");
        let _stuck = next(&queue).await;
        assert!(next(&queue).await.is_none());
        add(&queue, "quick", "alive");
        assert_eq!(next(&queue).await.map(|work| work.key), Some(key("quick")));
    }

    #[tokio::test]
    async fn groups_are_served_round_robin() {
        let queue = queue(8);
        for name in ["a1", "a2", "a3"] {
            add(&queue, name, "a");
        }
        add(&queue, "b1", "b");
        let mut order = Vec::new();
        while let Some(work) = next(&queue).await {
            order.push(work.key.name.to_string());
        }
        assert_eq!(order, ["a1", "b1", "a2", "a3"]);
    }

    #[tokio::test]
    async fn an_object_that_moves_to_another_group_does_not_wait_in_the_old_one() {
        let queue = queue(1);
        add(&queue, "stuck", "dead");
        let stuck = next(&queue).await;
        add(&queue, "a", "dead");
        assert!(next(&queue).await.is_none());
        add(&queue, "a", "alive");
        assert_eq!(next(&queue).await.map(|work| work.key), Some(key("a")));
        queue.done(&stuck.unwrap_or_else(|| unreachable!()), Requeue::OnChange);
        assert!(next(&queue).await.is_none(), "it had its turn");
    }

    #[tokio::test]
    async fn a_look_does_not_make_a_failed_change_be_forgotten() {
        let queue = queue(8);
        queue.add(key("a"), "x", Trigger::SourceChanged, Instant::now());
        let work = queue.next().await;
        queue.done(&work, Requeue::AfterFailure);
        add(&queue, "a", "x");
        assert_eq!(queue.next().await.trigger, Trigger::Retry);
    }

    #[tokio::test]
    async fn waiting_grows_with_failures_to_an_end_and_the_weightier_reason_stays() {
        let queue = queue(8);
        queue.add(key("a"), "x", Trigger::SourceChanged, Instant::now());
        queue.add(key("a"), "x", Trigger::WatchEvent, Instant::now());
        let work = queue.next().await;
        assert_eq!(work.trigger, Trigger::SourceChanged);
        queue.done(&work, Requeue::AfterFailure);
        let wait = |queue: &Queue| {
            let state = queue.lock();
            state
                .later
                .keys()
                .next()
                .map(|(when, _)| when.duration_since(Instant::now()))
        };
        let first = wait(&queue).unwrap_or_default();
        assert!(first > Duration::from_millis(700) && first < Duration::from_millis(1300));
        add(&queue, "a", "x");
        let work = queue.next().await;
        queue.done(&work, Requeue::AfterFailure);
        assert!(wait(&queue).unwrap_or_default() > Duration::from_millis(1500));
        for _ in 0..5 {
            add(&queue, "a", "x");
            let work = queue.next().await;
            queue.done(&work, Requeue::AfterFailure);
        }
        let longest = wait(&queue).unwrap_or_default();
        assert!(longest > Duration::from_millis(2200) && longest < Duration::from_millis(3800));
    }
}
