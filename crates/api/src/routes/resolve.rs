//! `POST /v1/resolve`: the values of many secret references in one request. Connect does not have it.

use std::collections::HashMap;

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sidevault_model::reference::{self, Found, Reference, Unresolved, UnresolvedKind, lower_id};
use sidevault_model::{File, ItemId, Timestamp, VaultId, printable};
use sidevault_store::StoredItem;
use tokio::sync::OwnedSemaphorePermit;

use crate::caller::Caller;
use crate::error::ApiError;
use crate::limits::{
    MAX_REFERENCES, MAX_RESOLVE_BODY_BYTES, MAX_RESOLVED_BYTES, MAX_RESOLVED_ITEM_BYTES, MAX_SMALL_BODY_BYTES,
};
use crate::request_body::{RequestBody, large_body_permit};
use crate::responses::{LargeBodyPermit, json};

use super::files::{ATTEMPTS, whole};
use super::items::titled;

#[derive(Deserialize)]
struct Wanted {
    references: Vec<String>,
}

/// The outcomes, in the order of the references.
#[derive(Serialize)]
struct Answer {
    results: Vec<Outcome>,
}

#[derive(Clone, Serialize)]
#[serde(untagged)]
enum Outcome {
    Value {
        value: String,
        vault: VaultId,
        item: ItemId,
    },
    Error {
        error: Unresolved,
        #[serde(skip_serializing_if = "Option::is_none")]
        vault: Option<VaultId>,
    },
}

pub(super) async fn resolve(mut caller: Caller, body: RequestBody) -> Result<Response, ApiError> {
    let (body, permit) = body.read(&caller.api).await?;
    let references = parse(&body)?;
    drop(body);
    let mut resolver = Resolver {
        outcomes: vec![None; references.len()],
        value_bytes: 0,
        item_bytes: 0,
        permit,
    };
    for ((vault, item), places) in resolver.grouped(&mut caller, &references).await? {
        resolver.item(&mut caller, vault, &item, &places).await?;
    }
    // Every reference is in one group or has an error.
    let results = resolver.outcomes.into_iter().flatten().collect();
    let text = serde_json::to_vec(&Answer { results })
        .map_err(|_| ApiError::internal("the values could not be written as JSON"))?;
    let mut response = json(text);
    if let Some(permit) = resolver.permit {
        response.extensions_mut().insert(LargeBodyPermit(permit.into()));
    }
    Ok(response)
}

fn parse(body: &[u8]) -> Result<Vec<String>, ApiError> {
    let too_large = |what: String| ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, what);
    if body.len() > MAX_RESOLVE_BODY_BYTES {
        return Err(too_large(format!(
            "the references are longer than {MAX_RESOLVE_BODY_BYTES} bytes together. Send several requests"
        )));
    }
    let Wanted { references } = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "the body is not {{\"references\": [text, ...]}}: line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    if references.len() > MAX_REFERENCES {
        return Err(too_large(format!(
            "{} references, and one request may have {MAX_REFERENCES}. Send several requests",
            references.len()
        )));
    }
    Ok(references)
}

/// The references to one item, with their places in the request.
type Places = Vec<(usize, Reference)>;

/// The outcomes so far, and how much was read for them.
struct Resolver {
    outcomes: Vec<Option<Outcome>>,
    /// The bytes of all values.
    value_bytes: usize,
    /// The bytes of all items that were read.
    item_bytes: usize,
    /// The permit of a large body, which a large response needs, too.
    permit: Option<OwnedSemaphorePermit>,
}

impl Resolver {
    /// The references by vault and by title or id of the item, so that each item is read once. References that are not valid, or
    /// whose vault the token may not read, get their error here.
    async fn grouped(
        &mut self,
        caller: &mut Caller,
        references: &[String],
    ) -> Result<Vec<((VaultId, String), Places)>, ApiError> {
        let mut vaults: HashMap<String, Result<VaultId, Unresolved>> = HashMap::new();
        let mut numbers: HashMap<(VaultId, String), usize> = HashMap::new();
        let mut groups: Vec<((VaultId, String), Places)> = Vec::new();
        for (place, text) in references.iter().enumerate() {
            let reference = match Reference::parse(text) {
                Ok(reference) => reference,
                Err(invalid) => {
                    let error = Unresolved::new(UnresolvedKind::Parsing, invalid.to_string());
                    self.outcomes[place] = Some(Outcome::Error { error, vault: None });
                    continue;
                }
            };
            let named = lower_id(&reference.vault);
            let vault = match vaults.get(&named) {
                Some(known) => known.clone(),
                None => {
                    let found = vault(caller, &reference, &named).await?;
                    vaults.insert(named, found.clone());
                    found
                }
            };
            match vault {
                Ok(vault) => {
                    let key = (vault, lower_id(&reference.item));
                    let number = *numbers.entry(key.clone()).or_insert_with(|| {
                        groups.push((key, Vec::new()));
                        groups.len() - 1
                    });
                    groups[number].1.push((place, reference));
                }
                Err(error) => self.outcomes[place] = Some(Outcome::Error { error, vault: None }),
            }
        }
        Ok(groups)
    }

    /// Resolves the references to one item, which is in memory only meanwhile.
    async fn item(&mut self, caller: &mut Caller, vault: VaultId, item: &str, places: &Places) -> Result<(), ApiError> {
        let value_bytes = self.value_bytes;
        for _ in 0..ATTEMPTS {
            let (id, stored) = match find(caller, vault, item, &places[0].1).await? {
                Ok(found) => found,
                Err(error) => {
                    for (place, _) in places {
                        self.outcomes[*place] = Some(Outcome::Error {
                            error: error.clone(),
                            vault: Some(vault),
                        });
                    }
                    return Ok(());
                }
            };
            self.count_item(stored.json().len())?;
            self.value_bytes = value_bytes;
            if self.values(caller, vault, &stored, places).await? {
                caller.record_item_read(vault, id, stored.version);
                return Ok(());
            }
            caller.renew().await?;
        }
        Err(ApiError::unavailable(
            "a file is replaced more often than it can be read. Try again in a moment",
        ))
    }

    fn count_item(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.item_bytes += bytes;
        if self.item_bytes > MAX_RESOLVED_ITEM_BYTES {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the items have more than {MAX_RESOLVED_ITEM_BYTES} bytes together. Ask for fewer references at once"
                ),
            ));
        }
        Ok(())
    }

    /// Resolves references in this version of their item. False if a file was replaced since the item was read.
    async fn values(
        &mut self,
        caller: &Caller,
        vault: VaultId,
        stored: &StoredItem,
        places: &Places,
    ) -> Result<bool, ApiError> {
        let item = stored.item()?;
        let now = Timestamp::now();
        for (place, reference) in places {
            let value = match reference::resolve(reference, &item, now) {
                Ok(Found::Text(text)) => Ok(text),
                Ok(Found::Content(file)) => match content(caller, vault, file).await? {
                    Some(content) => content,
                    None => return Ok(false),
                },
                Err(error) => Err(error),
            };
            let outcome = match value {
                Ok(value) => {
                    self.count_value(caller, value.len()).await?;
                    Outcome::Value {
                        value,
                        vault,
                        item: item.id,
                    }
                }
                Err(error) => Outcome::Error {
                    error,
                    vault: Some(vault),
                },
            };
            self.outcomes[*place] = Some(outcome);
        }
        Ok(true)
    }

    /// Counts a value, and gets the permit that a large response needs.
    async fn count_value(&mut self, caller: &Caller, bytes: usize) -> Result<(), ApiError> {
        self.value_bytes += bytes;
        if self.value_bytes > MAX_RESOLVED_BYTES {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the values have more than {MAX_RESOLVED_BYTES} bytes together. Ask for fewer references at once"
                ),
            ));
        }
        if self.value_bytes > MAX_SMALL_BODY_BYTES && self.permit.is_none() {
            self.permit = large_body_permit(&caller.api, None).await?;
        }
        Ok(())
    }
}

/// The vault of a reference, if the token may read it. `named` is its name or id.
async fn vault(
    caller: &mut Caller,
    reference: &Reference,
    named: &str,
) -> Result<Result<VaultId, Unresolved>, ApiError> {
    match caller.readable(named).await {
        Ok(entry) => Ok(Ok(entry.vault.id)),
        // The error is the same whether the vault does not exist or is out of the token's scope.
        Err(error) if error.is_clients() => Ok(Err(Unresolved::no_vault(reference))),
        Err(error) => Err(error),
    }
}

/// The item with this id or title.
async fn find(
    caller: &mut Caller,
    vault: VaultId,
    item: &str,
    reference: &Reference,
) -> Result<Result<(ItemId, StoredItem), Unresolved>, ApiError> {
    if let Ok(id) = ItemId::parse(item)
        && let Some(found) = caller.store().await?.item(&caller.snapshot, vault, id).await?
    {
        return Ok(Ok((id, found)));
    }
    let hits = titled(caller, vault, item).await?;
    let id = match &hits[..] {
        [only] => only.id,
        [] => return Ok(Err(Unresolved::no_item(reference))),
        several => {
            let ids: Vec<ItemId> = several.iter().map(|hit| hit.id).collect();
            return Ok(Err(Unresolved::too_many_items(reference, &ids)));
        }
    };
    let found = caller.store().await?.item(&caller.snapshot, vault, id).await?;
    Ok(found
        .map(|found| (id, found))
        .ok_or_else(|| Unresolved::no_item(reference)))
}

/// The content of a file as text. None if it was replaced since its item was read.
async fn content(caller: &Caller, vault: VaultId, file: &File) -> Result<Option<Result<String, Unresolved>>, ApiError> {
    let name = printable(&file.name);
    if file.size > reference::RESOLVED_FILE_BYTES {
        return Ok(Some(Err(Unresolved::new(
            UnresolvedKind::FileTooLarge,
            format!(
                "file '{name}' has {} bytes, more than {} can't be resolved; read the file's content",
                file.size,
                reference::RESOLVED_FILE_BYTES
            ),
        ))));
    }
    let bytes: Option<Vec<u8>> = whole(caller, vault, file).await?;
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| {
            Unresolved::new(
                UnresolvedKind::UnsupportedFileFormat,
                format!("file '{name}' is not text; read the file's content"),
            )
        })
    };
    Ok(bytes.map(text))
}
