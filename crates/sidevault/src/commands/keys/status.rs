//! `sidevault keys status`.

use serde::Serialize;
use sidevault_keys::Credentials;
use sidevault_model::{Timestamp, VaultId};
use sidevault_store::KeyRow;

use crate::commands::vault;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output::{self, Table};

/// What `keys status --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    root_keys: Vec<RootKey>,
    issuers: Vec<IssuerKey>,
    /// Absent if there is no store here.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_keys: Option<Vec<StoreKey>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RootKey {
    fingerprint: String,
    is_newest: bool,
    /// How many keys of the store this root key unwraps.
    unwraps: usize,
    /// How many keys of the store no newer root key of the file unwraps: while there are any, the root key must stay.
    needed_for: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuerKey {
    kid: String,
    /// Until when its tokens are accepted; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreKey {
    #[serde(skip)]
    name: String,
    /// Absent: the keys of the store itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<VaultId>,
    /// Absent: the key that hashes titles.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    created_at: Timestamp,
    seals: i64,
    /// How many rows are still sealed with a data key that was replaced. Absent for keys in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_left: Option<u64>,
    /// The fingerprints of the root keys that unwrap it; `unknown` for one that the credentials file does not have.
    wrapped_under: Vec<String>,
}

/// Prints the keys of the credentials file, and those of the store if there is one here.
pub(super) async fn run(installation: &Installation, json: bool) -> Result<(), Failure> {
    let credentials = installation.credentials()?;
    let keys = match installation.has_store() {
        true => Some(store_keys(installation, &credentials).await?),
        false => None,
    };
    let rows = || keys.iter().flatten().map(|(_, row)| row);
    let fingerprints = credentials.root_fingerprints();
    let root = |(position, fingerprint): (usize, &String)| RootKey {
        fingerprint: fingerprint.clone(),
        is_newest: position == 0,
        unwraps: rows().filter(|row| row.roots.contains(&Some(position))).count(),
        needed_for: rows().filter(|row| newest_root(row) == Some(position)).count(),
    };
    let root_keys = fingerprints.iter().enumerate().map(root).collect();
    let issuers = credentials.issuers().map(|(kid, until)| IssuerKey {
        kid: kid.to_owned(),
        until,
    });
    let under = |root: &Option<usize>| {
        root.and_then(|position| fingerprints.get(position).cloned())
            .unwrap_or_else(|| "unknown".to_owned())
    };
    let store_key = |(name, row): (String, KeyRow)| StoreKey {
        name,
        vault: row.vault,
        id: row.id,
        created_at: row.created_at,
        seals: row.seals,
        rows_left: row.rows_left,
        wrapped_under: row.roots.iter().map(under).collect(),
    };
    let status = Status {
        root_keys,
        issuers: issuers.collect(),
        store_keys: keys.map(|keys| keys.into_iter().map(store_key).collect()),
    };
    if json {
        return output::json(&status);
    }
    print(&status)
}

/// The keys of the store, each with the name of its vault.
async fn store_keys(installation: &Installation, credentials: &Credentials) -> Result<Vec<(String, KeyRow)>, Failure> {
    let reader = installation.reader(credentials).await?;
    let (snapshot, keys) = (reader.snapshot().await?, reader.key_rows().await?);
    reader.close().await;
    let names = vault::rows(&snapshot);
    let name = |key: &KeyRow| {
        key.vault
            .map_or_else(|| "(the store)".to_owned(), |id| vault::name_of(&names, id))
    };
    Ok(keys.into_iter().map(|key| (name(&key), key)).collect())
}

/// The position of the newest root key of the file that unwraps the key.
fn newest_root(row: &KeyRow) -> Option<usize> {
    row.roots.iter().copied().flatten().min()
}

/// How many keys of the store the newest root key does not unwrap.
pub(super) async fn not_under_newest(installation: &Installation, credentials: &Credentials) -> Result<usize, Failure> {
    let keys = store_keys(installation, credentials).await?;
    Ok(keys.iter().filter(|(_, row)| newest_root(row) != Some(0)).count())
}

fn print(status: &Status) -> Result<(), Failure> {
    let mut roots = Table::new(["ROOT KEY", "STATE", "UNWRAPS", "NEEDED FOR"]);
    for root in &status.root_keys {
        let state = if root.is_newest { "newest" } else { "old" };
        roots.row([
            root.fingerprint.clone(),
            state.to_owned(),
            root.unwraps.to_string(),
            root.needed_for.to_string(),
        ]);
    }
    roots.print()?;
    let mut issuers = Table::new(["ISSUER", "ACCEPTED UNTIL"]);
    for issuer in &status.issuers {
        let until = issuer
            .until
            .map_or_else(|| "no end".to_owned(), |until| until.to_string());
        issuers.row([issuer.kid.clone(), until]);
    }
    output::line("")?;
    issuers.print()?;
    output::line("")?;
    let Some(store_keys) = &status.store_keys else {
        return output::line("There is no store here: run this where sync runs to see the store's keys.");
    };
    let mut keys = Table::new(["VAULT", "KEY", "MADE", "SEALED", "STATE", "WRAPPED UNDER"]);
    for key in store_keys {
        keys.row([
            key.name.clone(),
            key.id.clone().unwrap_or_else(|| "titles".to_owned()),
            key.created_at.to_string(),
            key.seals.to_string(),
            key.rows_left
                .map_or_else(|| "in use".to_owned(), |rows| format!("old, {rows} rows left")),
            key.wrapped_under.join(" "),
        ]);
    }
    keys.print()?;
    if store_keys.iter().any(|key| key.rows_left.is_some()) {
        output::line(
            "\nRows are being sealed anew with new data keys, while sync runs. Then the old data keys are deleted.",
        )?;
    }
    match status.root_keys.iter().find(|root| !root.is_newest) {
        Some(old) if old.needed_for > 0 => output::line(&format!(
            "\n{} keys are wrapped under the old root key {} only: start sync with this credentials file.",
            old.needed_for, old.fingerprint
        )),
        Some(old) => output::line(&format!(
            "\nThe old root key {} is not needed any more: once api and sync run with this file, sidevault keys rotate root \
             --finish --out FILE",
            old.fingerprint
        )),
        None => Ok(()),
    }
}
