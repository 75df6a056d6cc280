//! Status conditions. All resources of the group use the same type.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

/// One condition of a resource's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, for most conditions.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason as one word, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason as a sentence, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

impl Condition {
    /// Makes a condition of type `Ready`.
    pub fn ready(ready: bool, reason: &str, message: impl Into<String>) -> Self {
        Self {
            type_: "Ready".to_owned(),
            status: if ready { "True" } else { "False" }.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            last_transition_time: None,
        }
    }

    /// Replaces the condition of the same type. The transition time changes only if `status` changes. An equal
    /// condition is left as it is, so that the status is not written again.
    pub fn put_into(mut self, conditions: &mut Vec<Self>, now: &Time) {
        let current = conditions.iter().position(|known| known.type_ == self.type_);
        if let Some(known) = current.map(|index| &conditions[index]) {
            if known.status == self.status {
                self.last_transition_time.clone_from(&known.last_transition_time);
            }
            if *known == self && known.last_transition_time.is_some() {
                return;
            }
        }
        self.last_transition_time.get_or_insert_with(|| now.clone());
        conditions.retain(|known| known.type_ != self.type_);
        conditions.push(self);
    }
}

/// Finds the condition of type `Ready`.
pub(crate) fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Whether the condition `Ready` is `True`.
pub(crate) fn is_ready(conditions: &[Condition]) -> bool {
    ready(conditions).is_some_and(|ready| ready.status == "True")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn time(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap_or_default())
    }

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let mut conditions = Vec::new();
        Condition::ready(true, "SecretSynced", "secret synced").put_into(&mut conditions, &time(1));
        Condition::ready(true, "SecretSynced", "other words").put_into(&mut conditions, &time(2));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, Some(time(1)));
        assert_eq!(conditions[0].message.as_deref(), Some("other words"));
        Condition::ready(false, "SecretSyncedError", "no").put_into(&mut conditions, &time(3));
        assert_eq!(conditions[0].last_transition_time, Some(time(3)));
    }
}
