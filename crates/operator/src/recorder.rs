//! Events: what `kubectl describe` shows below an object.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource, ObjectReference};
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PostParams};
use kube::core::{ApiResource, ObjectMeta};
use kube::runtime::events::EventType;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api_error::api_message;
use crate::names::{COMPONENT, sha3};
use crate::operator::{is_conflict, is_terminating, now, patch_params};

/// The longest note an event may have (Kubernetes), in bytes.
const LONGEST_NOTE: usize = 1024;
/// The longest name an object may have (Kubernetes).
const LONGEST_NAME: usize = 253;
/// How much of its hash an event's name ends with.
const HASH: usize = 16;

/// Writes events. What is said again is counted up where it was said first: the event's name is made of what it says,
/// so nothing has to be remembered.
pub(crate) struct Recorder {
    client: Client,
    instance: String,
    /// Only events of the core group may be written: so it is with the rights that External Secrets has.
    core: AtomicBool,
}

/// What is said of an object.
struct Said {
    name: String,
    namespace: String,
    about: ObjectReference,
    type_: &'static str,
    reason: String,
    note: String,
}

impl Recorder {
    pub(crate) fn new(client: Client, instance: Option<String>) -> Self {
        Self {
            client,
            instance: instance.unwrap_or_else(|| COMPONENT.to_owned()),
            core: AtomicBool::new(false),
        }
    }

    /// Writes an event about an object. One that can't be written is not worth failing for.
    pub(crate) async fn write(
        &self,
        resource: &ApiResource,
        meta: &ObjectMeta,
        type_: EventType,
        reason: &str,
        note: impl Into<String>,
    ) {
        let said = Said::of(resource, meta, type_, reason, note.into());
        if let Err(error) = self.say(&said).await
            && !is_terminating(&error)
        {
            tracing::debug!(error = %api_message(&error), "an event could not be written");
        }
    }

    async fn say(&self, said: &Said) -> Result<(), kube::Error> {
        if self.core.load(Ordering::Relaxed) {
            return put(&self.client, &said.namespace, &said.core_event()).await;
        }
        let error = match put(&self.client, &said.namespace, &said.event(&self.instance)).await {
            Err(error) if is_forbidden(&error) && !is_terminating(&error) => error,
            outcome => return outcome,
        };
        put(&self.client, &said.namespace, &said.core_event()).await?;
        if !self.core.swap(true, Ordering::Relaxed) {
            tracing::info!(error = %api_message(&error), "events of events.k8s.io can't be written; those of the core group are");
        }
        Ok(())
    }
}

impl Said {
    fn of(resource: &ApiResource, meta: &ObjectMeta, type_: EventType, reason: &str, mut note: String) -> Self {
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let type_ = match type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let mut hash = sha3(format!(
            "{}\0{type_}\0{reason}\0{note}",
            meta.uid.as_deref().unwrap_or_default()
        ));
        hash.truncate(HASH);
        let mut name = meta.name.clone().unwrap_or_default();
        name.truncate(name.floor_char_boundary(LONGEST_NAME - HASH - 1));
        // What is cut off in the middle may not end in these.
        let name = name.trim_end_matches(['.', '-']);
        Self {
            name: format!("{name}.{hash}"),
            // Kubernetes' place for events about what has no namespace.
            namespace: meta.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            about: ObjectReference {
                api_version: Some(resource.api_version.clone()),
                kind: Some(resource.kind.clone()),
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                field_path: None,
            },
            type_,
            reason: reason.to_owned(),
            note,
        }
    }

    fn meta(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            ..ObjectMeta::default()
        }
    }

    fn event(&self, instance: &str) -> Event {
        Event {
            metadata: self.meta(),
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(Timestamp::now())),
            note: Some(self.note.clone()),
            reason: Some(self.reason.clone()),
            regarding: Some(self.about.clone()),
            reporting_controller: Some(COMPONENT.to_owned()),
            reporting_instance: Some(instance.to_owned()),
            type_: Some(self.type_.to_owned()),
            ..Event::default()
        }
    }

    fn core_event(&self) -> CoreEvent {
        CoreEvent {
            metadata: self.meta(),
            count: Some(1),
            first_timestamp: Some(now()),
            last_timestamp: Some(now()),
            involved_object: self.about.clone(),
            message: Some(self.note.clone()),
            reason: Some(self.reason.clone()),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: None,
            }),
            type_: Some(self.type_.to_owned()),
            ..CoreEvent::default()
        }
    }
}

/// An event of either group.
trait Repeated:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
    /// What changes when it is said once more.
    fn once_more(&self) -> Value;
}

impl Repeated for Event {
    fn once_more(&self) -> Value {
        let count = self.series.as_ref().map_or(1, |series| series.count);
        json!({ "series": EventSeries {
            count: count.saturating_add(1),
            last_observed_time: MicroTime(Timestamp::now()),
        } })
    }
}

impl Repeated for CoreEvent {
    fn once_more(&self) -> Value {
        // One that was begun as an event of events.k8s.io stays one.
        if self.event_time.is_some() {
            let count = self.series.as_ref().and_then(|series| series.count).unwrap_or(1);
            let last = MicroTime(Timestamp::now());
            return json!({ "series": { "count": count.saturating_add(1), "lastObservedTime": last } });
        }
        json!({ "count": self.count.unwrap_or(1).saturating_add(1), "lastTimestamp": now() })
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Writes an event, or counts it up.
async fn put<K: Repeated>(client: &Client, namespace: &str, event: &K) -> Result<(), kube::Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let post_params = PostParams {
        field_manager: patch_params().field_manager,
        ..PostParams::default()
    };
    match api.create(&post_params, event).await {
        Err(error) if is_conflict(&error) => {}
        outcome => return outcome.map(drop),
    }
    let name = event.meta().name.as_deref().unwrap_or_default();
    let patched = async |patch: Value| api.patch(name, &patch_params(), &Patch::Merge(patch)).await;
    // Who writes events need not have the right to read them; a patch of nothing answers with what is there.
    let known = patched(json!({})).await?;
    patched(known.once_more()).await.map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::routing::{patch, post};
    use axum::{Json, Router};

    use super::*;

    type Events = Arc<Mutex<BTreeMap<String, Value>>>;

    fn refused(code: StatusCode) -> (StatusCode, Json<Value>) {
        let status = json!({ "status": "Failure", "message": "no", "reason": "no", "code": code.as_u16() });
        (code, Json(status))
    }

    /// An API server that takes events of one group, and of the other says that it may not.
    fn server(path: &'static str, forbidden: &'static str) -> (Client, Events) {
        let events = Events::default();
        let (created, patched) = (events.clone(), events.clone());
        let create = async move |Json(event): Json<Value>| {
            let name = event["metadata"]["name"].as_str().unwrap().to_owned();
            let mut events = created.lock().unwrap();
            if events.contains_key(&name) {
                return refused(StatusCode::CONFLICT);
            }
            events.insert(name, event.clone());
            (StatusCode::CREATED, Json(event))
        };
        let change = async move |Path(name): Path<String>, body: axum::body::Bytes| {
            let mut events = patched.lock().unwrap();
            let event = events.get_mut(&name).unwrap();
            let change: BTreeMap<String, Value> = serde_json::from_slice(&body).unwrap();
            for (key, value) in change {
                event[key] = value;
            }
            Json(event.clone())
        };
        let server = Router::new()
            .route(&format!("{path}/namespaces/apps/events"), post(create))
            .route(&format!("{path}/namespaces/apps/events/{{name}}"), patch(change))
            .route(
                &format!("{forbidden}/namespaces/apps/events"),
                post(async || refused(StatusCode::FORBIDDEN)),
            );
        (Client::new(server, "apps"), events)
    }

    async fn tell(recorder: &Recorder, note: &str) {
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&());
        let meta = ObjectMeta {
            name: Some("object".to_owned()),
            namespace: Some("apps".to_owned()),
            uid: Some("uid".to_owned()),
            ..ObjectMeta::default()
        };
        recorder
            .write(&resource, &meta, EventType::Warning, "UpdateFailed", note)
            .await;
    }

    #[tokio::test]
    async fn what_is_said_again_is_counted_and_what_is_new_is_an_event_of_its_own() {
        let (client, events) = server("/apis/events.k8s.io/v1", "/api/v1");
        // Another process counts on where one left off.
        for note in ["first", "first", "second", "first"] {
            tell(&Recorder::new(client.clone(), None), note).await;
        }
        let events = events.lock().unwrap();
        let of = |note: &str| events.values().find(|event| event["note"] == note).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(of("first")["series"]["count"], 3);
        assert_eq!(of("second")["series"], Value::Null);
        assert_eq!(of("second")["regarding"]["name"], "object");
        assert_eq!(of("second")["reportingController"], COMPONENT);
    }

    #[tokio::test]
    async fn events_of_the_core_group_are_written_where_only_those_may_be() {
        let (client, events) = server("/api/v1", "/apis/events.k8s.io/v1");
        let recorder = Recorder::new(client, None);
        for _ in 0..3 {
            tell(&recorder, "first").await;
        }
        let events = events.lock().unwrap();
        let event = events.values().next().unwrap();
        assert_eq!((events.len(), &event["count"]), (1, &json!(3)));
        assert_eq!(
            (&event["message"], &event["type"]),
            (&json!("first"), &json!("Warning"))
        );
        assert_eq!(event["involvedObject"]["name"], "object");
        assert_eq!(event["source"]["component"], COMPONENT);
    }

    #[test]
    fn an_events_name_is_one_however_long_the_objects_is() {
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&());
        let name = |name: String| {
            let meta = ObjectMeta {
                name: Some(name),
                ..ObjectMeta::default()
            };
            Said::of(&resource, &meta, EventType::Normal, "Created", "done".to_owned()).name
        };
        assert!(name("short".to_owned()).starts_with("short."));
        let long = name(format!("{}-{}", "a".repeat(235), "b".repeat(17)));
        assert!(
            long.len() <= LONGEST_NAME && long.starts_with(&format!("{}.", "a".repeat(235))),
            "{long}"
        );
    }
}
