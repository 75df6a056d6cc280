//! `/v1/vaults/{vault}/items` and `/v1/vaults/{vault}/items/{item}`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use sidevault_model::activity::Action;
use sidevault_model::error::SEVERAL_ITEMS;
use sidevault_model::filter::{Attributes, Filter, Subject};
use sidevault_model::{Category, IfMatch, Item, ItemId, ItemInput, State, Timestamp, VaultId, entity_tag, patch, totp};
use sidevault_store::{Command, CommandAnswer, StoredItem, Summary, VaultEntry};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span};

use crate::caller::Caller;
use crate::error::ApiError;
use crate::request_body::{RequestBody, large_body_permit};
use crate::responses::{InMemory, LargeBodyPermit, json};

use super::path::Path;
use super::query::query;

/// How many summaries are read from the store and sent at once.
const PAGE: u32 = 500;

/// The attributes of a summary that a filter compares.
#[derive(Deserialize)]
struct Attributed {
    id: ItemId,
    title: String,
    category: Category,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    favorite: bool,
    #[serde(default)]
    state: Option<State>,
}

impl Attributed {
    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            title: &self.title,
            id: self.id.as_str(),
            tags: &self.tags,
            category: Some(self.category),
            favorite: self.favorite,
            state: self.state,
        }
    }
}

/// Summaries of the active items that match the filter, oldest first.
pub(super) async fn list(caller: Caller, Path(vault): Path<String>, uri: Uri) -> Result<Response, ApiError> {
    show_list(caller, &vault, &uri).await
}

pub(super) async fn show_list(mut caller: Caller, vault: &str, uri: &Uri) -> Result<Response, ApiError> {
    let entry = caller.readable(vault).await?;
    let id = entry.vault.id;
    let text = query(uri, "filter").next().unwrap_or_default();
    let wanted = Filter::parse(&text, Subject::Items)?;
    caller.record_success(Action::Read, id, None, None);
    if let Some(title) = wanted.exact_title() {
        return Ok(json(array(
            titled(&mut caller, id, title).await?.iter().map(|hit| &hit.json[..]),
        )));
    }
    if entry.vault.items == 0 {
        caller.retry_after_initial_sync().await?;
    }
    // Boxed, because the frequent search by title should not hold room for a query.
    Box::pin(stream_list(caller, id, wanted)).await
}

/// The active items with this title, or whose file has this path. If there are none, the item with this id: the op CLI looks for an
/// id by a title filter.
pub(super) async fn titled(caller: &mut Caller, vault: VaultId, title: &str) -> Result<Vec<Summary>, ApiError> {
    let mut found = caller
        .store()
        .await?
        .items_named(&caller.snapshot, vault, title)
        .await?;
    if found.is_empty() && caller.retry_after_initial_sync().await? {
        found = caller
            .store()
            .await?
            .items_named(&caller.snapshot, vault, title)
            .await?;
    }
    if found.is_empty()
        && let Ok(id) = ItemId::parse(title)
        && let Some(item) = caller.store().await?.item(&caller.snapshot, vault, id).await?
    {
        let item = Item::from_json(item.json()).map_err(|_| ApiError::internal("an item in the store is not valid"))?;
        if item.state.is_none() {
            found.push(Summary {
                id,
                json: item.summary_json(),
            });
        }
    }
    Ok(found)
}

fn array<'a>(elements: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let length: usize = elements.clone().map(|element| element.len() + 1).sum();
    let mut body = Vec::with_capacity((length + 1).max(2));
    body.push(b'[');
    for (n, element) in elements.enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(element);
    }
    body.push(b']');
    body
}

/// Sends the list page by page, because the list of a whole vault may be too large for memory.
async fn stream_list(caller: Caller, vault: VaultId, wanted: Filter) -> Result<Response, ApiError> {
    let (first, after) = caller.store().await?.summaries(vault, None, PAGE).await?;
    let mut separator = "[";
    let mut encode = move |page: Vec<Summary>, last: bool| {
        let mut bytes = Vec::new();
        for summary in page.iter().filter(|summary| matches(&wanted, summary)) {
            bytes.extend_from_slice(std::mem::replace(&mut separator, ",").as_bytes());
            bytes.extend_from_slice(&summary.json);
        }
        if last {
            bytes.extend_from_slice(if separator == "[" { b"[]" } else { b"]" });
        }
        Bytes::from(bytes)
    };
    let head = encode(first, after.is_none());
    let Some(after) = after else { return Ok(json(head)) };
    let (api, span) = (caller.api.clone(), Span::current());
    let tail = stream::unfold(Some(after), move |after| {
        let api = api.clone();
        let next = async move {
            let after = after?;
            let page = match api.store().await {
                Ok(store) => store.summaries(vault, Some(after), PAGE).await.map_err(ApiError::from),
                Err(error) => Err(error),
            };
            match page {
                Ok((page, next)) => Some((Ok((page, next.is_none())), next)),
                Err(error) => {
                    tracing::error!(
                        %vault,
                        error = error.cause(),
                        "a list of items could not be sent whole; its connection is closed"
                    );
                    Some((Err(std::io::Error::other("the list could not be read")), None))
                }
            }
        };
        next.instrument(span.clone())
    })
    .map(move |page| page.map(|(page, last)| encode(page, last)));
    let in_memory = InMemory(head.len());
    let body = stream::once(std::future::ready(Ok::<_, std::io::Error>(head))).chain(tail);
    let mut response = json(Body::from_stream(body));
    response.extensions_mut().insert(in_memory);
    Ok(response)
}

fn matches(wanted: &Filter, summary: &Summary) -> bool {
    wanted.is_everything()
        || serde_json::from_slice::<Attributed>(&summary.json).is_ok_and(|item| wanted.matches(&item.attributes()))
}

/// One item; with `?version=N` that version of it.
pub(super) async fn one(
    caller: Caller,
    Path((vault, item)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    show(caller, &vault, &item, &uri, &headers).await
}

pub(super) async fn show(
    mut caller: Caller,
    vault: &str,
    item: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let entry = caller.readable(vault).await?;
    let vault = entry.vault.id;
    let id = item_id(&mut caller, vault, item).await?;
    let found = match query(uri, "version").next() {
        None => read(&mut caller, vault, id).await?,
        // Boxed, because most reads want the present version, and should not hold room for a query.
        Some(version) => Box::pin(version_of(&caller, vault, id, &version)).await?,
    };
    caller.record_success(Action::Read, vault, Some(id), Some(found.version));
    if found.has_codes {
        let now = Timestamp::now();
        return Ok(json(totp::insert_codes(found.json(), now)));
    }
    let tag = tag_of(&found);
    let mut response = if is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json(found.into_json())
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// The entity tag of a stored item.
pub(super) fn tag_of(item: &StoredItem) -> String {
    entity_tag(item.version, item.updated_at)
}

/// The versions that a write may change.
fn if_match(headers: &HeaderMap) -> IfMatch {
    IfMatch::of(headers.get_all(header::IF_MATCH).iter().map(HeaderValue::as_bytes))
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .map(|known| known.trim().trim_start_matches("W/"))
                .any(|known| known == tag || known == "*")
        })
}

/// The item. While sync reads its sources for the first time, waits for that before it says that the item is missing.
///
/// # Errors
/// 404 if there is no such item.
pub(super) async fn read(caller: &mut Caller, vault: VaultId, id: ItemId) -> Result<StoredItem, ApiError> {
    let found = caller.store().await?.item(&caller.snapshot, vault, id).await?;
    if let Some(found) = found {
        return Ok(found);
    }
    if caller.retry_after_initial_sync().await?
        && let Some(found) = caller.store().await?.item(&caller.snapshot, vault, id).await?
    {
        return Ok(found);
    }
    Err(ApiError::not_found("item", id))
}

pub(super) async fn version_of(
    caller: &Caller,
    vault: VaultId,
    id: ItemId,
    version: &str,
) -> Result<StoredItem, ApiError> {
    let number = version_number(version)?;
    let found = caller.store().await?.item_version(vault, id, number).await?;
    found.ok_or_else(|| ApiError::not_found(&format!("version {number} of item"), id))
}

/// A version, from a path or a query.
pub(super) fn version_number(text: &str) -> Result<u32, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request("version must be a number from the item's history"))
}

/// The id of the item with this id, title or path. A text in the form of an id is taken as an id, never as a title. A token without
/// the right to read can't use titles, because the answer would tell it which titles exist.
///
/// # Errors
/// 400 if no item has this title or path, or several have it.
pub(super) async fn item_id(caller: &mut Caller, vault: VaultId, segment: &str) -> Result<ItemId, ApiError> {
    if let Ok(id) = ItemId::parse(segment) {
        return Ok(id);
    }
    if !caller.access(vault).read {
        return Err(ApiError::bad_request("Invalid Item UUID"));
    }
    match &titled(caller, vault, segment).await?[..] {
        [only] => Ok(only.id),
        [] => Err(ApiError::bad_request("Invalid Item UUID")),
        many => Err(ApiError::bad_request(format!(
            "Invalid Item UUID: {} {SEVERAL_ITEMS}. Use the id of one of them",
            many.len()
        ))),
    }
}

pub(super) async fn create(
    mut caller: Caller,
    Path(vault): Path<String>,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let entry = caller.writable(&vault, Action::Create).await?;
    let (body, permit) = body.read(&caller.api).await?;
    let input = ItemInput::from_json(&body)?;
    let command = Command::CreateItem {
        vault: entry.vault.id,
        input,
        by: caller.editor(),
    };
    write(&caller, &entry, Action::Create, command, permit).await
}

pub(super) async fn replace(
    mut caller: Caller,
    Path((vault, item)): Path<(String, String)>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let entry = caller.writable(&vault, Action::Update).await?;
    let vault = entry.vault.id;
    let item = item_id(&mut caller, vault, &item).await?;
    let (body, permit) = body.read(&caller.api).await?;
    let input = ItemInput::from_json(&body)?;
    let command = Command::ReplaceItem {
        vault,
        item,
        input,
        if_match: if_match(&headers),
        by: caller.editor(),
    };
    write(&caller, &entry, Action::Update, command, permit).await
}

pub(super) async fn patch(
    mut caller: Caller,
    Path((vault, item)): Path<(String, String)>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let entry = caller.editable(&vault).await?;
    let vault = entry.vault.id;
    let item = item_id(&mut caller, vault, &item).await?;
    let (body, permit) = body.read(&caller.api).await?;
    let operations = patch::parse(&body)?;
    // The answer to a small patch of a large item is large.
    let permit = match permit {
        Some(permit) => Some(permit),
        None => permit_for_item(&caller, vault, item).await?,
    };
    let command = Command::PatchItem {
        vault,
        item,
        operations,
        if_match: if_match(&headers),
        by: caller.editor(),
    };
    write(&caller, &entry, Action::Update, command, permit).await
}

pub(super) async fn delete(
    mut caller: Caller,
    Path((vault, item)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let entry = caller.writable(&vault, Action::Delete).await?;
    let vault = entry.vault.id;
    let item = item_id(&mut caller, vault, &item).await?;
    let command = Command::DeleteItem {
        vault,
        item,
        if_match: if_match(&headers),
        by: caller.editor(),
    };
    caller.command(Action::Delete, vault, &command).await?;
    caller.record_success(Action::Delete, vault, Some(item), None);
    Ok(StatusCode::NO_CONTENT)
}

/// The permit for a large body, if the item is that large: the answer will hold the item.
async fn permit_for_item(
    caller: &Caller,
    vault: VaultId,
    item: ItemId,
) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    let found = caller.store().await?.item(&caller.snapshot, vault, item).await?;
    // Drops the item before the wait, so that waiting requests hold no items in memory.
    let bytes = found.map_or(0, |item| item.json().len() as u64);
    large_body_permit(&caller.api, Some(bytes)).await
}

/// Sends the write to sync, and answers with the item. The answer keeps the `permit` of a large body until it is sent.
pub(super) async fn write(
    caller: &Caller,
    entry: &Arc<VaultEntry>,
    action: Action,
    command: Command,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Response, ApiError> {
    let mut response = written(caller, entry, action, command).await?;
    if let Some(permit) = permit {
        response.extensions_mut().insert(LargeBodyPermit(Arc::new(permit)));
    }
    Ok(response)
}

async fn written(
    caller: &Caller,
    entry: &Arc<VaultEntry>,
    action: Action,
    command: Command,
) -> Result<Response, ApiError> {
    let sent = match &command {
        Command::CreateItem { input, .. } | Command::ReplaceItem { input, .. } => Some(input.clone()),
        _ => None,
    };
    let CommandAnswer::Item { json: answer } = caller.command(action, entry.vault.id, &command).await? else {
        return Err(ApiError::internal("sync answered a write without an item"));
    };
    let item = Item::from_json(answer.get().as_bytes());
    let item = item.map_err(|_| ApiError::internal("sync answered a write with an item that is not valid"))?;
    caller.record_success(action, entry.vault.id, Some(item.id), Some(item.version));
    if !caller.access(entry.vault.id).read {
        return Ok(json(without_unsent(item, sent).full_json()));
    }
    if item.has_otp() {
        return Ok(json(totp::insert_codes(answer.get().as_bytes(), Timestamp::now())));
    }
    Ok(json(answer.get().to_owned()))
}

/// The item for a token that may write but not read: only with values that the token sent itself. Values that were generated,
/// or were in the item before, are removed.
fn without_unsent(mut item: Item, sent: Option<ItemInput>) -> Item {
    let sent: Vec<String> = sent
        .map(|input| input.fields.into_iter().filter_map(|field| field.value).collect())
        .unwrap_or_default();
    for field in &mut item.fields {
        field.password_details = None;
        if !sent.contains(&field.value) {
            field.value.clear();
        }
    }
    item.files.clear();
    item
}
