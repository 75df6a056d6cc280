//! Renews quickstart's token when a directory gets a new vault while the server runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidevault_model::{VaultId, printable};
use sidevault_store::{LOCAL_SOURCE, VaultEntry};
use sidevault_sync::Queue;

use super::keys::Keys;
use super::{Home, Lifetime, open_reader, ready, token};
use crate::cli;
use crate::exit::Failure;
use crate::installation::TOKEN_FILE;

/// How often the store is checked for new vaults. A check of an unchanged store is one `pread`.
const INTERVAL: Duration = Duration::from_secs(1);

/// Waits for vaults of directories that are not in `known`. For each, makes a token that covers it, too, and prints a note.
/// Runs until it is cancelled, or until the store can't be opened. `vault create` renews the token for local vaults.
pub(super) async fn follow(
    mut known: BTreeSet<VaultId>,
    home: &Home,
    keys: &Keys,
    arguments: &cli::Quickstart,
    sync: &Queue,
) -> Result<(), Failure> {
    let reader = open_reader(home.path(), &keys.credentials).await?;
    loop {
        tokio::time::sleep(INTERVAL).await;
        // The api reports a store that can't be read.
        let Ok(snapshot) = reader.snapshot().await else {
            continue;
        };
        let vaults: Vec<Arc<VaultEntry>> = snapshot.vaults().cloned().collect();
        let is_new = |entry: &&Arc<VaultEntry>| entry.source != LOCAL_SOURCE && !known.contains(&entry.vault.id);
        let new: Vec<String> = vaults
            .iter()
            .filter(is_new)
            .map(|entry| format!("\"{}\"", printable(&entry.vault.name)))
            .collect();
        if !new.is_empty() {
            let consequence = match home.lifetime() {
                Lifetime::Ephemeral => {
                    "the token does not cover it: restart quickstart to get one that does".to_owned()
                }
                _ => renew(&vaults, home.path(), keys, arguments, sync)
                    .await
                    .unwrap_or_else(|error| format!("no token for it could be made: {error}")),
            };
            eprintln!("note: new vault {} in a directory; {consequence}", new.join(", "));
        }
        // A vault that is deleted and made again has the same id, and the token still covers it.
        known.extend(vaults.iter().map(|entry| entry.vault.id));
    }
}

/// Writes a token that covers these vaults to its files, and returns a text about it for the user.
async fn renew(
    vaults: &[Arc<VaultEntry>],
    data: &Path,
    keys: &Keys,
    arguments: &cli::Quickstart,
    sync: &Queue,
) -> Result<String, Failure> {
    let token = token::kept(data, &keys.credentials, &keys.issuer, vaults)?;
    sync.command(token.registration())
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    ready::write_token_out(arguments, &token.jwt)?;
    Ok(token::renewal_note(&data.join(TOKEN_FILE)))
}
