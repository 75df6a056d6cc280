//! `op vault list` and `op vault get`.

use sidevault_model::printable;

use super::session::Session;
use super::{Call, End, json, people, print, print_json};

pub(super) async fn list(call: &Call<'_>) -> Result<(), End> {
    let vaults = Session::open(call)?.vaults().await?;
    if call.wants_json()? {
        return print_json(&vaults.iter().map(json::vault_entry).collect());
    }
    let rows = vaults.into_iter().map(|vault| [vault.id.to_string(), vault.name]);
    print(&people::table(["ID", "NAME"], rows))
}

pub(super) async fn get(call: &Call<'_>, vault: &str) -> Result<(), End> {
    let vault = Session::open(call)?.vault(vault).await?;
    if call.wants_json()? {
        return print_json(&json::vault(&vault));
    }
    print(&format!(
        "ID:                   {}\nName:                 {}\nType:                 {}\nAttribute version:    {}\nContent version:      {}\n\
         Items:                {}\nCreated:              {}\nUpdated:              {}\n",
        vault.id,
        printable(&vault.name),
        vault.vault_type,
        vault.attribute_version,
        vault.content_version,
        vault.items,
        people::ago(vault.created_at),
        people::ago(vault.updated_at),
    ))
}
