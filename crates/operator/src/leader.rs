//! One of several replicas works: the one that holds the Lease (coordination.k8s.io), as client-go's election has it.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::core::ObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::operator::{is_conflict, is_not_found};
use crate::options::Election;

/// A Lease that is held.
pub(crate) struct Held {
    api: Api<Lease>,
    election: Election,
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
        match acquire(&api, election, &mut seen).await {
            Ok(true) => {
                tracing::info!(lease = election.name, "holding the Lease");
                let election = election.clone();
                return Some(Held { api, election });
            }
            Ok(false) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(lease = election.name, "another replica holds the Lease; waiting");
                }
            }
            Err(error) => tracing::warn!(%error, lease = election.name, "the Lease can't be had; trying again"),
        }
        // Replicas that start together shall not try together for ever.
        let pause = election.retry.mul_f64(rand::random_range(1.0..1.2));
        stop.run_until_cancelled(tokio::time::sleep(pause)).await?;
    }
}

impl Held {
    /// Renews the Lease, until it is lost or `stop`; then it is given back.
    pub(crate) async fn hold(self, stop: &CancellationToken) {
        let mut renewed = Instant::now();
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
            let left = self.election.deadline.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, acquire(&self.api, &self.election, &mut seen)).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return tracing::error!("another replica took the Lease"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the Lease could not be renewed");
                    if renewed.elapsed() >= self.election.deadline {
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

/// Takes or renews the Lease, if it is free, run out, or ours.
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
        return written(api.create(&PostParams::default(), &lease).await);
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
    written(api.replace(&election.name, &PostParams::default(), &lease).await)
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

/// Whoever writes second did not get it.
fn written(outcome: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
