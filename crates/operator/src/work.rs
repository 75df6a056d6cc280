//! What a work queue hands to a controller, and what the controller answers.

use std::time::{Duration, Instant};

use crate::object_key::ObjectKey;

/// Why an object is reconciled. Of two triggers of one object the greater counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trigger {
    /// The object, or an object that depends on it or that it depends on, changed in Kubernetes.
    WatchEvent,
    /// Its refresh interval has passed.
    Interval,
    /// The last reconcile failed; a change at the server had caused it.
    Retry,
    /// A value that it uses changed at the server.
    SourceChanged,
}

impl Trigger {
    /// The trigger's name in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WatchEvent => "watch event",
            Self::Interval => "interval",
            Self::Retry => "retry",
            Self::SourceChanged => "source changed",
        }
    }
}

/// An object to reconcile now.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The object.
    pub(crate) key: ObjectKey,
    /// Why it is reconciled.
    pub(crate) trigger: Trigger,
    /// When the trigger happened. Values must be at least as new as this, or the reconcile could miss the change that
    /// caused it.
    pub(crate) requested_at: Instant,
}

/// When an object is reconciled again. kube-rs calls this `Action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requeue {
    /// When something changes.
    OnChange,
    /// After this time, or earlier when something changes.
    After(Duration),
    /// Soon, with a short backoff: another client wrote the object at the same time.
    AfterConflict,
    /// With a growing backoff: the reconcile failed.
    AfterFailure,
}
