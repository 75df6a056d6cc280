//! What happened in the last hours, for the plots of the page: how many requests for vaults there were, how long they took, and how
//! the sources did. It is in memory only, and takes as much from the first minute on as it ever takes for requests, and a fixed amount
//! for each source.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use sidevault_model::{SourceProgress, Timestamp};
use tokio::time::Instant;

/// The time that one point of a plot stands for.
const SLOT: Duration = Duration::from_secs(120);

/// How many slots are kept: 12 hours.
const SLOTS: usize = 360;

/// How many sources are kept. With all of them, the history takes about 210 kB.
const MAX_SOURCES: usize = 32;

/// Bounds of latency: 0.1 ms, and each bound twice the one before it, up to 3.3 s.
const BOUNDS: usize = 16;
const FIRST_BOUND: Duration = Duration::from_micros(100);

#[derive(Clone, Copy, Default)]
struct Requests {
    failed: u32,
    /// By latency. The last counts what took longer than the last bound.
    took: [u32; BOUNDS + 1],
}

#[derive(Clone, Copy, Default)]
struct Source {
    /// How old the newest state of the source was at the end of the slot, in seconds. None: it was not known.
    age: Option<u32>,
    reads: u32,
    failures: u32,
}

/// The newest slots, oldest first.
struct Ring<T> {
    slots: VecDeque<T>,
    /// The number of the newest slot, counted from the start of the history.
    newest: u64,
}

impl<T: Default> Ring<T> {
    /// `newest`: the present slot, of the first event.
    fn new(newest: u64) -> Self {
        let mut slots = VecDeque::with_capacity(SLOTS);
        slots.push_back(T::default());
        Self { slots, newest }
    }

    /// The slot with this number, which is the present one.
    fn at(&mut self, now: u64) -> &mut T {
        let missing = now.saturating_sub(self.newest);
        // After a long pause all old slots are gone.
        for _ in 0..missing.min(SLOTS as u64) {
            if self.slots.len() == SLOTS {
                self.slots.pop_front();
            }
            self.slots.push_back(T::default());
        }
        self.newest = self.newest.max(now);
        let last = self.slots.len() - 1;
        &mut self.slots[last]
    }
}

struct KnownSource {
    ring: Ring<Source>,
    /// What sync last reported.
    last: SourceProgress,
}

/// The history.
pub(crate) struct History {
    started: Instant,
    requests: Mutex<Ring<Requests>>,
    sources: Mutex<BTreeMap<String, KnownSource>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            requests: Mutex::new(Ring::new(0)),
            sources: Mutex::default(),
        }
    }
}

impl History {
    fn now(&self) -> u64 {
        self.started.elapsed().as_secs() / SLOT.as_secs()
    }

    /// Counts a request that was answered. Probes, the page's files and event streams do not count.
    pub(crate) fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        if !route.starts_with("/v1/vaults") && route != "/v1/resolve" {
            return;
        }
        let mut ring = self.requests.lock();
        let slot = ring.at(self.now());
        let bound = (0..BOUNDS).find(|n| took <= FIRST_BOUND * (1 << n));
        let count = &mut slot.took[bound.unwrap_or(BOUNDS)];
        *count = count.saturating_add(1);
        if status.is_server_error() {
            slot.failed = slot.failed.saturating_add(1);
        }
    }

    /// Takes in what sync last reported of its sources. A source that is no longer reported is forgotten.
    pub(crate) fn sources(&self, reports: &[SourceProgress], at: Timestamp) {
        let now = self.now();
        let mut sources = self.sources.lock();
        sources.retain(|name, _| reports.iter().any(|report| report.name == *name));
        for report in reports {
            if sources.len() == MAX_SOURCES && !sources.contains_key(&report.name) {
                continue;
            }
            let known = sources.entry(report.name.clone()).or_insert_with(|| KnownSource {
                ring: Ring::new(now),
                last: report.clone(),
            });
            let slot = known.ring.at(now);
            // A sync that was started anew counts from 0.
            let since = |new: u64, old: u64| u32::try_from(new.checked_sub(old).unwrap_or(new)).unwrap_or(u32::MAX);
            slot.reads = slot.reads.saturating_add(since(report.reads, known.last.reads));
            slot.failures = slot
                .failures
                .saturating_add(since(report.failures, known.last.failures));
            slot.age = report.fresh.map(|fresh| {
                let age = at.as_seconds().saturating_sub(fresh.as_seconds()).max(0);
                u32::try_from(age).unwrap_or(u32::MAX)
            });
            known.last = report.clone();
        }
    }

    /// The history, with these sources only.
    pub(crate) fn shown(&self, sources: &BTreeSet<&str>) -> Shown {
        let now = self.now();
        let requests = {
            let mut ring = self.requests.lock();
            ring.at(now);
            RequestSeries::of(&ring.slots)
        };
        let length = requests.count.len();
        let mut known = self.sources.lock();
        let series = known.iter_mut().filter(|(name, _)| sources.contains(&***name));
        let sources = series.map(|(name, known)| {
            known.ring.at(now);
            SourceSeries::of(name, &known.ring.slots, length)
        });
        Shown {
            slot_seconds: SLOT.as_secs(),
            newest_seconds: self.started.elapsed().as_secs() % SLOT.as_secs(),
            requests,
            sources: sources.collect(),
        }
    }
}

/// The body of `GET /v1/history`. Each list has one number for each slot, oldest first; the newest slot is not over yet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    slot_seconds: u64,
    /// How much of the newest slot is over, in seconds.
    newest_seconds: u64,
    requests: RequestSeries,
    sources: Vec<SourceSeries>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestSeries {
    count: Vec<u64>,
    failed: Vec<u32>,
    /// Half of the requests took no longer, in milliseconds; null if there were none.
    median_ms: Vec<Option<f64>>,
    /// The same for 95 of 100.
    p95_ms: Vec<Option<f64>>,
}

impl RequestSeries {
    fn of(slots: &VecDeque<Requests>) -> Self {
        Self {
            count: slots.iter().map(Requests::count).collect(),
            failed: slots.iter().map(|slot| slot.failed).collect(),
            median_ms: slots.iter().map(|slot| slot.quantile(0.5)).collect(),
            p95_ms: slots.iter().map(|slot| slot.quantile(0.95)).collect(),
        }
    }
}

impl Requests {
    fn count(&self) -> u64 {
        self.took.iter().map(|count| u64::from(*count)).sum()
    }

    /// The latency that this share of the requests did not exceed, between the bounds that it lies in.
    fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.count();
        let wanted = share * all as f64;
        let mut before = 0.0;
        for (n, count) in self.took.iter().enumerate() {
            let here = f64::from(*count);
            if here > 0.0 && before + here >= wanted {
                let upper = FIRST_BOUND.as_secs_f64() * 1000.0 * f64::powi(2.0, i32::try_from(n).unwrap_or(0));
                let lower = if n == 0 { 0.0 } else { upper / 2.0 };
                let exact = lower + (upper - lower) * (wanted - before) / here;
                return Some((exact * 1000.0).round() / 1000.0);
            }
            before += here;
        }
        None
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceSeries {
    name: String,
    /// For how long the source was not read successfully, or its remote not asked; null if that is not known.
    age_seconds: Vec<Option<u32>>,
    reads: Vec<u32>,
    failures: Vec<u32>,
}

impl SourceSeries {
    /// Filled up to `length` slots, for a source that is known for a shorter time.
    fn of(name: &str, slots: &VecDeque<Source>, length: usize) -> Self {
        let missing = std::iter::repeat_n(Source::default(), length.saturating_sub(slots.len()));
        let slots: Vec<Source> = missing.chain(slots.iter().copied()).collect();
        Self {
            name: name.to_owned(),
            age_seconds: slots.iter().map(|slot| slot.age).collect(),
            reads: slots.iter().map(|slot| slot.reads).collect(),
            failures: slots.iter().map(|slot| slot.failures).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, reads: u64, failures: u64, fresh: i64) -> SourceProgress {
        SourceProgress {
            name: name.to_owned(),
            reads,
            failures,
            fresh: Some(Timestamp::from_millis(fresh * 1000)),
        }
    }

    fn json(history: &History, sources: &[&str]) -> serde_json::Value {
        serde_json::to_value(history.shown(&sources.iter().copied().collect())).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_by_slot_and_the_oldest_slots_are_dropped() {
        let history = History::default();
        for millis in [1, 1, 1, 100] {
            history.answered(
                "/v1/vaults/{vault}/items",
                StatusCode::OK,
                Duration::from_millis(millis),
            );
        }
        history.answered("/health", StatusCode::OK, Duration::from_millis(1));
        tokio::time::advance(SLOT * 2).await;
        history.answered("/v1/resolve", StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(60));
        let requests = &json(&history, &[])["requests"];
        assert_eq!(requests["count"], serde_json::json!([4, 0, 1]));
        assert_eq!(requests["failed"], serde_json::json!([0, 0, 1]));
        let median = requests["medianMs"][0].as_f64().unwrap();
        assert!((0.8..=1.6).contains(&median), "{median}");
        assert!(requests["p95Ms"][0].as_f64().unwrap() > 51.2);
        assert!(requests["medianMs"][1].is_null());
        // A pause that is longer than the history.
        tokio::time::advance(SLOT * 100_000).await;
        let requests = &json(&history, &[])["requests"];
        let counts = requests["count"].as_array().unwrap();
        assert_eq!(
            (counts.len(), counts.iter().filter(|count| **count != 0).count()),
            (SLOTS, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn sources_are_those_that_one_may_see_and_at_most_32() {
        let history = History::default();
        let at = Timestamp::from_millis(1_000_000);
        history.sources(&[report("a", 5, 0, 990), report("b", 1, 0, 990)], at);
        history.sources(&[report("a", 7, 1, 1000), report("b", 1, 0, 990)], at);
        tokio::time::advance(SLOT).await;
        // sync was started anew.
        history.sources(&[report("a", 1, 0, 995), report("b", 0, 0, 990)], at);
        let shown = json(&history, &["a", "c"]);
        assert_eq!(
            shown["sources"],
            serde_json::json!([{"name": "a", "ageSeconds": [0, 5], "reads": [2, 1], "failures": [1, 0]}])
        );
        let many: Vec<_> = (0..100).map(|n| report(&format!("s{n}"), 0, 0, 0)).collect();
        history.sources(&many, at);
        assert_eq!(history.sources.lock().len(), MAX_SOURCES);
        history.sources(&[], at);
        assert_eq!(history.sources.lock().len(), 0);
    }

    #[test]
    fn the_history_has_a_bounded_size() {
        let bytes = SLOTS * (size_of::<Requests>() + MAX_SOURCES * size_of::<Source>());
        assert!(bytes <= 220_000, "{bytes}");
    }
}
