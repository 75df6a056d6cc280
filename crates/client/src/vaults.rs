//! Vaults.

use sidevault_model::{Vault, VaultId};

use crate::client::Client;
use crate::error::ClientError;
use crate::filter::Filter;

impl Client {
    /// The vaults the token may see; with a filter, those that match it.
    ///
    /// # Errors
    /// A status of 400 for a filter the server does not understand, 401 for a bad token; see [`ClientError`].
    pub async fn vaults(&self, filter: Option<&Filter>) -> Result<Vec<Vault>, ClientError> {
        self.get_list(self.list_url(&["v1", "vaults"], filter), "list of vaults")
            .await
    }

    /// One vault.
    ///
    /// # Errors
    /// [`is_denied`](ClientError::is_denied) for a vault outside the token's scope, whether it exists or not;
    /// [`is_not_found`](ClientError::is_not_found) for one that is gone.
    pub async fn vault(&self, vault: VaultId) -> Result<Vault, ClientError> {
        self.get(self.url(&["v1", "vaults", vault.as_str()]), "vault").await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
    async fn what_a_newer_server_adds_or_leaves_out_does_no_harm() {
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
