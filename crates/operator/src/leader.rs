//! One of several replicas works: the one that holds the Lease (coordination.k8s.io), as client-go's election has it.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::core::ObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::api_error::api_message;
use crate::operator::is_conflict;
use crate::options::Election;

/// A Lease that is held.
pub(crate) struct Held {
    api: Api<Lease>,
    election: Election,
    /// When the last request began that took or renewed it: the server's time may be as early.
    renewed: Instant,
}

/// What is known of another's Lease: clocks differ, so only how long it has not changed here counts.
struct Seen {
    renewed: (Option<String>, Option<MicroTime>),
    at: Instant,
}

/// Waits until the Lease is held. `None` when `stop` comes first.
pub(crate) async fn wait(client: &Client, election: &Election, stop: &CancellationToken) -> Option<Held> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &election.namespace);
    let mut seen = None;
    let mut told = false;
    loop {
        let renewed = Instant::now();
        match acquire(&api, election, &mut seen).await {
            Ok(true) => {
                tracing::info!(lease = election.name, "holding the Lease");
                let election = election.clone();
                return Some(Held { api, election, renewed });
            }
            Ok(false) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(lease = election.name, "another replica holds the Lease; waiting");
                }
            }
            // Somebody was quicker; the next look says who.
            Err(error) if is_conflict(&error) => {}
            Err(error) => {
                tracing::warn!(error = %api_message(&error), lease = election.name, "the Lease can't be had; trying again")
            }
        }
        // Replicas that start together shall not try together for ever.
        let pause = election.retry.mul_f64(rand::random_range(1.0..1.2));
        stop.run_until_cancelled(tokio::time::sleep(pause)).await?;
    }
}

impl Held {
    /// Renews the Lease, until it is lost or `stop`; then it is given back.
    pub(crate) async fn hold(mut self, stop: &CancellationToken) {
        let mut seen = None;
        loop {
            if stop
                .run_until_cancelled(tokio::time::sleep(self.election.retry))
                .await
                .is_none()
            {
                self.release().await;
                return;
            }
            // A server that hangs must not let the Lease run out unnoticed.
            let left = self.election.deadline.saturating_sub(self.renewed.elapsed());
            let began = Instant::now();
            match tokio::time::timeout(left, acquire(&self.api, &self.election, &mut seen)).await {
                Ok(Ok(true)) => self.renewed = began,
                Ok(Ok(false)) => return tracing::error!("another replica took the Lease"),
                // Also when somebody else wrote to it meanwhile: only a look says whether they took it.
                Ok(Err(error)) => {
                    tracing::warn!(error = %api_message(&error), "the Lease could not be renewed");
                    if self.renewed.elapsed() >= self.election.deadline {
                        return tracing::error!("the Lease could not be renewed in time");
                    }
                }
                Err(_) => return tracing::error!("the Lease could not be renewed in time"),
            }
        }
    }

    /// Another replica need not wait until it runs out.
    async fn release(&self) {
        let Ok(mut lease) = self.api.get(&self.election.name).await else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.election.identity) {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            let _run_out_then = self
                .api
                .replace(&self.election.name, &PostParams::default(), &lease)
                .await;
        }
    }
}

/// Takes or renews the Lease, if it is free, run out, or ours; `false` if another holds it.
async fn acquire(api: &Api<Lease>, election: &Election, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
    let now = MicroTime(Timestamp::now());
    let Some(mut lease) = api.get_opt(&election.name).await? else {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(election.name.clone()),
                namespace: Some(election.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(taken(election, None, &now)),
        };
        api.create(&PostParams::default(), &lease).await?;
        return Ok(true);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
    if holder.is_some_and(|holder| holder != election.identity) {
        let renewed = (spec.holder_identity.clone(), spec.renew_time.clone());
        if seen.as_ref().is_none_or(|seen| seen.renewed != renewed) {
            *seen = Some(Seen {
                renewed,
                at: Instant::now(),
            });
        }
        let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let run_out = seen
            .as_ref()
            .is_some_and(|seen| seen.at.elapsed() > Duration::from_secs(duration));
        if !run_out {
            return Ok(false);
        }
    }
    lease.spec = Some(taken(election, Some(&spec), &now));
    api.replace(&election.name, &PostParams::default(), &lease).await?;
    Ok(true)
}

fn taken(election: &Election, before: Option<&LeaseSpec>, now: &MicroTime) -> LeaseSpec {
    let ours = before.filter(|before| before.holder_identity.as_deref() == Some(&election.identity));
    let transitions = before.and_then(|before| before.lease_transitions).unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(election.identity.clone()),
        lease_duration_seconds: i32::try_from(election.lease.as_secs()).ok(),
        acquire_time: ours
            .and_then(|ours| ours.acquire_time.clone())
            .or_else(|| Some(now.clone())),
        renew_time: Some(now.clone()),
        lease_transitions: Some(transitions + i32::from(before.is_some() && ours.is_none())),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::*;

    const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/here/leases/lease";

    fn election() -> Election {
        Election {
            name: "lease".to_owned(),
            namespace: "here".to_owned(),
            identity: "me".to_owned(),
            lease: Duration::from_secs(3600),
            deadline: Duration::from_secs(1800),
            retry: Duration::from_millis(1),
        }
    }

    /// An API server with a Lease that others write to whenever it is to be replaced, `times` times; then `taken` is
    /// who holds it.
    fn busy(times: usize, taken: Option<&'static str>) -> (Client, Arc<Mutex<usize>>) {
        let writes = Arc::new(Mutex::new(0));
        let (read, written) = (writes.clone(), writes.clone());
        let lease = |holder: &str| {
            json!({ "metadata": { "name": "lease", "resourceVersion": "1" },
                "spec": { "holderIdentity": holder, "leaseDurationSeconds": 3600 } })
        };
        let look = async move || {
            let holder = taken.filter(|_| *read.lock().unwrap() >= times);
            Json(lease(holder.unwrap_or("me")))
        };
        let replace = async move |Json(lease): Json<Value>| {
            let mut written = written.lock().unwrap();
            *written += 1;
            let conflict = json!({ "status": "Failure", "message": "changed", "reason": "Conflict", "code": 409 });
            match *written <= times {
                true => (StatusCode::CONFLICT, Json(conflict)),
                false => (StatusCode::OK, Json(lease)),
            }
        };
        let server = Router::new().route(PATH, get(look).put(replace));
        (Client::new(server, "here"), writes)
    }

    fn held(client: Client) -> Held {
        let election = election();
        Held {
            api: Api::namespaced(client, &election.namespace),
            election,
            renewed: Instant::now(),
        }
    }

    #[tokio::test]
    async fn who_writes_to_the_lease_but_does_not_take_it_ends_nothing() {
        let (client, writes) = busy(2, None);
        let stop = CancellationToken::new();
        let renewed = async {
            while *writes.lock().unwrap() < 4 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = held(client).hold(&stop) => panic!("given up"),
            () = renewed => {}
        }
    }

    #[tokio::test]
    async fn the_lease_is_lost_when_another_took_it() {
        let (client, writes) = busy(1, Some("another"));
        held(client).hold(&CancellationToken::new()).await;
        assert_eq!(*writes.lock().unwrap(), 1, "it was taken back");
    }

    #[test]
    fn times_that_make_no_sense_together_are_refused() {
        let times = |lease, deadline, retry| {
            let [lease, deadline, retry] = [lease, deadline, retry].map(Duration::from_millis);
            Election {
                lease,
                deadline,
                retry,
                ..election()
            }
            .check()
        };
        assert_eq!(times(15_000, 10_000, 2_000), Ok(()));
        assert!(times(10_000, 10_000, 2_000).unwrap_err().contains("lease-duration"));
        assert!(times(15_000, 10_000, 9_000).unwrap_err().contains("renew-deadline"));
        assert!(times(15_000, 10_000, 0).unwrap_err().contains("retry-period"));
        assert!(times(500, 300, 100).unwrap_err().contains("lease-duration"));
        assert!(times(15_000, 0, 0).is_err());
    }
}
