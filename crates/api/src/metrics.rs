//! The metrics of the api, in Prometheus' format. They hold no titles and no values, and name vaults and tokens by their ids,
//! which only requests with a valid token are shown.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use sidevault_keys::Token;
use sidevault_model::Timestamp;
use sidevault_store::{Reader, Snapshot};

use crate::connections::ClosedConnections;
use crate::route::{ITEM, ITEMS, Route};

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct RouteLabel {
    route: Route,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct TokenLabel {
    /// The token's id. `sidevault token list` shows the names beside the ids.
    jti: String,
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct VaultLabel {
    vault: String,
}

const TOKEN_EXPIRY: &str = "token_expiry_timestamp_seconds";

/// The metrics of the api. All names start with `sidevault_`.
pub(crate) struct Metrics {
    registry: Registry,
    /// Series that name vaults or tokens.
    details: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Family<RouteLabel, Histogram>,
    frequent: [Frequent; 2],
    auth_failures: Family<ReasonLabel, Counter>,
    /// When the tokens that were used here expire, in Unix time, by their ids.
    expiries: Mutex<BTreeMap<String, i64>>,
    token_expiry: Family<TokenLabel, Gauge>,
    activity_dropped: Counter,
    pub(crate) event_streams: Gauge,
    pub(crate) connections_closed: ClosedConnections,
    sync_connected: Gauge,
    items: Family<VaultLabel, Gauge>,
    sequence: Gauge,
    store_age: Gauge,
    connections_in_use: Gauge,
    connections_allowed: Gauge,
}

/// The series of successful GETs of one of the two most frequent routes, looked up by their labels only once.
struct Frequent {
    route: &'static str,
    count: Counter,
    duration: Histogram,
}

/// Registers a metric and returns it.
fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sidevault");
        let mut details = Registry::with_prefix("sidevault");
        let (r, d) = (&mut registry, &mut details);
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The running version", version);
        let help = "Requests that were answered";
        let requests: Family<RequestLabels, Counter> = registered(r, "http_requests", help, Family::default());
        let duration: Family<RouteLabel, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 4.0, 9)));
        let help = "Time from a request's head until the head of its response";
        r.register_with_unit("http_request_duration", help, Unit::Seconds, duration.clone());
        let frequent = [ITEM, ITEMS].map(|route| Frequent {
            route,
            count: requests.get_or_create_owned(&RequestLabels {
                route: route.into(),
                method: "GET",
                status: 200,
            }),
            duration: duration.get_or_create_owned(&RouteLabel { route: route.into() }),
        });
        let connections_closed = ClosedConnections::default();
        connections_closed.register(r);
        Self {
            requests,
            duration,
            frequent,
            auth_failures: registered(
                r,
                "auth_failures",
                "Requests whose token was refused",
                Family::default(),
            ),
            expiries: Mutex::default(),
            token_expiry: registered(
                d,
                TOKEN_EXPIRY,
                "When each token that was used here expires, in Unix time",
                Family::default(),
            ),
            activity_dropped: registered(
                r,
                "activity_dropped",
                "Requests that are missing in the activity log because there were too many",
                Counter::default(),
            ),
            event_streams: registered(r, "events_subscribers", "Open event streams", Gauge::default()),
            connections_closed,
            sync_connected: registered(r, "bus_connected", "1 if sync is connected, else 0", Gauge::default()),
            items: registered(d, "items", "Active items of each vault", Family::default()),
            sequence: registered(r, "events_sequence", "Number of the newest change", Gauge::default()),
            store_age: registered(
                r,
                "store_age_seconds",
                "For how long the api has not heard from the database; always 0 with SQLite",
                Gauge::default(),
            ),
            connections_in_use: registered(
                r,
                "store_connections_in_use",
                "Connections to the database in use",
                Gauge::default(),
            ),
            connections_allowed: registered(
                r,
                "store_connections_allowed",
                "Connections to the database that the api may open",
                Gauge::default(),
            ),
            registry,
            details,
        }
    }
}

/// The series in place of `details`, for requests that may not know the details.
fn summary(next_expiry: Option<i64>) -> Registry {
    let mut summary = Registry::with_prefix("sidevault");
    if let Some(next) = next_expiry {
        let gauge: Gauge = Gauge::default();
        gauge.set(next);
        let help = "When the next of the tokens that were used here expires, in Unix time";
        summary.register(TOKEN_EXPIRY, help, gauge);
    }
    summary
}

impl Metrics {
    /// Notes the state of the store.
    pub(crate) fn store(&self, store: &Reader) {
        self.store_age
            .set(i64::try_from(store.age().as_secs()).unwrap_or(i64::MAX));
        let (in_use, allowed) = store.connections();
        self.connections_in_use.set(in_use.into());
        self.connections_allowed.set(allowed.into());
    }

    /// All metrics in Prometheus' text format. Without `with_details` no series names a vault or a token; the expiry of the
    /// next token is shown all the same, so that an alert works without a token.
    pub(crate) fn encode(&self, snapshot: Option<&Snapshot>, sync_is_connected: bool, with_details: bool) -> String {
        self.sync_connected.set(i64::from(sync_is_connected));
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
        // Writing to a String never fails.
        text::encode_registry(&mut text, &self.registry)
            .and_then(|()| {
                if with_details {
                    text::encode_registry(&mut text, &self.details)
                } else {
                    text::encode_registry(&mut text, &summary(next_expiry))
                }
            })
            .and_then(|()| text::encode_eof(&mut text))
            .ok();
        text
    }

    /// Sets the series of tokens. Returns when the next token expires.
    fn set_expiries(&self, snapshot: Option<&Snapshot>) -> Option<i64> {
        let now = Timestamp::now().as_millis() / 1000;
        let mut expiries = self.expiries.lock();
        // Nobody has to be alerted before a revoked token expires.
        expiries.retain(|jti, _| !snapshot.is_some_and(|snapshot| snapshot.is_revoked(jti)));
        self.token_expiry.clear();
        for (jti, at) in &*expiries {
            let label = TokenLabel { jti: jti.clone() };
            self.token_expiry.get_or_create(&label).set(*at);
        }
        expiries.values().filter(|at| **at > now).min().copied()
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
        let request = RequestLabels {
            route: route.clone(),
            method,
            status,
        };
        self.requests.get_or_create(&request).inc();
        self.duration.get_or_create(&RouteLabel { route }).observe(seconds);
    }

    /// Counts a request whose token was refused.
    pub(crate) fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Notes when a token expires.
    pub(crate) fn token_seen(&self, token: &Token) {
        if let Some(at) = token.expires_at {
            self.expiries.lock().insert(token.jti.clone(), at.as_millis() / 1000);
        }
    }

    /// Counts records that the activity log lacks.
    pub(crate) fn activity_dropped(&self, count: u64) {
        self.activity_dropped.inc_by(count);
    }
}
