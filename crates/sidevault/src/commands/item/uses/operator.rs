//! Asks a running operator which ExternalSecrets have read an item: `/uses` beside its metrics.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use sidevault_model::{ItemId, VaultId, printable};
use sidevault_net::{Authorities, client_builder};
use zeroize::Zeroizing;

use super::graph::{Known, Read};
use crate::exit::Failure;
use crate::input;

/// How long the operator may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// The longest token that the operator accepts, in bytes.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// One entry of the answer.
#[derive(Deserialize)]
struct Use {
    namespace: String,
    name: String,
    store: String,
    /// `item` or `vault`.
    reads: String,
}

/// What the operator has read for the ExternalSecrets that depend on the item.
pub(super) async fn readers(address: &str, token_file: &Path, vault: VaultId, item: ItemId) -> Result<Known, Failure> {
    let shown = printable(address);
    let failed = |why: &str| Failure::Failed(format!("--operator {shown}: {why}"));
    let client = client_builder(Authorities::default()).map_err(|error| failed(&error.to_string()))?;
    let client = client
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| failed(&error.to_string()))?;
    let unreachable = || Failure::Unreachable(format!("the operator at {shown} does not answer: is --operator right?"));
    let token = input::file(token_file, MAX_TOKEN_BYTES)
        .map(|bytes| Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned()))
        .map_err(|error| Failure::Config(format!("{}: {error}", token_file.display())))?;
    let url = format!("{}/uses/{vault}/{item}", address.trim_end_matches('/'));
    let mut response = client
        .get(url)
        .bearer_auth(token.as_str())
        .send()
        .await
        .map_err(|_| unreachable())?;
    match response.status().as_u16() {
        200 => {}
        401 => {
            return Err(Failure::Denied(format!(
                "the operator at {shown} does not accept the token in {}: kubectl create token ACCOUNT makes one",
                token_file.display()
            )));
        }
        403 => {
            return Err(Failure::Denied(format!(
                "the operator at {shown}: the token's account may not list ExternalSecrets in all namespaces"
            )));
        }
        429 | 503 => {
            return Err(Failure::Unreachable(format!(
                "the operator at {shown} could not check the token at the API server; try again"
            )));
        }
        status => {
            return Err(failed(&format!(
                "it answered {status}, so it is not an operator of this version"
            )));
        }
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| unreachable())? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BYTES {
            return Err(failed("its answer is too large"));
        }
    }
    let uses: Vec<Use> =
        serde_json::from_slice(&body).map_err(|_| failed("its answer is not that of Sidevault's operator"))?;
    let mut known = Known::new();
    for Use {
        namespace,
        name,
        store,
        reads,
    } in uses
    {
        let read = known.entry((namespace, name)).or_insert_with(|| Read {
            store,
            is_of_item: false,
        });
        read.is_of_item |= reads == "item";
    }
    Ok(known)
}
