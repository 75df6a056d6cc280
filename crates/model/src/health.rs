//! The body of `GET /health`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::CONNECT_VERSION;
use crate::time::Timestamp;

/// A server, and the state of the parts that it depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHealth {
    /// `1Password Connect API` or `1Password Connect Sync`: what probes and scripts know.
    pub name: String,
    /// The Connect release it behaves like.
    pub version: String,
    /// The parts that the server depends on.
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

/// The state of a part. In JSON it is one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyStatus {
    /// The part works.
    Active,
    /// The part has started and is not ready yet.
    Initialized,
    /// Connect waits for the first token before it reads anything. Sidevault says so until the first token was used.
    TokenNeeded,
    /// The part works, but not for everything, or not for long.
    Degraded,
    /// The part does not work.
    Failed,
    /// A word of another Connect server that Sidevault does not use.
    Other(String),
}

impl DependencyStatus {
    const KNOWN: [Self; 5] = [
        Self::Active,
        Self::Initialized,
        Self::TokenNeeded,
        Self::Degraded,
        Self::Failed,
    ];

    /// The word in JSON.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "ACTIVE",
            Self::Initialized => "INITIALIZED",
            Self::TokenNeeded => "TOKEN_NEEDED",
            Self::Degraded => "DEGRADED",
            Self::Failed => "FAILED",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for DependencyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for DependencyStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for DependencyStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let known = Self::KNOWN.into_iter().find(|status| status.as_str() == word);
        Ok(known.unwrap_or(Self::Other(word)))
    }
}

/// How often a source was read since sync has started, for the plots of the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceProgress {
    /// The source's name.
    pub name: String,
    /// How often the source was read, or its remote was asked.
    pub reads: u64,
    /// How often that failed.
    pub failures: u64,
    /// When the source was as it is served: when it was last read, or its remote last asked. None before the first time.
    pub fresh: Option<Timestamp>,
}

/// A part that a server depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// `sqlite`, `sync`, `account_data`, or a source's name.
    pub service: String,
    /// The part's state.
    pub status: DependencyStatus,
    /// A message for people. It is shown without a token too, so it holds no path, and no name or count of anything stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The message with details, which [`Self::shown`] puts in place of `message` for a valid token. sync sends it to the api;
    /// no client gets it as a member of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Dependency {
    /// A dependency in this state, without a message.
    pub fn new(service: impl Into<String>, status: DependencyStatus) -> Self {
        Self {
            service: service.into(),
            status,
            message: None,
            detail: None,
        }
    }

    /// This dependency with a message.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..self
        }
    }

    /// This dependency with a message that only holders of a valid token may read.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// This dependency as `/health` shows it: with the details as its message, or without them.
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
    use super::*;

    // Check 182.
    #[test]
    fn health_names_server_version_and_dependencies() {
        let health = ServerHealth::api(vec![
            Dependency::new("sync", DependencyStatus::TokenNeeded),
            Dependency::new("sqlite", DependencyStatus::Active).with_message("Connected"),
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
        // A word of another server survives.
        let odd = r#"{"service":"sync","status":"Paused"}"#;
        let part: Dependency = serde_json::from_str(odd).unwrap();
        assert_eq!(serde_json::to_string(&part).unwrap(), odd);
    }

    #[test]
    fn details_are_shown_only_on_request() {
        let part = Dependency::new("git", DependencyStatus::Degraded)
            .with_message("a file can't be read")
            .with_detail("a.yaml (…)");
        let message = |details| part.clone().shown(details).message.unwrap();
        assert_eq!(
            (&*message(true), &*message(false)),
            ("a.yaml (…)", "a file can't be read")
        );
        assert_eq!(part.clone().shown(true).detail, None);
        let plain = Dependency::new("sqlite", DependencyStatus::Active).with_message("Connected");
        assert_eq!(plain.clone().shown(true), plain);
        // On its way from sync to the api it keeps both.
        let json = serde_json::to_string(&part).unwrap();
        assert_eq!(serde_json::from_str::<Dependency>(&json).unwrap(), part);
    }
}
