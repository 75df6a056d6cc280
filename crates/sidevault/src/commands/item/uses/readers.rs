//! Which tokens read an item, and when last: from the server's activity log.

use std::collections::BTreeMap;

use serde::Serialize;
use sidevault_client::ClientError;
use sidevault_model::activity::{Action, ActivityOutcome};
use sidevault_model::{ApiRequest, Item, Timestamp, Vault};

use crate::cli::Place;
use crate::commands::token;
use crate::environment::Environment;
use crate::installation::Installation;
use crate::server::Server;

/// How many records are asked for at once: the most that a server sends.
const PAGE: u32 = 1000;
/// How many pages are read at most.
const MAX_PAGES: u64 = 500;

/// One client that read the item with one token.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenReads {
    /// The token's id.
    pub(super) jti: String,
    /// The token's name, if the server's store is on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) client: String,
    pub(super) address: String,
    pub(super) last: Timestamp,
    /// How many of the requests in the log read the item.
    pub(super) reads: u64,
}

/// The clients that read the item, the last one first, and when the log begins.
pub(super) async fn of(
    server: &Server,
    vault: &Vault,
    item: &Item,
) -> Result<(Vec<TokenReads>, Option<Timestamp>), ClientError> {
    let mut readers = BTreeMap::new();
    let mut since = None;
    let mut offset = 0;
    for _ in 0..MAX_PAGES {
        let page = server.client.activity(PAGE, offset).await?;
        let count = page.requests.len() as u64 + page.unread as u64;
        for request in &page.requests {
            since = Some(request.timestamp);
            add(&mut readers, request, vault, item);
        }
        offset += count;
        if count == 0 || page.total.is_some_and(|total| offset >= total) {
            break;
        }
    }
    let mut readers: Vec<TokenReads> = readers.into_values().collect();
    readers.sort_by(|a, b| (b.last, &a.jti, &a.client).cmp(&(a.last, &b.jti, &b.client)));
    Ok((readers, since))
}

/// Requests come newest first.
fn add(readers: &mut BTreeMap<(String, String), TokenReads>, request: &ApiRequest, vault: &Vault, item: &Item) {
    let is_read = request.action == Action::Read && request.result == ActivityOutcome::Success;
    let about = &request.resource;
    if !is_read || about.vault.id != vault.id || about.item.is_none_or(|about| about.id != item.id) {
        return;
    }
    let actor = &request.actor;
    let key = (actor.jti.clone(), actor.user_agent.clone());
    let reader = readers.entry(key).or_insert_with(|| TokenReads {
        jti: actor.jti.clone(),
        name: None,
        client: actor.user_agent.clone(),
        address: actor.request_ip.clone(),
        last: request.timestamp,
        reads: 0,
    });
    reader.reads += 1;
    if request.timestamp > reader.last {
        reader.last = request.timestamp;
        reader.address.clone_from(&actor.request_ip);
    }
}

/// Adds the names of the tokens, if this machine has the store that made them.
pub(super) async fn add_names(readers: &mut [TokenReads], environment: &Environment) {
    if readers.is_empty() {
        return;
    }
    let installation = Installation::find(&Place::default(), environment);
    let Ok(credentials) = installation.credentials() else {
        return;
    };
    let Ok(known) = token::tokens(&installation, &credentials).await else {
        return;
    };
    for reader in readers {
        let known = known.iter().find(|token| token.jti == reader.jti);
        reader.name = known.map(|token| token.name.clone());
    }
}
