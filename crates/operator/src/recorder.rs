//! Events: what `kubectl describe` shows below an object.

use kube::Client;
use kube::core::{ApiResource, ObjectMeta};
use kube::runtime::events::{Event, EventType, Recorder as Publisher, Reporter};

use k8s_openapi::api::core::v1::ObjectReference;

use crate::names::COMPONENT;
use crate::operator::is_terminating;

/// The longest note an event may have (Kubernetes), in bytes.
const LONGEST_NOTE: usize = 1024;

/// Writes events.
pub(crate) struct Recorder {
    client: Client,
    reporter: Reporter,
    /// Knows what it wrote, and counts it up in place of writing it again.
    repeating: Publisher,
}

impl Recorder {
    pub(crate) fn new(client: Client, instance: Option<String>) -> Self {
        let reporter = Reporter {
            controller: COMPONENT.to_owned(),
            instance,
        };
        Self {
            repeating: Publisher::new(client.clone(), reporter.clone()),
            client,
            reporter,
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
        let mut note = note.into();
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let about = ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let written = match event.type_ {
            EventType::Warning => self.repeating.publish(&event, &about).await,
            // What went well is seldom said twice, and thousands say it at once: nobody has to remember it.
            EventType::Normal => {
                let once = Publisher::new(self.client.clone(), self.reporter.clone());
                once.publish(&event, &about).await
            }
        };
        if let Err(error) = written
            && !is_terminating(&error)
        {
            tracing::debug!(%error, "an event could not be written");
        }
    }
}
