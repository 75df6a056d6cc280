//! Writes Kubernetes events: what `kubectl describe` shows below an object.

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
use crate::kube_ext::{is_conflict, is_forbidden, is_terminating, now, patch_params};
use crate::names::{COMPONENT, sha3};

/// The longest note of an event that Kubernetes accepts, in bytes.
const LONGEST_NOTE: usize = 1024;
/// The longest name of an object that Kubernetes accepts, in bytes.
const LONGEST_NAME: usize = 253;
/// How many characters of a hash an event's name ends with.
const HASH_LENGTH: usize = 16;

/// Writes events. An event's name follows from its object and its text, so a repeated event has the name of the first and
/// increases its count, without a cache of earlier events and also after a restart.
pub(crate) struct Recorder {
    client: Client,
    instance: String,
    /// Whether the operator may write only events of the core group. That is so with the rights of External Secrets.
    core_only: AtomicBool,
}

/// An event in the form that both API groups share.
struct EventContent {
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
            core_only: AtomicBool::new(false),
        }
    }

    /// Records an event about an object. If it can't be written that is only logged, because the object itself is fine.
    pub(crate) async fn record(
        &self,
        resource: &ApiResource,
        meta: &ObjectMeta,
        type_: EventType,
        reason: &str,
        note: impl Into<String>,
    ) {
        let event = EventContent::new(resource, meta, type_, reason, note.into());
        if let Err(error) = self.write(&event).await
            && !is_terminating(&error)
        {
            tracing::debug!(error = %api_message(&error), "an event could not be written");
        }
    }

    /// Writes an event to `events.k8s.io`, or to the core group if only that is allowed.
    async fn write(&self, event: &EventContent) -> Result<(), kube::Error> {
        if self.core_only.load(Ordering::Relaxed) {
            return put(&self.client, &event.namespace, &event.core_event()).await;
        }
        let error = match put(&self.client, &event.namespace, &event.event(&self.instance)).await {
            Err(error) if is_forbidden(&error) && !is_terminating(&error) => error,
            result => return result,
        };
        put(&self.client, &event.namespace, &event.core_event()).await?;
        if !self.core_only.swap(true, Ordering::Relaxed) {
            tracing::info!(error = %api_message(&error), "the operator may not write events of events.k8s.io, and writes events of the core group instead");
        }
        Ok(())
    }
}

impl EventContent {
    fn new(resource: &ApiResource, meta: &ObjectMeta, type_: EventType, reason: &str, mut note: String) -> Self {
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let type_ = match type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let mut hash = sha3(format!(
            "{}\0{type_}\0{reason}\0{note}",
            meta.uid.as_deref().unwrap_or_default()
        ));
        hash.truncate(HASH_LENGTH);
        let mut name = meta.name.clone().unwrap_or_default();
        name.truncate(name.floor_char_boundary(LONGEST_NAME - HASH_LENGTH - 1));
        // A part of a name must end with a letter or digit.
        let name = name.trim_end_matches(['.', '-']);
        Self {
            name: format!("{name}.{hash}"),
            // Where Kubernetes has the events of cluster-scoped objects.
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

/// An event of either API group.
trait RepeatableEvent:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
    /// The patch that counts one more occurrence.
    fn repetition(&self) -> Value;
}

impl RepeatableEvent for Event {
    fn repetition(&self) -> Value {
        let count = self.series.as_ref().map_or(1, |series| series.count);
        json!({ "series": EventSeries {
            count: count.saturating_add(1),
            last_observed_time: MicroTime(Timestamp::now()),
        } })
    }
}

impl RepeatableEvent for CoreEvent {
    fn repetition(&self) -> Value {
        // Both groups show the same events. This one was created as an event of events.k8s.io.
        if self.event_time.is_some() {
            let count = self.series.as_ref().and_then(|series| series.count).unwrap_or(1);
            let last = MicroTime(Timestamp::now());
            return json!({ "series": { "count": count.saturating_add(1), "lastObservedTime": last } });
        }
        json!({ "count": self.count.unwrap_or(1).saturating_add(1), "lastTimestamp": now() })
    }
}

/// Creates an event, or increases its count if it exists.
async fn put<K: RepeatableEvent>(client: &Client, namespace: &str, event: &K) -> Result<(), kube::Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let post_params = PostParams {
        field_manager: patch_params().field_manager,
        ..PostParams::default()
    };
    match api.create(&post_params, event).await {
        Err(error) if is_conflict(&error) => {}
        result => return result.map(drop),
    }
    let name = event.meta().name.as_deref().unwrap_or_default();
    let patched = async |patch: Value| api.patch(name, &patch_params(), &Patch::Merge(patch)).await;
    // The right to write events does not include the right to read them, but an empty patch returns the event.
    let known = patched(json!({})).await?;
    patched(known.repetition()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::routing::{patch, post};
    use axum::{Json, Router};
    use parking_lot::Mutex;

    use super::*;

    type Events = Arc<Mutex<BTreeMap<String, Value>>>;

    fn refused(code: StatusCode) -> (StatusCode, Json<Value>) {
        let status = json!({ "status": "Failure", "message": "no", "reason": "no", "code": code.as_u16() });
        (code, Json(status))
    }

    /// An API server that accepts events of one group and forbids those of the other.
    fn server(path: &'static str, forbidden: &'static str) -> (Client, Events) {
        let events = Events::default();
        let (created, patched) = (events.clone(), events.clone());
        let create = async move |Json(event): Json<Value>| {
            let name = event["metadata"]["name"].as_str().unwrap().to_owned();
            let mut events = created.lock();
            if events.contains_key(&name) {
                return refused(StatusCode::CONFLICT);
            }
            events.insert(name, event.clone());
            (StatusCode::CREATED, Json(event))
        };
        let change = async move |Path(name): Path<String>, body: axum::body::Bytes| {
            let mut events = patched.lock();
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

    async fn record(recorder: &Recorder, note: &str) {
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&());
        let meta = ObjectMeta {
            name: Some("object".to_owned()),
            namespace: Some("apps".to_owned()),
            uid: Some("uid".to_owned()),
            ..ObjectMeta::default()
        };
        recorder
            .record(&resource, &meta, EventType::Warning, "UpdateFailed", note)
            .await;
    }

    #[tokio::test]
    async fn a_repeated_event_is_counted_and_a_new_one_is_an_event_of_its_own() {
        let (client, events) = server("/apis/events.k8s.io/v1", "/api/v1");
        // A new recorder each time, as after a restart.
        for note in ["first", "first", "second", "first"] {
            record(&Recorder::new(client.clone(), None), note).await;
        }
        let events = events.lock();
        let of = |note: &str| events.values().find(|event| event["note"] == note).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(of("first")["series"]["count"], 3);
        assert_eq!(of("second")["series"], Value::Null);
        assert_eq!(of("second")["regarding"]["name"], "object");
        assert_eq!(of("second")["reportingController"], COMPONENT);
    }

    #[tokio::test]
    async fn events_of_the_core_group_are_written_when_others_are_forbidden() {
        let (client, events) = server("/api/v1", "/apis/events.k8s.io/v1");
        let recorder = Recorder::new(client, None);
        for _ in 0..3 {
            record(&recorder, "first").await;
        }
        let events = events.lock();
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
    fn the_name_of_an_event_is_valid_however_long_the_objects_name_is() {
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&());
        let name = |name: String| {
            let meta = ObjectMeta {
                name: Some(name),
                ..ObjectMeta::default()
            };
            EventContent::new(&resource, &meta, EventType::Normal, "Created", "done".to_owned()).name
        };
        assert!(name("short".to_owned()).starts_with("short."));
        let long = name(format!("{}-{}", "a".repeat(235), "b".repeat(17)));
        assert!(
            long.len() <= LONGEST_NAME && long.starts_with(&format!("{}.", "a".repeat(235))),
            "{long}"
        );
    }
}
