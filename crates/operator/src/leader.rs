//! Leader election: of several replicas only the one that holds a Lease (coordination.k8s.io) works. The protocol is that
//! of client-go's leader election.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::core::ObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::api_error::api_message;
use crate::kube_ext::is_conflict;
use crate::options::Election;

/// A Lease that this replica holds.
pub(crate) struct HeldLease {
    api: Api<Lease>,
    election: Election,
    /// When the last request that took or renewed the Lease was sent. The time in the Lease is no earlier.
    renewed_at: Instant,
}

/// The last change of a Lease that another replica holds. The clocks of two machines differ, so the Lease counts as run out
/// when it has not changed for its duration by this machine's clock.
struct LastChange {
    holder_and_time: (Option<String>, Option<MicroTime>),
    seen_at: Instant,
}

/// Waits until this replica holds the Lease. Returns `None` if `stop` comes first.
pub(crate) async fn wait(client: &Client, election: &Election, stop: &CancellationToken) -> Option<HeldLease> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &election.namespace);
    let mut last_change = None;
    let mut has_logged = false;
    loop {
        let renewed_at = Instant::now();
        match acquire(&api, election, &mut last_change).await {
            Ok(true) => {
                tracing::info!(lease = election.name, "this replica holds the Lease");
                let election = election.clone();
                return Some(HeldLease {
                    api,
                    election,
                    renewed_at,
                });
            }
            Ok(false) => {
                if !std::mem::replace(&mut has_logged, true) {
                    tracing::info!(lease = election.name, "another replica holds the Lease; waiting");
                }
            }
            // Another replica was quicker. The next try shows which.
            Err(error) if is_conflict(&error) => {}
            Err(error) => {
                tracing::warn!(error = %api_message(&error), lease = election.name, "the Lease could not be read or written; trying again")
            }
        }
        // Varied, so that replicas that start together do not always try at the same time.
        let pause = election.retry.mul_f64(rand::random_range(1.0..1.2));
        stop.run_until_cancelled(tokio::time::sleep(pause)).await?;
    }
}

impl HeldLease {
    /// Renews the Lease until another replica has taken it, until it could not be renewed in time, or until `stop`. On
    /// `stop` it releases the Lease.
    pub(crate) async fn hold(mut self, stop: &CancellationToken) {
        let mut last_change = None;
        loop {
            if stop
                .run_until_cancelled(tokio::time::sleep(self.election.retry))
                .await
                .is_none()
            {
                self.release().await;
                return;
            }
            // The deadline also ends a request that the API server does not answer.
            let left = self.election.deadline.saturating_sub(self.renewed_at.elapsed());
            let sent_at = Instant::now();
            match tokio::time::timeout(left, acquire(&self.api, &self.election, &mut last_change)).await {
                Ok(Ok(true)) => self.renewed_at = sent_at,
                Ok(Ok(false)) => return tracing::error!("another replica took the Lease"),
                // A conflict is no loss: another client may have changed a label. The next try shows who holds the Lease.
                Ok(Err(error)) => {
                    tracing::warn!(error = %api_message(&error), "the Lease could not be renewed");
                    if self.renewed_at.elapsed() >= self.election.deadline {
                        return tracing::error!("the Lease could not be renewed in time");
                    }
                }
                Err(_) => return tracing::error!("the Lease could not be renewed in time"),
            }
        }
    }

    /// Releases the Lease, so that another replica need not wait until it runs out.
    async fn release(&self) {
        let Ok(mut lease) = self.api.get(&self.election.name).await else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.election.identity) {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            let released = self
                .api
                .replace(&self.election.name, &PostParams::default(), &lease)
                .await;
            // If that fails, the Lease runs out by itself.
            released.ok();
        }
    }
}

/// Takes the Lease if it is free or has run out, or renews it if this replica holds it. Returns `false` if another replica
/// holds it.
async fn acquire(
    api: &Api<Lease>,
    election: &Election,
    last_change: &mut Option<LastChange>,
) -> Result<bool, kube::Error> {
    let now = MicroTime(Timestamp::now());
    let Some(mut lease) = api.get_opt(&election.name).await? else {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(election.name.clone()),
                namespace: Some(election.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(renewed_spec(election, None, &now)),
        };
        api.create(&PostParams::default(), &lease).await?;
        return Ok(true);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
    if holder.is_some_and(|holder| holder != election.identity) {
        let holder_and_time = (spec.holder_identity.clone(), spec.renew_time.clone());
        let has_changed = |last: &LastChange| last.holder_and_time != holder_and_time;
        if last_change.as_ref().is_none_or(has_changed) {
            *last_change = Some(LastChange {
                holder_and_time,
                seen_at: Instant::now(),
            });
        }
        let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let has_run_out = last_change
            .as_ref()
            .is_some_and(|last| last.seen_at.elapsed() > Duration::from_secs(duration));
        if !has_run_out {
            return Ok(false);
        }
    }
    lease.spec = Some(renewed_spec(election, Some(&spec), &now));
    api.replace(&election.name, &PostParams::default(), &lease).await?;
    Ok(true)
}

/// The spec of a Lease that this replica takes or renews at `now`.
fn renewed_spec(election: &Election, before: Option<&LeaseSpec>, now: &MicroTime) -> LeaseSpec {
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
    use std::sync::Arc;

    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use parking_lot::Mutex;
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

    /// An API server with a Lease. The first `conflicts` writes are refused, as if another client had changed the Lease at
    /// the same time. After them `taken_by` holds it, if given.
    fn api_server(conflicts: usize, taken_by: Option<&'static str>) -> (Client, Arc<Mutex<usize>>) {
        let writes = Arc::new(Mutex::new(0));
        let (read, written) = (writes.clone(), writes.clone());
        let lease = |holder: &str| {
            json!({ "metadata": { "name": "lease", "resourceVersion": "1" },
                "spec": { "holderIdentity": holder, "leaseDurationSeconds": 3600 } })
        };
        let read_lease = async move || {
            let holder = taken_by.filter(|_| *read.lock() >= conflicts);
            Json(lease(holder.unwrap_or("me")))
        };
        let replace = async move |Json(lease): Json<Value>| {
            let mut written = written.lock();
            *written += 1;
            let conflict = json!({ "status": "Failure", "message": "changed", "reason": "Conflict", "code": 409 });
            if *written <= conflicts {
                (StatusCode::CONFLICT, Json(conflict))
            } else {
                (StatusCode::OK, Json(lease))
            }
        };
        let server = Router::new().route(PATH, get(read_lease).put(replace));
        (Client::new(server, "here"), writes)
    }

    fn held(client: Client) -> HeldLease {
        let election = election();
        HeldLease {
            api: Api::namespaced(client, &election.namespace),
            election,
            renewed_at: Instant::now(),
        }
    }

    #[tokio::test]
    async fn the_lease_survives_writes_of_others_that_do_not_take_it() {
        let (client, writes) = api_server(2, None);
        let stop = CancellationToken::new();
        let renewed = async {
            while *writes.lock() < 4 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = held(client).hold(&stop) => panic!("the Lease was lost"),
            () = renewed => {}
        }
    }

    #[tokio::test]
    async fn the_lease_is_lost_when_another_took_it() {
        let (client, writes) = api_server(1, Some("another"));
        held(client).hold(&CancellationToken::new()).await;
        assert_eq!(*writes.lock(), 1, "it was taken back");
    }

    #[test]
    fn durations_that_contradict_each_other_are_refused() {
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
