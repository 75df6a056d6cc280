//! Vaults.

use serde::{Deserialize, Serialize};

use crate::ids::VaultId;
use crate::time::Timestamp;
use crate::wire::{null_as_default, wire_enum};

wire_enum! {
    /// The type of a vault. The Python SDK refuses any other word, so there are only these four.
    pub enum VaultType, unknown = Some(Self::UserCreated);
    /// Someone created the vault. All of Sidevault's vaults are of this type.
    UserCreated = "USER_CREATED",
    /// A person's private vault.
    Personal = "PERSONAL",
    /// The vault that everyone in an account shares.
    Everyone = "EVERYONE",
    /// A vault for moving items between accounts.
    Transfer = "TRANSFER",
}

/// A vault as the API shows it. All members are always sent, except an absent description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// The vault's id.
    pub id: VaultId,
    /// The vault's name: any text.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// The purpose of the vault, in free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Grows by one with each change of name, description or type.
    #[serde(default, deserialize_with = "null_as_default")]
    pub attribute_version: u64,
    /// Grows with each change of the vault's items.
    #[serde(default, deserialize_with = "null_as_default")]
    pub content_version: u64,
    /// The number of active items in the vault.
    #[serde(default, deserialize_with = "null_as_default")]
    pub items: u64,
    /// The type of the vault.
    #[serde(rename = "type", default = "user_created")]
    pub vault_type: VaultType,
    /// When the vault was created.
    #[serde(default, deserialize_with = "null_as_default")]
    pub created_at: Timestamp,
    /// When the vault or an item in it last changed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub updated_at: Timestamp,
}

fn user_created() -> VaultType {
    VaultType::UserCreated
}

#[cfg(test)]
mod tests {
    use super::*;

    // Checks 44 and 45.
    #[test]
    fn a_vault_sends_all_its_members() {
        let vault = Vault {
            id: VaultId::from_digest(&[0; 32]),
            name: "Homelab".into(),
            description: None,
            attribute_version: 1,
            content_version: 7,
            items: 3,
            vault_type: VaultType::UserCreated,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(1000),
        };
        let json = serde_json::to_string(&vault).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","name":"Homelab","attributeVersion":1,"contentVersion":7,"#,
                r#""items":3,"type":"USER_CREATED","createdAt":"1970-01-01T00:00:00Z","updatedAt":"1970-01-01T00:00:01Z"}"#
            )
        );
        assert_eq!(serde_json::from_str::<Vault>(&json).unwrap(), vault);
    }
}
