//! What the api counts, for Prometheus. Vaults by id; no titles, no values. Series that name vaults or tokens are shown
//! only to requests with a valid token.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sidevault_keys::Token;
use sidevault_model::Timestamp;
use sidevault_store::Snapshot;

use crate::connections::ClosedConnections;
use crate::route::{ITEM, ITEMS, Route};

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct Request {
    route: Route,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct RouteLabel {
    route: Route,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct TokenLabel {
    /// The token's id, not its name: `sidevault token list` shows both.
    jti: String,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct VaultLabel {
    vault: String,
}

const TOKEN_EXPIRY: &str = "token_expiry_timestamp_seconds";

/// The api's series, all prefixed `sidevault_`.
pub(crate) struct Metrics {
    registry: Registry,
    /// Series that are shown only with a valid token.
    details: Registry,
    requests: Family<Request, Counter>,
    duration: Family<RouteLabel, Histogram>,
    auth_failures: Family<Reason, Counter>,
    /// When the tokens that were used here expire, Unix time, by their ids.
    expiries: Mutex<BTreeMap<String, i64>>,
    token_expiry: Family<TokenLabel, Gauge>,
    activity_dropped: Counter,
    pub(crate) event_streams: Gauge,
    pub(crate) connections_closed: ClosedConnections,
    sync_linked: Gauge,
    items: Family<VaultLabel, Gauge>,
    sequence: Gauge,
    frequent: [Frequent; 2],
}

/// The series of a GET that nearly all requests are and that succeeded, looked up by their labels only once.
struct Frequent {
    route: &'static str,
    count: Counter,
    duration: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::default();
        let duration: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 4.0, 9)));
        let frequent = [ITEM, ITEMS].map(|route| Frequent {
            route,
            count: requests.get_or_create_owned(&Request {
                route: route.into(),
                method: "GET",
                status: 200,
            }),
            duration: duration.get_or_create_owned(&RouteLabel { route: route.into() }),
        });
        let mut metrics = Self {
            registry: Registry::with_prefix("sidevault"),
            details: Registry::with_prefix("sidevault"),
            requests,
            duration,
            frequent,
            auth_failures: Family::default(),
            expiries: Mutex::default(),
            token_expiry: Family::default(),
            activity_dropped: Counter::default(),
            event_streams: Gauge::default(),
            connections_closed: ClosedConnections::default(),
            sync_linked: Gauge::default(),
            items: Family::default(),
            sequence: Gauge::default(),
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
            "activity_dropped",
            "Requests missing in the activity log because there were too many",
            metrics.activity_dropped.clone(),
        );
        r.register(
            "events_subscribers",
            "Open event streams",
            metrics.event_streams.clone(),
        );
        metrics.connections_closed.register(r);
        r.register("bus_connected", "1 if sync can be reached", metrics.sync_linked.clone());
        r.register(
            "events_sequence",
            "Number of the newest change",
            metrics.sequence.clone(),
        );
        let help = "When tokens that were used here expire, Unix time";
        metrics
            .details
            .register(TOKEN_EXPIRY, help, metrics.token_expiry.clone());
        metrics
            .details
            .register("items", "Active items of a vault", metrics.items.clone());
        metrics
    }
}

/// What those are shown who may not know the details.
fn summary(next_expiry: Option<i64>) -> Registry {
    let mut summary = Registry::with_prefix("sidevault");
    if let Some(next) = next_expiry {
        let gauge: Gauge = Gauge::default();
        gauge.set(next);
        let help = "When the next of the tokens that were used here expires, Unix time";
        summary.register(TOKEN_EXPIRY, help, gauge);
    }
    summary
}

impl Metrics {
    /// In Prometheus' text format. Without the details no vault and no token can be told from it; of the tokens there is
    /// when the next one expires, so that an alert works all the same.
    pub(crate) fn encode(&self, snapshot: Option<&Snapshot>, linked: bool, with_details: bool) -> String {
        self.sync_linked.set(i64::from(linked));
        if let Some(snapshot) = snapshot {
            self.sequence.set(snapshot.sequence());
            self.items.clear();
            for entry in snapshot.vaults() {
                let vault = VaultLabel {
                    vault: entry.vault.id.to_string(),
                };
                self.items
                    .get_or_create(&vault)
                    .set(i64::try_from(entry.vault.items).unwrap_or(i64::MAX));
            }
        }
        let next_expiry = self.set_expiries(snapshot);
        let mut text = String::new();
        // Writing to a String does not fail.
        let _infallible = text::encode_registry(&mut text, &self.registry)
            .and_then(|()| match with_details {
                true => text::encode_registry(&mut text, &self.details),
                false => text::encode_registry(&mut text, &summary(next_expiry)),
            })
            .and_then(|()| text::encode_eof(&mut text));
        text
    }

    /// Brings the series of tokens up to date. Returns when the next one expires.
    fn set_expiries(&self, snapshot: Option<&Snapshot>) -> Option<i64> {
        let now = Timestamp::now().as_millis() / 1000;
        let mut expiries = self.expiries();
        // A revoked token needs no alert before it expires.
        expiries.retain(|jti, _| !snapshot.is_some_and(|snapshot| snapshot.is_revoked(jti)));
        self.token_expiry.clear();
        for (jti, at) in &*expiries {
            let label = TokenLabel { jti: jti.clone() };
            self.token_expiry.get_or_create(&label).set(*at);
        }
        expiries.values().filter(|at| **at > now).min().copied()
    }

    fn expiries(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, i64>> {
        self.expiries.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts a request that was answered, and how long that took.
    pub(crate) fn answered(&self, route: Route, method: &Method, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let frequent = self.frequent.iter().find(|frequent| frequent.route == route);
        if let Some(frequent) = frequent.filter(|_| *method == Method::GET && status == 200) {
            frequent.count.inc();
            frequent.duration.observe(seconds);
            return;
        }
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            Method::HEAD => "HEAD",
            // A client may send any word as the method, and each label value would be a further series.
            _ => "other",
        };
        let request = Request {
            route: route.clone(),
            method,
            status,
        };
        self.requests.get_or_create(&request).inc();
        self.duration.get_or_create(&RouteLabel { route }).observe(seconds);
    }

    pub(crate) fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn token_seen(&self, token: &Token) {
        if let Some(at) = token.expires_at {
            self.expiries().insert(token.jti.clone(), at.as_millis() / 1000);
        }
    }

    pub(crate) fn activity_dropped(&self, count: u64) {
        self.activity_dropped.inc_by(count);
    }
}
