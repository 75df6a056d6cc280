//! Earlier versions of items. Sidevault has them; 1Password's Connect does not.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use sidevault_model::{Commit, Item, ItemId, Timestamp, VaultId};

use crate::client::Client;
use crate::error::ClientError;
use crate::items::written;

/// A version of an item that can be read or restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemVersion {
    /// The number of the version.
    pub version: u32,
    /// When the item got this version.
    #[serde(default)]
    pub updated_at: Timestamp,
    /// The Git commit that the version comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
}

impl Client {
    /// Lists the versions of an item that the server keeps, in the server's order.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found), also from a server without versions; see [`ClientError`].
    pub async fn versions(&self, vault: VaultId, item: ItemId) -> Result<Vec<ItemVersion>, ClientError> {
        self.get_list(self.item_url(vault, item, &["versions"]), "list of versions")
            .await
    }

    /// Reads a version of an item.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found) for a version that the server does not keep;
    /// [`ClientError::Unexpected`] from a server without versions, which answers with the current one.
    pub async fn item_version(&self, vault: VaultId, item: ItemId, version: u32) -> Result<Item, ClientError> {
        let mut url = self.item_url(vault, item, &[]);
        url.query_pairs_mut().append_pair("version", &version.to_string());
        let item: Item = self.get(url, "item").await?;
        if item.version != version {
            return Err(ClientError::Unexpected(
                "another version of the item than the requested one",
            ));
        }
        Ok(item)
    }

    /// Gives an item the content of one of its earlier versions, as a new version.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found) for a version that the server does not keep; otherwise as
    /// [`replace_item`](Self::replace_item).
    pub async fn restore(&self, vault: VaultId, item: ItemId, version: u32) -> Result<Item, ClientError> {
        let url = self.item_url(vault, item, &["versions", &version.to_string(), "restore"]);
        written(&self.change::<()>(Method::POST, url, None).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[tokio::test]
    async fn versions_are_listed_read_and_restored() {
        let server = Server::start(|seen, _| {
            if seen.line.ends_with("/versions") {
                json(r#"[{"version":2,"updatedAt":"2022-01-17T23:41:32Z","more":1,"commit":{"id":"0a1b","time":"2022-01-17T23:40:00Z"}},{"version":1}]"#)
            } else {
                json(&item_json(ITEM, "Wi-Fi", 2))
            }
        })
        .await;
        let client = server.client();
        let versions = client.versions(vault_id(), item_id()).await.unwrap();
        assert_eq!((versions[0].version, versions[1].version), (2, 1));
        assert_eq!(versions[0].updated_at.to_string(), "2022-01-17T23:41:32Z");
        let commits: Vec<_> = versions.iter().map(|version| version.commit.as_ref()).collect();
        assert_eq!(commits[0].map(|commit| commit.id.as_str()), Some("0a1b"));
        assert_eq!(commits[1], None);
        assert_eq!(client.item_version(vault_id(), item_id(), 2).await.unwrap().version, 2);
        client.restore(vault_id(), item_id(), 1).await.unwrap();
        let path = format!("/v1/vaults/{VAULT}/items/{ITEM}");
        assert_eq!(
            server.lines(),
            [
                format!("GET {path}/versions"),
                format!("GET {path}?version=2"),
                format!("POST {path}/versions/1/restore"),
            ]
        );
        assert_eq!(server.seen()[2].header("content-length"), Some("0"));
    }

    #[tokio::test]
    async fn a_server_that_ignores_the_version_is_an_error() {
        let client = Server::always(json(&item_json(ITEM, "Wi-Fi", 9))).await.client();
        let error = client.item_version(vault_id(), item_id(), 2).await.unwrap_err();
        assert!(matches!(error, ClientError::Unexpected(_)));
    }
}
