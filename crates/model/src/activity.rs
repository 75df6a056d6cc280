//! The record of a request, as `GET /v1/activity` shows it.

use serde::{Deserialize, Serialize};

use crate::ids::{ItemId, VaultId};
use crate::time::Timestamp;
use crate::wire::wire_enum;

wire_enum! {
    /// What was asked for.
    pub enum Action, unknown = None;
    /// Reading.
    Read = "READ",
    /// Making an item.
    Create = "CREATE",
    /// Changing an item.
    Update = "UPDATE",
    /// Deleting an item.
    Delete = "DELETE",
}

wire_enum! {
    /// Whether it was allowed.
    pub enum ActivityOutcome, unknown = None;
    /// Done.
    Success = "SUCCESS",
    /// Refused.
    Deny = "DENY",
}

wire_enum! {
    /// What it was asked of.
    pub enum ResourceType, unknown = None;
    /// An item.
    Item = "ITEM",
    /// A vault.
    Vault = "VAULT",
}

/// The kind of request that a record is about. A full log keeps room for each kind: many reads push out no write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// A read that was answered.
    Read = 0,
    /// A change that was made.
    Write = 1,
    /// A request that was refused.
    Denial = 2,
}

impl RecordKind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::Denial as usize + 1;

    /// The kind of a record with this action and result.
    pub fn of(action: Action, result: ActivityOutcome) -> Self {
        match (action, result) {
            (_, ActivityOutcome::Deny) => Self::Denial,
            (Action::Read, ActivityOutcome::Success) => Self::Read,
            (Action::Create | Action::Update | Action::Delete, ActivityOutcome::Success) => Self::Write,
        }
    }
}

/// One request. Names and values never appear in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiRequest {
    /// The request's UUID, the same as in the log.
    pub request_id: String,
    /// When it came.
    pub timestamp: Timestamp,
    /// What was asked for.
    pub action: Action,
    /// Whether it was allowed.
    pub result: ActivityOutcome,
    /// Who asked.
    pub actor: Actor,
    /// What it was asked of.
    pub resource: Resource,
}

/// Who made a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The Connect server, in UUID form.
    pub id: String,
    /// The account.
    pub account: String,
    /// The token's id.
    pub jti: String,
    /// The client's `User-Agent`, at most its first 256 bytes; empty if it sent none, or if the vault is out of the
    /// token's scope: a client that is refused must not write text of its own into the vault's log.
    pub user_agent: String,
    /// The client's address.
    pub request_ip: String,
}

/// What a request touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Whether `item` or `vault` counts.
    #[serde(rename = "type")]
    pub resource_type: ResourceType,
    /// The vault.
    pub vault: VaultRef,
    /// The item, when one was touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemRef>,
    /// The item's version after the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_version: Option<u32>,
}

/// `{"id": …}` of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VaultRef {
    /// The vault's id.
    pub id: VaultId,
}

/// `{"id": …}` of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemRef {
    /// The item's id.
    pub id: ItemId,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    // Checks 175 and 179: the members of a record.
    #[test]
    fn a_record_has_connects_members() {
        let request = ApiRequest {
            request_id: "0d2f0a3e-8f6f-4d36-9d2b-0f6a5f3f6a11".into(),
            timestamp: Timestamp::from_millis(0),
            action: Action::Read,
            result: ActivityOutcome::Deny,
            actor: Actor {
                id: "a".into(),
                account: "b".into(),
                jti: "c".into(),
                ..Actor::default()
            },
            resource: Resource {
                resource_type: ResourceType::Vault,
                vault: VaultRef {
                    id: VaultId::from_digest(&[0; 32]),
                },
                item: None,
                item_version: None,
            },
        };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"requestId":"0d2f0a3e-8f6f-4d36-9d2b-0f6a5f3f6a11","timestamp":"1970-01-01T00:00:00Z","#,
                r#""action":"READ","result":"DENY","actor":{"id":"a","account":"b","jti":"c","userAgent":"","requestIp":""},"#,
                r#""resource":{"type":"VAULT","vault":{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}}}"#
            )
        );
        assert_eq!(serde_json::from_str::<ApiRequest>(&json).unwrap(), request);
    }
}
