//! A controller's work queue.
//!
//! As in client-go's work queues, one worker at a time reconciles an object, an object is queued once however often it is
//! requested, and an object waits longer after each consecutive failure. In addition every object belongs to a concurrency
//! group, usually its store, and at most `max_per_group` objects of one group are reconciled at the same time. So a server
//! that does not answer delays only the objects of its own store.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant as StdInstant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::WorkQueue;
use crate::object_key::ObjectKey;
use crate::work::{Requeue, Trigger, Work};

/// Minimum backoff after a failure. The maximum is the queue's own.
const FAILURE_BACKOFF: Duration = Duration::from_secs(1);
/// Minimum and maximum backoff after a conflict. Short, because the missed update arrives by watch.
const CONFLICT_BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// A request to reconcile an object.
struct Request {
    group: String,
    trigger: Trigger,
    requested_at: StdInstant,
    queued_at: Instant,
}

/// An object that is being reconciled.
struct Running {
    group: String,
    started_at: Instant,
    /// The object was requested again while it was being reconciled.
    again: Option<Request>,
}

#[derive(Default)]
struct Group {
    /// Keys that wait. A key of an object that has moved to another group stays in the list: [`Queue::take`] skips it.
    waiting: VecDeque<ObjectKey>,
    running: usize,
}

/// A time, and a number that keeps equal times apart.
type ScheduleKey = (Instant, u64);

#[derive(Default)]
struct State {
    /// Objects that wait for a worker. Their keys are in `groups`, too.
    waiting: HashMap<ObjectKey, Request>,
    /// Objects that are being reconciled.
    running: HashMap<ObjectKey, Running>,
    groups: BTreeMap<String, Group>,
    /// The group that was served last: groups are served round-robin.
    last_group: String,
    /// Objects that are queued later, in the order of time. Each is in `schedule_keys`, too.
    scheduled: BTreeMap<ScheduleKey, (ObjectKey, String, Trigger)>,
    schedule_keys: HashMap<ObjectKey, ScheduleKey>,
    /// How many objects were ever scheduled.
    schedule_count: u64,
    /// How often in a row an object ended in [`Requeue::AfterFailure`], or in [`Requeue::AfterConflict`].
    consecutive_failures: HashMap<ObjectKey, (Requeue, u32)>,
}

/// The work queue of one controller.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    /// How many objects of one group are reconciled at the same time.
    max_per_group: usize,
    max_backoff: Duration,
    metrics: WorkQueue,
}

impl Queue {
    /// An empty queue. `max_backoff` is the longest wait after a failure.
    pub(crate) fn new(max_per_group: usize, max_backoff: Duration, metrics: WorkQueue) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            max_per_group: max_per_group.max(1),
            max_backoff,
            metrics,
        }
    }

    /// Queues an object. If it waits already, the greater trigger and the later time count, and it moves to this group. If
    /// it is being reconciled, it is queued when that reconcile ends.
    pub(crate) fn add(&self, key: ObjectKey, group: &str, trigger: Trigger, requested_at: StdInstant) {
        let mut state = self.state.lock();
        self.add_to(&mut state, key, group, trigger, requested_at);
        drop(state);
        self.changed.notify_one();
    }

    /// Whether more objects wait than one group may have in work.
    pub(crate) fn is_crowded(&self) -> bool {
        self.state.lock().waiting.len() > self.max_per_group
    }

    /// Waits for an object whose group has a free worker. The caller reconciles it and then calls [`done`](Self::done).
    pub(crate) async fn next(&self) -> Work {
        loop {
            let (work, next_scheduled) = {
                let mut state = self.state.lock();
                self.queue_due(&mut state);
                (
                    self.take(&mut state),
                    state.scheduled.keys().next().map(|(when, _)| *when),
                )
            };
            if let Some(work) = work {
                return work;
            }
            match next_scheduled {
                None => self.changed.notified().await,
                // On a change and at the time alike the loop looks again.
                Some(when) => drop(tokio::time::timeout_at(when, self.changed.notified()).await),
            }
        }
    }

    /// Ends the reconcile of an object that [`next`](Self::next) returned, and schedules the next one.
    pub(crate) fn done(&self, work: &Work, requeue: Requeue) {
        let mut state = self.state.lock();
        let Some(running) = state.running.remove(&work.key) else {
            return;
        };
        if let Some(group) = state.groups.get_mut(&running.group) {
            group.running -= 1;
            if group.running == 0 && group.waiting.is_empty() {
                state.groups.remove(&running.group);
            }
        }
        self.metrics.ended(running.started_at.elapsed(), requeue);
        let wait = match requeue {
            Requeue::AfterFailure => Some(self.backoff(&mut state, work, requeue, [FAILURE_BACKOFF, self.max_backoff])),
            Requeue::AfterConflict => Some(self.backoff(&mut state, work, requeue, CONFLICT_BACKOFF)),
            Requeue::After(wait) => {
                state.consecutive_failures.remove(&work.key);
                Some(wait)
            }
            Requeue::OnChange => {
                state.consecutive_failures.remove(&work.key);
                None
            }
        };
        // A sum past the clock's range is a wait without an end.
        if let Some(when) = wait.and_then(|wait| Instant::now().checked_add(wait)) {
            let trigger = match requeue {
                Requeue::After(_) => Trigger::Interval,
                _ => work.trigger.min(Trigger::Retry),
            };
            Self::schedule(&mut state, work.key.clone(), &running.group, trigger, when);
        }
        if let Some(again) = running.again {
            self.add_to(
                &mut state,
                work.key.clone(),
                &again.group,
                again.trigger,
                again.requested_at,
            );
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets the schedule and the failures of an object that was deleted.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        let mut state = self.state.lock();
        state.consecutive_failures.remove(key);
        Self::unschedule(&mut state, key);
    }

    /// Counts one more failure of a kind, and returns the wait after it: doubled with each, and spread by a fifth, so that
    /// objects that failed together do not come back together.
    fn backoff(&self, state: &mut State, work: &Work, kind: Requeue, [min, max]: [Duration; 2]) -> Duration {
        let failures = match state.consecutive_failures.get(&work.key) {
            Some((last, count)) if *last == kind => *count,
            _ => 0,
        };
        state
            .consecutive_failures
            .insert(work.key.clone(), (kind, failures.saturating_add(1)));
        self.metrics.retried();
        let wait = min.saturating_mul(1 << failures.min(10)).min(max);
        wait.mul_f64(rand::random_range(0.8..1.2))
    }

    fn add_to(&self, state: &mut State, key: ObjectKey, group: &str, trigger: Trigger, requested_at: StdInstant) {
        // Returns whether the request has moved to another group.
        let merge = |known: &mut Request| {
            known.trigger = known.trigger.max(trigger);
            known.requested_at = known.requested_at.max(requested_at);
            let moved = known.group != group;
            if moved {
                group.clone_into(&mut known.group);
            }
            moved
        };
        let new = Request {
            group: group.to_owned(),
            trigger,
            requested_at,
            queued_at: Instant::now(),
        };
        if let Some(running) = state.running.get_mut(&key) {
            match &mut running.again {
                Some(known) => {
                    merge(known);
                }
                again => *again = Some(new),
            }
            return;
        }
        match state.waiting.get_mut(&key) {
            Some(known) => {
                if !merge(known) {
                    return;
                }
            }
            None => {
                self.metrics.added();
                state.waiting.insert(key.clone(), new);
            }
        }
        state.groups.entry(group.to_owned()).or_default().waiting.push_back(key);
    }

    /// Queues the scheduled objects whose time has come.
    fn queue_due(&self, state: &mut State) {
        let now = Instant::now();
        while let Some(first) = state.scheduled.first_entry()
            && first.key().0 <= now
        {
            let (key, group, trigger) = first.remove();
            state.schedule_keys.remove(&key);
            self.add_to(state, key, &group, trigger, now.into_std());
        }
    }

    /// Takes the first object of the next group that has a waiting object and a free worker.
    fn take(&self, state: &mut State) -> Option<Work> {
        let (group, key, request) = loop {
            let is_ready = |group: &Group| !group.waiting.is_empty() && group.running < self.max_per_group;
            let after_last = (Bound::Excluded(state.last_group.clone()), Bound::Unbounded);
            let mut groups = state.groups.range(after_last).chain(&state.groups);
            let name = groups.find(|(_, group)| is_ready(group))?.0.clone();
            let group = state.groups.get_mut(&name)?;
            let key = group.waiting.pop_front()?;
            match state.waiting.remove(&key) {
                Some(request) if request.group == name => {
                    group.running += 1;
                    break (name, key, request);
                }
                // The object waits in another group now.
                Some(request) => drop(state.waiting.insert(key, request)),
                // The object moved to another group and was reconciled there.
                None => {}
            }
            if group.running == 0 && group.waiting.is_empty() {
                state.groups.remove(&name);
            }
        };
        if state.waiting.is_empty() {
            // At the start all objects wait, maybe thousands. So many never wait again: give the memory back.
            state.waiting.shrink_to(64);
        }
        // Running early because of a watch event does not cancel a scheduled retry.
        let retry = Self::unschedule(state, &key).filter(|trigger| *trigger >= Trigger::Retry);
        state.running.insert(
            key.clone(),
            Running {
                group: group.clone(),
                started_at: Instant::now(),
                again: None,
            },
        );
        state.last_group = group;
        self.metrics.started(request.queued_at.elapsed());
        Some(Work {
            key,
            trigger: retry.map_or(request.trigger, |retry| retry.max(request.trigger)),
            requested_at: request.requested_at,
        })
    }

    fn schedule(state: &mut State, key: ObjectKey, group: &str, trigger: Trigger, when: Instant) {
        Self::unschedule(state, &key);
        state.schedule_count += 1;
        let at = (when, state.schedule_count);
        state.scheduled.insert(at, (key.clone(), group.to_owned(), trigger));
        state.schedule_keys.insert(key, at);
    }

    /// Removes an object from the schedule, and returns the trigger it was scheduled with.
    fn unschedule(state: &mut State, key: &ObjectKey) -> Option<Trigger> {
        let at = state.schedule_keys.remove(key)?;
        state.scheduled.remove(&at).map(|(.., trigger)| trigger)
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

    fn add(queue: &Queue, name: &str, group: &str, trigger: Trigger) {
        queue.add(key(name), group, trigger, StdInstant::now());
    }

    fn add_event(queue: &Queue, name: &str, group: &str) {
        add(queue, name, group, Trigger::WatchEvent);
    }

    /// The next object, or `None` if all workers would be idle. Time is paused, so the wait takes none.
    async fn next(queue: &Queue) -> Option<Work> {
        tokio::time::timeout(Duration::from_millis(1), queue.next()).await.ok()
    }

    /// How long it takes until the next object comes up, in the tests' paused time.
    async fn wait(queue: &Queue) -> (Work, Duration) {
        let since = Instant::now();
        let work = queue.next().await;
        (work, since.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_waits_once_and_is_reconciled_by_one_worker() {
        let queue = queue(8);
        add_event(&queue, "a", "x");
        add_event(&queue, "a", "x");
        let work = next(&queue).await.unwrap();
        assert!(next(&queue).await.is_none(), "it was queued twice");
        add_event(&queue, "a", "x");
        assert!(next(&queue).await.is_none(), "two workers reconcile it");
        queue.done(&work, Requeue::OnChange);
        assert!(next(&queue).await.is_some(), "a request during the reconcile was lost");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_group_does_not_delay_another_group() {
        let queue = queue(1);
        add_event(&queue, "stuck", "dead");
        add_event(&queue, "waits", "dead");
        assert_eq!(next(&queue).await.unwrap().key, key("stuck"));
        assert!(next(&queue).await.is_none());
        add_event(&queue, "quick", "alive");
        assert_eq!(next(&queue).await.unwrap().key, key("quick"));
    }

    #[tokio::test(start_paused = true)]
    async fn groups_are_served_round_robin() {
        let queue = queue(8);
        for name in ["a1", "a2", "a3"] {
            add_event(&queue, name, "a");
        }
        add_event(&queue, "b1", "b");
        let mut order = Vec::new();
        while let Some(work) = next(&queue).await {
            order.push(work.key.name.to_string());
        }
        assert_eq!(order, ["a1", "b1", "a2", "a3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_moves_to_another_group_does_not_wait_in_the_old_one() {
        let queue = queue(1);
        add_event(&queue, "stuck", "dead");
        let stuck = next(&queue).await.unwrap();
        add_event(&queue, "a", "dead");
        assert!(next(&queue).await.is_none());
        add_event(&queue, "a", "alive");
        assert_eq!(next(&queue).await.unwrap().key, key("a"));
        queue.done(&stuck, Requeue::OnChange);
        assert!(next(&queue).await.is_none(), "it was reconciled a second time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_event_does_not_cancel_the_retry_of_a_failed_change() {
        let queue = queue(8);
        add(&queue, "a", "x", Trigger::SourceChanged);
        let work = queue.next().await;
        queue.done(&work, Requeue::AfterFailure);
        add_event(&queue, "a", "x");
        assert_eq!(queue.next().await.trigger, Trigger::Retry);
    }

    #[tokio::test(start_paused = true)]
    async fn the_greater_trigger_counts() {
        let queue = queue(8);
        add(&queue, "a", "x", Trigger::SourceChanged);
        add_event(&queue, "a", "x");
        assert_eq!(queue.next().await.trigger, Trigger::SourceChanged);
    }

    #[tokio::test(start_paused = true)]
    async fn backoff_doubles_up_to_its_maximum_and_ends_with_a_success() {
        let queue = queue(8);
        add_event(&queue, "a", "x");
        let mut work = queue.next().await;
        // Each within a fifth; the queue's maximum is 3 s.
        for (failure, seconds) in [1.0, 2.0, 3.0, 3.0].into_iter().enumerate() {
            queue.done(&work, Requeue::AfterFailure);
            let waited;
            (work, waited) = wait(&queue).await;
            let expected = seconds * 0.79..seconds * 1.21;
            assert!(
                expected.contains(&waited.as_secs_f64()),
                "failure {failure}: {waited:?}"
            );
        }
        queue.done(&work, Requeue::After(Duration::from_secs(60)));
        let (work, waited) = wait(&queue).await;
        assert_eq!((work.trigger, waited.as_secs()), (Trigger::Interval, 60));
        queue.done(&work, Requeue::AfterFailure);
        let (_, waited) = wait(&queue).await;
        assert!(waited.as_secs_f64() < 1.21, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_is_retried_sooner_than_a_failure() {
        let queue = queue(8);
        add_event(&queue, "a", "x");
        let work = queue.next().await;
        queue.done(&work, Requeue::AfterConflict);
        let (_, waited) = wait(&queue).await;
        assert!(waited < Duration::from_millis(100), "{waited:?}");
    }
}
