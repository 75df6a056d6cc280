//! Finds vaults and items by name. Names are sent in filters and not in paths, because 1Password's Connect accepts
//! only ids in paths. The exception is a name that Sidevault has taken for the path of a file.

use sidevault_model::error::SEVERAL_ITEMS;
use sidevault_model::filter::{fold, named};
use sidevault_model::{Item, ItemId, Vault, VaultId, tree_path};

use crate::client::Client;
use crate::error::{ClientError, Kind};
use crate::filter::Filter;

impl Client {
    /// Finds the vault with this name. Case is ignored, unless a vault has exactly this name.
    ///
    /// # Errors
    /// [`ClientError::NoMatch`], [`ClientError::Ambiguous`], and those of [`vaults`](Self::vaults).
    pub async fn vault_by_name(&self, name: &str) -> Result<Vault, ClientError> {
        let vaults = match self.vaults(Some(&Filter::name(name))).await {
            Err(error) if may_be_misread(name, &error) => self.vaults(None).await?,
            outcome => outcome?,
        };
        only(Kind::Vault, vaults, name, |vault| &vault.name)
    }

    /// Finds the item of a vault with this title or path, and reads it with its fields. Case is ignored, unless an item has
    /// exactly this title.
    ///
    /// # Errors
    /// [`ClientError::NoMatch`], [`ClientError::Ambiguous`], and those of [`items`](Self::items) and
    /// [`item`](Self::item).
    pub async fn item_by_title(&self, vault: VaultId, title: &str) -> Result<Item, ClientError> {
        let found = single(Kind::Item, self.items_named(vault, title).await?)?;
        self.item(vault, found.id).await
    }

    /// The items of a vault with this title, or at a Sidevault server with this path, without their fields. Case is ignored, unless
    /// an item has exactly this title.
    ///
    /// # Errors
    /// Those of [`items`](Self::items).
    pub async fn items_named(&self, vault: VaultId, name: &str) -> Result<Vec<Item>, ClientError> {
        let items = match self.items(vault, Some(&Filter::title(name))).await {
            Err(error) if may_be_misread(name, &error) => {
                return Ok(named(self.items(vault, None).await?, name, |item| &item.title));
            }
            outcome => outcome?,
        };
        let folded = fold(name);
        let others = items.iter().any(|item| fold(&item.title) != folded);
        let titled = |items| Ok(named(items, name, |item: &Item| &item.title));
        if !others || tree_path::meant("", name).is_empty() {
            return titled(items);
        }
        // Either the server found the path of a file, or it reads filters loosely. Only Sidevault knows names in paths.
        let url = self.url(&["v1", "vaults", vault.as_str(), "items", name]);
        match self.get::<Item>(url, "item").await {
            Ok(item) => Ok(vec![item]),
            Err(ClientError::Status { message, .. }) if message.contains(SEVERAL_ITEMS) => Ok(items),
            Err(error) if error.refuses_id() => titled(items),
            Err(error) => Err(error),
        }
    }

    /// Finds an item by id or title as an entry of the vault's list: without fields and sections. The server's activity log records no
    /// read of the item for that, unless it is found by the path of its file.
    ///
    /// # Errors
    /// [`ClientError::NoMatch`], [`ClientError::Ambiguous`], and those of [`items`](Self::items).
    pub async fn summary(&self, vault: VaultId, item: &str) -> Result<Item, ClientError> {
        if let Ok(id) = ItemId::parse(item) {
            let items = self.items(vault, None).await?;
            if let Some(found) = items.into_iter().find(|known| known.id == id) {
                return Ok(found);
            }
        }
        single(Kind::Item, self.items_named(vault, item).await?)
    }

    /// Finds a vault by id or name. A text in the form of an id is looked up as an id first, then as a name.
    ///
    /// # Errors
    /// Those of [`vault`](Self::vault) and [`vault_by_name`](Self::vault_by_name).
    pub async fn resolve_vault(&self, vault: &str) -> Result<Vault, ClientError> {
        let Ok(id) = VaultId::parse(vault) else {
            return self.vault_by_name(vault).await;
        };
        match self.vault(id).await {
            Err(error) if error.refuses_id() => unless_unknown(self.vault_by_name(vault).await, error),
            outcome => outcome,
        }
    }

    /// Finds an item by id or title in the vault with this id or name. A text in the form of an id is looked up as an
    /// id first, then as a name.
    ///
    /// # Errors
    /// Those of [`vault_by_name`](Self::vault_by_name) and [`item_by_title`](Self::item_by_title).
    pub async fn resolve(&self, vault: &str, item: &str) -> Result<Item, ClientError> {
        // Two ids need one request.
        if let (Ok(vault), Ok(item)) = (VaultId::parse(vault), ItemId::parse(item)) {
            match self.item(vault, item).await {
                Err(error) if error.refuses_id() => {}
                outcome => return outcome,
            }
        }
        let vault = self.resolve_vault(vault).await?.id;
        let Ok(id) = ItemId::parse(item) else {
            return self.item_by_title(vault, item).await;
        };
        match self.item(vault, id).await {
            Err(error) if error.refuses_id() => unless_unknown(self.item_by_title(vault, item).await, error),
            outcome => outcome,
        }
    }
}

/// The only one of `found` with this name. A server may return others, because it may read a filter more loosely.
pub(crate) fn only<T>(what: Kind, found: Vec<T>, name: &str, name_of: impl Fn(&T) -> &str) -> Result<T, ClientError> {
    single(what, named(found, name, name_of))
}

fn single<T>(what: Kind, mut found: Vec<T>) -> Result<T, ClientError> {
    match (found.pop(), found.len()) {
        (None, _) => Err(ClientError::NoMatch(what)),
        (Some(one), 0) => Ok(one),
        (Some(_), others) => Err(ClientError::Ambiguous {
            what,
            count: others + 1,
        }),
    }
}

/// Whether the server may have refused a filter because of quotes or backslashes in it. The caller then reads the whole
/// list.
fn may_be_misread(name: &str, error: &ClientError) -> bool {
    error.status() == Some(400) && name.contains(['"', '\\'])
}

/// The result of the lookup by name, or the error of the lookup by id if no vault or item has the name.
fn unless_unknown<T>(by_name: Result<T, ClientError>, by_id: ClientError) -> Result<T, ClientError> {
    by_name.map_err(|error| match error {
        ClientError::NoMatch(_) => by_id,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    const OTHER: &str = "oooooooooooooooooooooooooo";

    /// A server with a vault `Homelab` and these items. Other paths are a 404.
    async fn with_items(titles: &'static [(&'static str, &'static str)]) -> Server {
        Server::start(move |seen, _| {
            let items = format!("/v1/vaults/{VAULT}/items");
            let path = seen
                .line
                .trim_start_matches("GET ")
                .split('?')
                .next()
                .unwrap_or_default();
            match path.strip_prefix(items.as_str()) {
                Some("") => {
                    let found: Vec<String> = titles.iter().map(|(id, title)| item_json(id, title, 1)).collect();
                    json(&format!("[{}]", found.join(",")))
                }
                Some(id) => match titles.iter().find(|(known, _)| id.strip_prefix('/') == Some(known)) {
                    Some((id, title)) => json(&item_json(id, title, 1)),
                    None => refuse(404, "item not found"),
                },
                None if path == "/v1/vaults" => json(&format!("[{}]", vault_json(VAULT, "Homelab"))),
                None if path == format!("/v1/vaults/{VAULT}") => json(&vault_json(VAULT, "Homelab")),
                None => refuse(403, "vault is not in scope"),
            }
        })
        .await
    }

    #[tokio::test]
    async fn names_are_looked_up_by_filter() {
        let server = with_items(&[(ITEM, "Wi-Fi"), (OTHER, "Wi-Fi guest")]).await;
        let item = server.client().resolve("homelab", "wi-fi").await.unwrap();
        assert_eq!((item.id, item.fields.len()), (item_id(), 1));
        let seen = server.seen();
        assert_eq!(seen[0].filter().unwrap(), r#"name eq "homelab""#);
        assert_eq!(seen[1].filter().unwrap(), r#"title eq "wi-fi""#);
        assert_eq!(seen[2].line, format!("GET /v1/vaults/{VAULT}/items/{ITEM}"));
        assert_eq!(seen.len(), 3);
    }

    #[tokio::test]
    async fn two_ids_are_one_request() {
        let server = with_items(&[(ITEM, "Wi-Fi")]).await;
        server.client().resolve(VAULT, ITEM).await.unwrap();
        assert_eq!(server.seen().len(), 1);
    }

    #[tokio::test]
    async fn a_name_may_have_the_form_of_an_id() {
        let server = with_items(&[(ITEM, OTHER)]).await;
        assert_eq!(server.client().resolve(VAULT, OTHER).await.unwrap().id, item_id());
        assert_eq!(server.client().resolve("Homelab", OTHER).await.unwrap().id, item_id());
        // The error is that of the lookup by id.
        let missing = "mmmmmmmmmmmmmmmmmmmmmmmmmm";
        let error = server.client().resolve(VAULT, missing).await.unwrap_err();
        assert_eq!(error.status(), Some(404));
        let error = server.client().resolve(missing, ITEM).await.unwrap_err();
        assert!(error.is_denied());
    }

    #[tokio::test]
    async fn a_name_must_be_unique_unless_the_case_matches() {
        let server = with_items(&[(ITEM, "Dev"), (OTHER, "dev")]).await;
        let client = server.client();
        assert_eq!(client.item_by_title(vault_id(), "Dev").await.unwrap().id, item_id());
        let twins = ClientError::Ambiguous {
            what: Kind::Item,
            count: 2,
        };
        assert_eq!(client.item_by_title(vault_id(), "DEV").await.unwrap_err(), twins);
        let none = ClientError::NoMatch(Kind::Item);
        assert_eq!(client.item_by_title(vault_id(), "prod").await.unwrap_err(), none);
        let none = ClientError::NoMatch(Kind::Vault);
        assert_eq!(client.vault_by_name("prod").await.unwrap_err(), none);
        assert_eq!(client.resolve_vault("HomeLab").await.unwrap().id, vault_id());
    }

    #[tokio::test]
    async fn the_whole_list_is_read_if_a_filter_with_quotes_is_refused() {
        let server = Server::start(|seen, _| match seen.filter() {
            Some(_) => refuse(400, "Invalid filter"),
            None => json(&format!("[{}]", vault_json(VAULT, "say \"hi\""))),
        })
        .await;
        assert_eq!(
            server.client().vault_by_name("say \"hi\"").await.unwrap().id,
            vault_id()
        );
        let error = server.client().vault_by_name("plain").await.unwrap_err();
        assert_eq!(error.status(), Some(400));
    }

    #[tokio::test]
    async fn other_errors_end_the_lookup() {
        let server = Server::always(refuse(500, "Something went wrong")).await;
        assert_eq!(
            server.client().resolve(VAULT, ITEM).await.unwrap_err().status(),
            Some(500)
        );
        assert_eq!(server.seen().len(), 1);
    }
}
