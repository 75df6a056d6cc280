//! `/v1/vaults/{vault}/items/{item}/files`: lists, details, contents.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;
use sidevault_model::activity::{Action, Outcome};
use sidevault_model::{File, FileId, Item, ItemId, VaultId};
use sidevault_store::{CHUNK_BYTES, FileContent};

use crate::api::Api;
use crate::caller::Caller;
use crate::error::ApiError;

use super::items::{item_id, read};
use super::query;

/// A file as `inline_files=true` shows it.
#[derive(Serialize)]
pub(super) struct Inlined {
    #[serde(flatten)]
    file: File,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

pub(super) async fn list(
    mut caller: Caller,
    Path((vault, item)): Path<(String, String)>,
    uri: Uri,
) -> Result<Json<Vec<Inlined>>, ApiError> {
    let inline = wants_inline(&uri)?;
    let (vault, item) = open_item(&mut caller, &vault, &item).await?;
    let mut shown = Vec::with_capacity(item.files.len());
    for file in item.files {
        shown.push(show(&caller, vault, item.id, file, inline).await?);
    }
    Ok(Json(shown))
}

pub(super) async fn one(
    mut caller: Caller,
    Path((vault, item, file)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Json<Inlined>, ApiError> {
    let inline = wants_inline(&uri)?;
    let (vault, item) = open_item(&mut caller, &vault, &item).await?;
    let file = find(&item, &file)?;
    show(&caller, vault, item.id, file, inline).await.map(Json)
}

/// The bytes, whole or one range of them, streamed chunk by chunk.
pub(super) async fn content(
    mut caller: Caller,
    Path((vault, item, file)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (vault, item) = open_item(&mut caller, &vault, &item).await?;
    let file = find(&item, &file)?;
    let range = match headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
        Some(text) => Range::parse(text, file.size),
        None => Range::Whole,
    };
    let (status, first, end) = match range {
        Range::Whole => (StatusCode::OK, 0, file.size),
        Range::Part { first, end } => (StatusCode::PARTIAL_CONTENT, first, end),
        Range::Outside => {
            let message = format!("the range lies outside the file's {} bytes", file.size);
            let mut response = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, message).into_response();
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", file.size));
            return Ok(response);
        }
    };
    let place = place_of(&caller, vault, item.id, file.id).await?;
    let bytes = chunks(caller.api.clone(), place, first, end);
    let mut response = Response::new(Body::from_stream(bytes));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    set(&mut response, header::CONTENT_LENGTH, &(end - first).to_string());
    set(&mut response, header::CONTENT_DISPOSITION, &disposition(&file.name));
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if status == StatusCode::PARTIAL_CONTENT {
        set(
            &mut response,
            header::CONTENT_RANGE,
            &format!("bytes {first}-{}/{}", end - 1, file.size),
        );
    }
    Ok(response)
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

async fn open_item(caller: &mut Caller, vault: &str, item: &str) -> Result<(VaultId, Item), ApiError> {
    let entry = caller.readable(vault).await?;
    let vault = entry.vault.id;
    let id = item_id(caller, vault, item).await?;
    let found = read(caller, vault, id).await?;
    caller.record(Action::Read, Outcome::Success, vault, Some(id), Some(found.version));
    let item = Item::from_json(found.json()).map_err(|_| ApiError::internal())?;
    Ok((vault, item))
}

/// The file that a path names: by id, or by a name that only one file has.
fn find(item: &Item, segment: &str) -> Result<File, ApiError> {
    if let Ok(id) = FileId::parse(segment)
        && let Some(file) = item.files.iter().find(|file| file.id == id)
    {
        return Ok(file.clone());
    }
    let mut named = item.files.iter().filter(|file| file.name == segment);
    match (named.next(), named.next()) {
        (Some(file), None) => Ok(file.clone()),
        _ if FileId::parse(segment).is_ok() => Err(ApiError::not_found("file", segment)),
        _ => Err(ApiError::bad_request("Invalid File UUID")),
    }
}

fn wants_inline(uri: &Uri) -> Result<bool, ApiError> {
    match query(uri, "inline_files").next().as_deref() {
        None | Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(ApiError::bad_request("inline_files must be true or false")),
    }
}

async fn show(caller: &Caller, vault: VaultId, item: ItemId, file: File, inline: bool) -> Result<Inlined, ApiError> {
    if !inline {
        return Ok(Inlined { file, content: None });
    }
    if file.size > caller.api.config.inline_file_bytes {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "File is too large to inline in request. Use the \
             /v1/vaults/{vaultUUID}/items/{itemUUID}/files/{fileUUID}/content endpoint instead.",
        ));
    }
    let place = place_of(caller, vault, item, file.id).await?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
    let mut n = 0;
    while (bytes.len() as u64) < file.size {
        let chunk = caller
            .store()
            .await?
            .chunk(place, n)
            .await?
            .ok_or_else(|| ApiError::not_found("file", file.id))?;
        bytes.extend_from_slice(&chunk);
        n += 1;
    }
    Ok(Inlined {
        file,
        content: Some(STANDARD.encode(bytes)),
    })
}

async fn place_of(caller: &Caller, vault: VaultId, item: ItemId, file: FileId) -> Result<FileContent, ApiError> {
    let place = caller.store().await?.file(vault, item, file).await?;
    place.ok_or_else(|| ApiError::not_found("file", file))
}

/// Bytes `first` up to, not including, `end` of a content.
fn chunks(
    api: Arc<Api>,
    place: FileContent,
    first: u64,
    end: u64,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(first, move |at| {
        let api = api.clone();
        async move {
            if at >= end {
                return None;
            }
            match read_chunk(&api, place, at, end).await {
                Ok(bytes) => {
                    let next = at + bytes.len() as u64;
                    Some((Ok(bytes), next))
                }
                Err(error) => {
                    tracing::error!(%error, "a file could not be sent whole; its connection is closed");
                    Some((Err(error), end))
                }
            }
        }
    })
}

async fn read_chunk(api: &Api, place: FileContent, at: u64, end: u64) -> io::Result<Bytes> {
    let size = CHUNK_BYTES as u64;
    let store = api
        .open_store()
        .ok_or_else(|| io::Error::other("the store is closed"))?;
    let n = i64::try_from(at / size).map_err(io::Error::other)?;
    let chunk = store.chunk(place, n).await.map_err(io::Error::other)?;
    let chunk = Bytes::from(chunk.ok_or_else(|| io::Error::other("the file was replaced meanwhile"))?);
    let from = usize::try_from(at % size).map_err(io::Error::other)?;
    let to = usize::try_from((end - at / size * size).min(chunk.len() as u64)).map_err(io::Error::other)?;
    if from >= to {
        return Err(io::Error::other("the file is shorter than its item says"));
    }
    Ok(chunk.slice(from..to))
}

/// What a Range header asks for (RFC 9110, 14.2).
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// All of it: also for several ranges, other units and nonsense, as the RFC allows.
    Whole,
    /// From `first` up to, not including, `end`.
    Part {
        first: u64,
        end: u64,
    },
    Outside,
}

impl Range {
    fn parse(text: &str, size: u64) -> Self {
        let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Self::Whole;
        };
        let number = |text: &str| text.trim().parse::<u64>().ok();
        match (first.trim(), last.trim()) {
            ("", suffix) => match number(suffix) {
                Some(0) => Self::Outside,
                Some(_) if size == 0 => Self::Outside,
                Some(length) => Self::Part {
                    first: size.saturating_sub(length),
                    end: size,
                },
                None => Self::Whole,
            },
            (first, last) => match (number(first), number(last)) {
                (Some(first), _) if first >= size => Self::Outside,
                (Some(first), None) if last.is_empty() => Self::Part { first, end: size },
                (Some(first), Some(last)) if last >= first => Self::Part {
                    first,
                    end: last.saturating_add(1).min(size),
                },
                _ => Self::Whole,
            },
        }
    }
}

/// RFC 6266: an ASCII name for old clients, the true one for all others.
fn disposition(name: &str) -> String {
    let ascii: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !"\"\\%/".contains(c) || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if ascii == name {
        return format!("attachment; filename=\"{ascii}\"");
    }
    let mut encoded = String::with_capacity(name.len() * 3);
    for byte in name.bytes() {
        // RFC 5987, attr-char.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (text, range) in [
            ("bytes=0-3", Range::Part { first: 0, end: 4 }),
            ("bytes=4-", Range::Part { first: 4, end: 10 }),
            ("bytes=-3", Range::Part { first: 7, end: 10 }),
            ("bytes=-99", Range::Part { first: 0, end: 10 }),
            ("bytes=8-99", Range::Part { first: 8, end: 10 }),
            ("bytes=10-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=3-2", Range::Whole),
            ("bytes=0-1,4-5", Range::Whole),
            ("items=0-1", Range::Whole),
        ] {
            assert_eq!(Range::parse(text, 10), range, "{text}");
        }
        assert_eq!(Range::parse("bytes=0-", 0), Range::Outside);
    }

    #[test]
    fn no_file_name_breaks_out_of_its_header() {
        assert_eq!(disposition("tls.crt"), "attachment; filename=\"tls.crt\"");
        let hostile = disposition("a\"\r\nSet-Cookie: x/ü");
        assert!(!hostile.contains('\r') && !hostile.contains('\n'), "{hostile}");
        assert_eq!(hostile.matches('"').count(), 2, "{hostile}");
        assert!(
            hostile.ends_with("filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%2F%C3%BC"),
            "{hostile}"
        );
    }
}
