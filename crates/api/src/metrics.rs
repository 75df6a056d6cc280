//! What the api counts, for Prometheus. Vaults by id; no titles, no values.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sidevault_keys::Token;
use sidevault_store::View;

use crate::routes::Route;

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct Request {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct TokenLabel {
    /// Not the name: anyone may read `/metrics`, and `sidevault token list` knows both.
    jti: String,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct VaultLabel {
    vault: String,
}

/// The api's series, all prefixed `sidevault_`.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    duration: Family<RouteLabel, Histogram>,
    auth_failures: Family<Reason, Counter>,
    token_expiry: Family<TokenLabel, Gauge>,
    activity_dropped: Counter,
    pub(crate) event_streams: Gauge,
    sync_linked: Gauge,
    items: Family<VaultLabel, Gauge>,
    sequence: Gauge,
    known: [Known; Route::COUNT],
}

/// A route's series that nearly every request counts in, found by their labels only once.
#[derive(Default)]
struct Known {
    read: OnceLock<Counter>,
    duration: OnceLock<Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("sidevault"),
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 4.0, 9))),
            auth_failures: Family::default(),
            token_expiry: Family::default(),
            activity_dropped: Counter::default(),
            event_streams: Gauge::default(),
            sync_linked: Gauge::default(),
            items: Family::default(),
            sequence: Gauge::default(),
            known: Default::default(),
        };
        let r = &mut metrics.registry;
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "What is running", version);
        r.register("http_requests", "Requests answered", metrics.requests.clone());
        r.register_with_unit(
            "http_request_duration",
            "Time until an answer began",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        r.register(
            "auth_failures",
            "Requests refused for their token",
            metrics.auth_failures.clone(),
        );
        r.register(
            "token_expiry_timestamp_seconds",
            "When tokens that were used here expire, Unix time",
            metrics.token_expiry.clone(),
        );
        r.register(
            "activity_dropped",
            "Requests missing in the activity log because there were too many",
            metrics.activity_dropped.clone(),
        );
        r.register(
            "events_subscribers",
            "Open event streams",
            metrics.event_streams.clone(),
        );
        r.register("bus_connected", "1 if sync can be reached", metrics.sync_linked.clone());
        r.register("items", "Active items of a vault", metrics.items.clone());
        r.register(
            "events_sequence",
            "Number of the newest change",
            metrics.sequence.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// In Prometheus' text format.
    pub(crate) fn encode(&self, view: Option<&View>, linked: bool) -> String {
        self.sync_linked.set(i64::from(linked));
        if let Some(view) = view {
            self.sequence.set(view.sequence());
            // When these would have expired is of no interest any more.
            for jti in view.revoked() {
                self.token_expiry.remove(&TokenLabel { jti: jti.to_owned() });
            }
            self.items.clear();
            for entry in view.vaults() {
                let vault = VaultLabel {
                    vault: entry.vault.id.to_string(),
                };
                self.items
                    .get_or_create(&vault)
                    .set(i64::try_from(entry.vault.items).unwrap_or(i64::MAX));
            }
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _infallible = text::encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn answered(&self, route: Route, method: &http::Method, status: u16, took: Duration) {
        let known = &self.known[route as usize];
        let counter = |method| {
            let route = route.label();
            self.requests.get_or_create_owned(&Request { route, method, status })
        };
        match *method {
            http::Method::GET if status == 200 => known.read.get_or_init(|| counter("GET")).inc(),
            http::Method::GET => counter("GET").inc(),
            http::Method::POST => counter("POST").inc(),
            http::Method::PUT => counter("PUT").inc(),
            http::Method::PATCH => counter("PATCH").inc(),
            http::Method::DELETE => counter("DELETE").inc(),
            http::Method::HEAD => counter("HEAD").inc(),
            // A client may send any word: they must not become series of their own.
            _ => counter("other").inc(),
        };
        let duration = known.duration.get_or_init(|| {
            let route = route.label();
            self.duration.get_or_create_owned(&RouteLabel { route })
        });
        duration.observe(took.as_secs_f64());
    }

    pub(crate) fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn token_seen(&self, token: &Token) {
        if let Some(at) = token.expires_at {
            let label = TokenLabel { jti: token.jti.clone() };
            self.token_expiry.get_or_create(&label).set(at.as_millis() / 1000);
        }
    }

    pub(crate) fn activity_dropped(&self, count: u64) {
        self.activity_dropped.inc_by(count);
    }
}
