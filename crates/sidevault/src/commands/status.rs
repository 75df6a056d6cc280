//! `sidevault status`, and `kubectl sidevault status`: whether what External Secrets' resources describe is so.

use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::Value;
use sidevault_model::{Timestamp, printable};

use crate::cli::Status;
use crate::exit::Failure;
use crate::kubectl::{Kubectl, Scope};
use crate::output::{self, Table};

/// The resources with a state, in the order in which they depend on each other.
const RESOURCES: [&str; 6] = [
    "clustersecretstores",
    "secretstores",
    "clusterexternalsecrets",
    "externalsecrets",
    "clusterpushsecrets",
    "pushsecrets",
];

/// An object and its state.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    ready: bool,
    /// The reason of the condition `Ready`. None: nothing has looked at the object yet.
    reason: Option<String>,
    message: Option<String>,
    /// When the object was last synced.
    last_sync: Option<String>,
    /// How often it is synced, or when instead.
    refresh: Option<String>,
}

impl State {
    fn of(object: &Value) -> Self {
        let text = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
        let of_condition = |member: &str| ready.and_then(|condition| text(&condition[member]));
        let spec = &object["spec"];
        let policy = text(&spec["refreshPolicy"]).filter(|policy| policy != "Periodic");
        Self {
            kind: text(&object["kind"]).unwrap_or_default(),
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]).unwrap_or_default(),
            ready: ready.is_some_and(|condition| condition["status"] == "True"),
            reason: of_condition("reason"),
            message: of_condition("message"),
            last_sync: text(&object["status"]["refreshTime"]),
            refresh: policy
                .or_else(|| text(&spec["refreshInterval"]))
                .or_else(|| text(&spec["refreshTime"])),
        }
    }

    fn shown_name(&self) -> String {
        let name = match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        };
        printable(&name)
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure::Found`] if something is not ready; [`Failure::NotFound`] if the cluster has no such resources; else as [`Kubectl::list`].
pub(crate) async fn run(arguments: &Status) -> Result<(), Failure> {
    let scope = match &arguments.namespace {
        Some(namespace) => Scope::One(namespace),
        None if arguments.all_namespaces => Scope::All,
        None => Scope::Current,
    };
    let kubectl = Kubectl {
        context: arguments.context.as_deref(),
        scope,
        advice: "install it",
    };
    let resources = kubectl.external_secrets(&RESOURCES).await?;
    if resources.is_empty() {
        return Err(Failure::NotFound(
            "the cluster has no resources of external-secrets.io: is the operator installed, and is this the right cluster?".to_owned(),
        ));
    }
    let lists = try_join_all(resources.iter().map(|resource| kubectl.list(resource))).await?;
    let states: Vec<State> = lists.iter().flatten().map(State::of).collect();
    match arguments.output {
        Some(_) => output::json(&states)?,
        None => print(&states)?,
    }
    match states.iter().filter(|state| !state.ready).count() {
        0 => Ok(()),
        missing => Err(Failure::Found(format!("{missing} of {} are not ready", states.len()))),
    }
}

fn print(states: &[State]) -> Result<(), Failure> {
    if states.is_empty() {
        return output::line(
            "There are no stores, ExternalSecrets and PushSecrets here. Other namespaces: -n NAMESPACE, or -A for all.",
        );
    }
    let now = Timestamp::now();
    let mut table = Table::new(["KIND", "NAMESPACE", "NAME", "READY", "REASON", "LAST SYNC", "REFRESH"]);
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for state in states {
        table.row([
            state.kind.clone(),
            or_dash(&state.namespace),
            state.name.clone(),
            if state.ready { "yes" } else { "NO" }.to_owned(),
            state.reason.clone().unwrap_or_else(|| "no state yet".to_owned()),
            state
                .last_sync
                .as_ref()
                .map_or_else(|| "-".to_owned(), |time| ago(time, now)),
            or_dash(&state.refresh),
        ]);
    }
    table.print()?;
    for state in states.iter().filter(|state| !state.ready) {
        if let Some(message) = &state.message {
            output::line(&format!("{}: {}", state.shown_name(), printable(message)))?;
        }
    }
    Ok(())
}

/// How long ago a time was, as kubectl shows ages.
fn ago(time: &str, now: Timestamp) -> String {
    let Some(at) = Timestamp::parse(time) else {
        return "-".to_owned();
    };
    let seconds = now.as_seconds().saturating_sub(at.as_seconds()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_is_that_of_the_condition_ready() {
        let state = State::of(
            &json!({"kind": "ExternalSecret", "metadata": {"name": "db", "namespace": "apps"},
            "spec": {"refreshInterval": "1h0m0s", "refreshPolicy": "Periodic"},
            "status": {"refreshTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Deleted", "status": "True"},
                {"type": "Ready", "status": "False", "reason": "SecretSyncedError", "message": "no such item"}]}}),
        );
        let shown = serde_json::to_value(&state).unwrap();
        assert_eq!(
            shown,
            json!({"kind": "ExternalSecret", "namespace": "apps", "name": "db", "ready": false, "reason": "SecretSyncedError",
                "message": "no such item", "lastSync": "2026-01-01T00:00:00Z", "refresh": "1h0m0s"})
        );
    }

    #[test]
    fn an_object_that_nothing_has_looked_at_is_not_ready() {
        let state = State::of(&json!({"kind": "ClusterSecretStore", "metadata": {"name": "s"}, "spec": {}}));
        assert!(!state.ready && state.reason.is_none() && state.refresh.is_none());
        assert_eq!(state.shown_name(), "ClusterSecretStore s");
        let once = State::of(&json!({"spec": {"refreshPolicy": "CreatedOnce", "refreshInterval": "1h"}}));
        assert_eq!(once.refresh.as_deref(), Some("CreatedOnce"));
    }

    #[test]
    fn ages_have_one_unit() {
        let now = Timestamp::parse("2026-01-10T00:00:00Z").unwrap();
        let shown = [
            "2026-01-09T23:59:30Z",
            "2026-01-09T23:00:00Z",
            "2026-01-09T12:00:00Z",
            "2026-01-01T00:00:00Z",
            "x",
        ];
        assert_eq!(shown.map(|time| ago(time, now)), ["30s", "60m", "12h", "9d", "-"]);
    }
}
