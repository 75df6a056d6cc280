//! Lists and reads vaults.

use sidevault_model::{Vault, VaultId};

use crate::client::Client;
use crate::error::ClientError;
use crate::filter::Filter;

impl Client {
    /// Lists the vaults that the token may read; with a filter, those that match it.
    ///
    /// # Errors
    /// Status 400 for a filter that the server does not understand, 401 for an invalid token; see [`ClientError`].
    pub async fn vaults(&self, filter: Option<&Filter>) -> Result<Vec<Vault>, ClientError> {
        self.get_list(self.list_url(&["v1", "vaults"], filter), "list of vaults")
            .await
    }

    /// Reads a vault.
    ///
    /// # Errors
    /// [`is_denied`](ClientError::is_denied) for a vault that the token may not read, whether it exists or not;
    /// [`is_not_found`](ClientError::is_not_found) for a vault of the token that was deleted.
    pub async fn vault(&self, vault: VaultId) -> Result<Vault, ClientError> {
        self.get(self.url(&["v1", "vaults", vault.as_str()]), "vault").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[tokio::test]
    async fn vaults_are_listed_and_filtered() {
        let server = Server::always(json(&format!("[{}]", vault_json(VAULT, "Homelab")))).await;
        let vaults = server.client().vaults(Some(&Filter::name("Homelab"))).await.unwrap();
        assert_eq!((vaults[0].id, vaults[0].name.as_str()), (vault_id(), "Homelab"));
        assert_eq!(server.seen()[0].filter().unwrap(), r#"name eq "Homelab""#);
    }

    #[tokio::test]
    async fn unknown_and_missing_members_of_a_vault_are_accepted() {
        let odd = format!(r#"{{"id":"{VAULT}","name":"x","type":"COSMIC","extra":{{}},"description":null}}"#);
        let server = Server::always(json(&odd)).await;
        assert_eq!(server.client().vault(vault_id()).await.unwrap().name, "x");
        assert_eq!(server.lines(), [format!("GET /v1/vaults/{VAULT}")]);
        assert_eq!(
            Server::always(json("null")).await.client().vaults(None).await.unwrap(),
            []
        );
    }
}
