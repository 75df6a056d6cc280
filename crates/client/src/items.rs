//! Lists, reads and writes items.

use reqwest::{Method, Url};
use sidevault_model::patch::Operation;
use sidevault_model::{Item, ItemId, ItemInput, VaultId};

use crate::client::Client;
use crate::error::ClientError;
use crate::filter::Filter;

impl Client {
    /// Lists the active items of a vault; with a filter, those that match it. They are summaries, without sections and
    /// fields.
    ///
    /// # Errors
    /// Status 400 for a filter that the server does not understand; see [`ClientError`].
    pub async fn items(&self, vault: VaultId, filter: Option<&Filter>) -> Result<Vec<Item>, ClientError> {
        self.get_list(self.list_url(&items_path(&vault), filter), "list of items")
            .await
    }

    /// Reads an item with its sections, fields and files. [`model::totp::code`](sidevault_model::totp::code) computes
    /// the current code of a one-time password from its field.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found), [`is_denied`](ClientError::is_denied); see [`ClientError`].
    pub async fn item(&self, vault: VaultId, item: ItemId) -> Result<Item, ClientError> {
        self.get(self.item_url(vault, item, &[]), "item").await
    }

    /// Creates an item. The server chooses its id, and ids and values that are left out.
    ///
    /// # Errors
    /// Status 400 with what is wrong with the item. [`ClientError::DoneUnread`] if the item was created, but the token
    /// may not read it.
    pub async fn create_item(&self, vault: VaultId, item: &ItemInput) -> Result<Item, ClientError> {
        let url = self.url(&items_path(&vault));
        written(&self.change(Method::POST, url, Some(item)).await?)
    }

    /// Replaces everything of an item except its files. 1Password's Connect returns the new content with the version of
    /// *before* the change.
    ///
    /// # Errors
    /// As [`create_item`](Self::create_item), and [`is_not_found`](ClientError::is_not_found),
    /// [`is_conflict`](ClientError::is_conflict).
    pub async fn replace_item(&self, vault: VaultId, item: ItemId, content: &ItemInput) -> Result<Item, ClientError> {
        let url = self.item_url(vault, item, &[]);
        written(&self.change(Method::PUT, url, Some(content)).await?)
    }

    /// Changes parts of an item. The server applies all operations or none. [`model::patch`](sidevault_model::patch)
    /// describes the paths.
    ///
    /// # Errors
    /// As [`replace_item`](Self::replace_item). The message of a 400 names the operation.
    pub async fn patch_item(
        &self,
        vault: VaultId,
        item: ItemId,
        operations: &[Operation],
    ) -> Result<Item, ClientError> {
        let url = self.item_url(vault, item, &[]);
        written(&self.change(Method::PATCH, url, Some(&operations)).await?)
    }

    /// Deletes an item.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found) if the item does not exist; see [`ClientError`].
    pub async fn delete_item(&self, vault: VaultId, item: ItemId) -> Result<(), ClientError> {
        let url = self.item_url(vault, item, &[]);
        self.change::<()>(Method::DELETE, url, None).await?;
        Ok(())
    }

    /// The URL of an item, or of `rest` below it.
    pub(crate) fn item_url(&self, vault: VaultId, item: ItemId, rest: &[&str]) -> Url {
        let mut segments = vec!["v1", "vaults", vault.as_str(), "items", item.as_str()];
        segments.extend(rest);
        self.url(&segments)
    }
}

fn items_path(vault: &VaultId) -> [&str; 4] {
    ["v1", "vaults", vault.as_str(), "items"]
}

/// Parses the item in the answer to a write. The server has carried out the write even if the answer can't be parsed.
pub(crate) fn written(body: &[u8]) -> Result<Item, ClientError> {
    serde_json::from_slice(body).map_err(|_| ClientError::DoneUnread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use serde_json::{Value, json};
    use sidevault_model::patch::Op;
    use sidevault_model::{Category, FieldInput};

    fn path() -> String {
        format!("/v1/vaults/{VAULT}/items/{ITEM}")
    }

    #[tokio::test]
    async fn unknown_members_and_words_of_an_item_are_accepted() {
        let mut item: Value = serde_json::from_str(&item_json(ITEM, "Wi-Fi", 3)).unwrap();
        item["category"] = json!("CRYPTO_WALLET");
        item["tags"] = Value::Null;
        item["trashed"] = json!(false);
        item["fields"][0]["type"] = json!("WAX_SEAL");
        item["fields"][0]["purpose"] = json!("SHOW");
        item["fields"][0]["section"] = Value::Null;
        let server = Server::always(crate::testing::json(&item.to_string())).await;
        let item = server.client().item(vault_id(), item_id()).await.unwrap();
        assert_eq!((item.category, item.version), (Category::Custom, 3));
        assert_eq!(item.fields[0].value, "s3cret");
        assert_eq!(server.lines(), [format!("GET {}", path())]);
    }

    #[tokio::test]
    async fn writes_send_json() {
        let server = Server::always(crate::testing::json(&item_json(ITEM, "Wi-Fi", 1))).await;
        let client = server.client();
        let input = ItemInput {
            title: Some("Wi-Fi".into()),
            category: Some("LOGIN".into()),
            fields: vec![FieldInput {
                label: Some("pin".into()),
                value: Some("1".into()),
                ..FieldInput::default()
            }],
            ..ItemInput::default()
        };
        client.create_item(vault_id(), &input).await.unwrap();
        client.replace_item(vault_id(), item_id(), &input).await.unwrap();
        let operation = Operation {
            op: Op::Replace,
            path: "/title".into(),
            value: Some(json!("x")),
        };
        client.patch_item(vault_id(), item_id(), &[operation]).await.unwrap();
        let seen = server.seen();
        assert_eq!(
            server.lines(),
            [
                format!("POST /v1/vaults/{VAULT}/items"),
                format!("PUT {}", path()),
                format!("PATCH {}", path())
            ]
        );
        let sent = r#"{"title":"Wi-Fi","category":"LOGIN","fields":[{"label":"pin","value":"1"}]}"#;
        assert_eq!((seen[0].body.as_str(), seen[1].body.as_str()), (sent, sent));
        assert_eq!(seen[2].body, r#"[{"op":"replace","path":"/title","value":"x"}]"#);
        assert!(
            seen.iter()
                .all(|seen| seen.header("content-type") == Some("application/json"))
        );
    }

    #[tokio::test]
    async fn a_deletion_has_no_body_and_may_be_not_found() {
        let server = Server::start(|_, before| match before {
            0 => raw("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
            _ => refuse(404, "item not found"),
        })
        .await;
        server.client().delete_item(vault_id(), item_id()).await.unwrap();
        let error = server.client().delete_item(vault_id(), item_id()).await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(server.lines()[0], format!("DELETE {}", path()));
        assert_eq!(server.seen()[0].header("content-type"), None);
    }

    #[tokio::test]
    async fn a_write_whose_answer_has_no_item_is_done() {
        for body in ["", "null", "{}", r#"{"title":"x"}"#] {
            let client = Server::always(crate::testing::json(body)).await.client();
            let error = client.create_item(vault_id(), &ItemInput::default()).await.unwrap_err();
            assert_eq!(error, ClientError::DoneUnread);
        }
        let client = Server::always(refuse(409, "Conflict")).await.client();
        let error = client.patch_item(vault_id(), item_id(), &[]).await.unwrap_err();
        assert!(error.is_conflict());
    }
}
