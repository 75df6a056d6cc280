//! Records of the activity log, as `GET /v1/activity` shows them.

use serde::{Deserialize, Serialize};

use crate::ids::{ItemId, VaultId};
use crate::time::Timestamp;
use crate::wire::wire_enum;

wire_enum! {
    /// The action of a request.
    pub enum Action, unknown = None;
    /// Read a vault, an item or a file.
    Read = "READ",
    /// Create an item.
    Create = "CREATE",
    /// Change an item.
    Update = "UPDATE",
    /// Delete an item.
    Delete = "DELETE",
}

wire_enum! {
    /// Whether a request was carried out.
    pub enum ActivityOutcome, unknown = None;
    /// The request was carried out.
    Success = "SUCCESS",
    /// The token did not have the right.
    Deny = "DENY",
}

wire_enum! {
    /// What a request was about.
    pub enum ResourceType, unknown = None;
    /// An item.
    Item = "ITEM",
    /// A vault.
    Vault = "VAULT",
}

/// The kind of a record. A full log keeps room for each kind, so that many reads can't displace records of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// A read.
    Read = 0,
    /// A write.
    Write = 1,
    /// A refused request.
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

/// The record of a request. It holds no names and values of items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiRequest {
    /// The request's UUID, the same as in the log.
    pub request_id: String,
    /// When the request came.
    pub timestamp: Timestamp,
    /// The action.
    pub action: Action,
    /// Whether the request was carried out.
    pub result: ActivityOutcome,
    /// Who sent the request.
    pub actor: Actor,
    /// What the request was about.
    pub resource: Resource,
}

/// Who sent a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The Connect server, in UUID form.
    pub id: String,
    /// The account.
    pub account: String,
    /// The token's id.
    pub jti: String,
    /// The first 256 bytes of the client's `User-Agent`. Empty if the client sent none, and if the vault is not in the token: a
    /// client that is refused must not write text into the vault's log.
    pub user_agent: String,
    /// The client's IP address.
    pub request_ip: String,
}

/// What a request was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Whether the request was about the item or the vault.
    #[serde(rename = "type")]
    pub resource_type: ResourceType,
    /// The vault.
    pub vault: VaultRef,
    /// The item, if the request was about one.
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
