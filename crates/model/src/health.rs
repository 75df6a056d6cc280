//! The body of `GET /health`.

use serde::{Deserialize, Serialize};

use crate::error::CONNECT_VERSION;

/// A server and what it hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHealth {
    /// `1Password Connect API` or `1Password Connect Sync`: what probes and scripts know.
    pub name: String,
    /// The Connect release it behaves like.
    pub version: String,
    /// What it hangs on.
    #[serde(default, deserialize_with = "crate::wire::null_as_default")]
    pub dependencies: Vec<Dependency>,
}

impl ServerHealth {
    /// The API server's health.
    pub fn api(dependencies: Vec<Dependency>) -> Self {
        Self {
            name: "1Password Connect API".into(),
            version: CONNECT_VERSION.into(),
            dependencies,
        }
    }

    /// The sync server's health.
    pub fn sync(dependencies: Vec<Dependency>) -> Self {
        Self {
            name: "1Password Connect Sync".into(),
            version: CONNECT_VERSION.into(),
            dependencies,
        }
    }
}

/// One thing a server hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// `sqlite`, `sync`, `account_data`, or a source's name.
    pub service: String,
    /// `ACTIVE`, `INITIALIZED`, `TOKEN_NEEDED`, …
    pub status: String,
    /// A message for people, shown without a token too: no name or count of anything stored, and no path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The message with details, which [`Self::shown`] puts in place of `message` for a valid token. It is sent from sync to
    /// the api, and never shown as a member of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Dependency {
    /// A dependency in this state, without a message.
    pub fn new(service: impl Into<String>, status: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            status: status.into(),
            message: None,
            detail: None,
        }
    }

    /// The same with a message.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..self
        }
    }

    /// The same with a message that not everybody may read.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// As `/health` shows it: with the details as its message, or without them.
    #[must_use]
    pub fn shown(self, with_details: bool) -> Self {
        Self {
            message: self.detail.filter(|_| with_details).or(self.message),
            detail: None,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    // Check 182.
    #[test]
    fn health_names_server_version_and_dependencies() {
        let health = ServerHealth::api(vec![
            Dependency::new("sync", "TOKEN_NEEDED"),
            Dependency::new("sqlite", "ACTIVE").with_message("Connected"),
        ]);
        let json = serde_json::to_string(&health).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"name":"1Password Connect API","version":"1.8.0","dependencies":["#,
                r#"{"service":"sync","status":"TOKEN_NEEDED"},"#,
                r#"{"service":"sqlite","status":"ACTIVE","message":"Connected"}]}"#
            )
        );
        assert_eq!(serde_json::from_str::<ServerHealth>(&json).unwrap(), health);
    }

    #[test]
    fn details_are_for_those_who_may_know_them() {
        let part = Dependency::new("git", "DEGRADED")
            .with_message("a file can't be read")
            .with_detail("a.yaml (…)");
        let message = |details| part.clone().shown(details).message.unwrap();
        assert_eq!(
            (&*message(true), &*message(false)),
            ("a.yaml (…)", "a file can't be read")
        );
        assert_eq!(part.clone().shown(true).detail, None);
        let plain = Dependency::new("sqlite", "ACTIVE").with_message("Connected");
        assert_eq!(plain.clone().shown(true), plain);
        // On its way from sync to the api it keeps both.
        let json = serde_json::to_string(&part).unwrap();
        assert_eq!(serde_json::from_str::<Dependency>(&json).unwrap(), part);
    }
}
