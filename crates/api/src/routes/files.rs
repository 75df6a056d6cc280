//! `/v1/vaults/{vault}/items/{item}/files`: the list, one file, and its content.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sidevault_model::activity::Action;
use sidevault_model::{File, FileId, Item, Timestamp, VaultId};
use sidevault_store::{CHUNK_BYTES, StoredItem};
use tracing::{Instrument, Span};

use crate::api::Api;
use crate::caller::Caller;
use crate::error::ApiError;

use super::conditional::{Precondition, Validators};
use super::items::{item_id, read};
use super::path::Path;
use super::query::query;

/// How often an item is read for one answer, when a file is replaced just then. Each attempt sees the newest version, so the
/// second one nearly always succeeds.
pub(super) const ATTEMPTS: usize = 8;

/// A file, with its content if `inline_files=true` asks for it.
#[derive(Serialize)]
pub(super) struct Inlined {
    #[serde(flatten)]
    file: File,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

pub(super) async fn list(
    caller: Caller,
    Path((vault, item)): Path<(String, String)>,
    uri: Uri,
) -> Result<Json<Vec<Inlined>>, ApiError> {
    let inline = wants_inline(&uri)?;
    answer(caller, &vault, &item, &Details { file: None, inline })
        .await
        .map(Json)
}

pub(super) async fn one(
    caller: Caller,
    Path((vault, item, file)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Json<Inlined>, ApiError> {
    let (file, inline) = (Some(&*file), wants_inline(&uri)?);
    let shown = answer(caller, &vault, &item, &Details { file, inline }).await?;
    let file = shown.into_iter().next().map(Json);
    file.ok_or_else(|| ApiError::internal("the file was not shown"))
}

/// The content, whole or one range of it, sent chunk by chunk.
///
/// The whole response is of one version: the item, the sizes of its files and the ids of their contents are sealed together.
/// If the content is replaced before its first chunk was read, the item is read again. If it is replaced later, the connection
/// is closed, so that the client notices that the body is not whole.
pub(super) async fn content(
    caller: Caller,
    Path((vault, item, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let content = Content {
        file: &file,
        is_head: method == Method::HEAD,
        headers: &headers,
    };
    answer(caller, &vault, &item, &content).await
}

/// A response that has to be of one version of an item.
trait OneVersion {
    type Answer;

    /// Makes the response from this version. None if the content of a file was replaced since the item was read.
    fn of_version(
        &self,
        caller: &Caller,
        vault: VaultId,
        found: &StoredItem,
    ) -> impl Future<Output = Result<Option<Self::Answer>, ApiError>> + Send;
}

/// Reads the item and makes the response from it. Reads the item again if a content was replaced meanwhile, [`ATTEMPTS`]
/// times at most.
///
/// # Errors
/// 503 if a content was replaced during each attempt.
async fn answer<T: OneVersion>(mut caller: Caller, vault: &str, item: &str, wanted: &T) -> Result<T::Answer, ApiError> {
    let vault = caller.readable(vault).await?.vault.id;
    let id = item_id(&mut caller, vault, item).await?;
    for _ in 0..ATTEMPTS {
        let found = read(&mut caller, vault, id).await?;
        if let Some(answer) = wanted.of_version(&caller, vault, &found).await? {
            caller.record_success(Action::Read, vault, Some(id), Some(found.version));
            return Ok(answer);
        }
        caller.renew().await?;
    }
    Err(ApiError::unavailable(
        "the file is replaced more often than it can be read. Try again in a moment",
    ))
}

/// The details of one file of an item, or of all.
struct Details<'a> {
    /// The file's id or name. None for all files.
    file: Option<&'a str>,
    /// Whether to show the contents.
    inline: bool,
}

impl OneVersion for Details<'_> {
    type Answer = Vec<Inlined>;

    async fn of_version(
        &self,
        caller: &Caller,
        vault: VaultId,
        found: &StoredItem,
    ) -> Result<Option<Vec<Inlined>>, ApiError> {
        let item = found.item()?;
        let files = match self.file {
            Some(file) => vec![find(item, file)?],
            None => item.files,
        };
        let mut shown = Vec::with_capacity(files.len());
        for file in files {
            let content = if self.inline {
                let Some(bytes) = inlined(caller, vault, &file).await? else {
                    return Ok(None);
                };
                Some(STANDARD.encode(bytes))
            } else {
                None
            };
            shown.push(Inlined { file, content });
        }
        Ok(Some(shown))
    }
}

/// The content of a file.
struct Content<'a> {
    /// The file's id or name.
    file: &'a str,
    is_head: bool,
    headers: &'a HeaderMap,
}

impl OneVersion for Content<'_> {
    type Answer = Response;

    async fn of_version(
        &self,
        caller: &Caller,
        vault: VaultId,
        found: &StoredItem,
    ) -> Result<Option<Response>, ApiError> {
        let file = find(found.item()?, self.file)?;
        send(caller, vault, &file, found.updated_at, self.is_head, self.headers).await
    }
}

/// The answer to a GET or a HEAD. HEAD ignores Range, which is defined for GET alone (RFC 9110, 14.2). None if the content was
/// replaced since the item was read.
async fn send(
    caller: &Caller,
    vault: VaultId,
    file: &File,
    modified: Timestamp,
    is_head: bool,
    headers: &HeaderMap,
) -> Result<Option<Response>, ApiError> {
    let content = content_of(file)?;
    let validators = Validators::new(content.as_str(), modified);
    match validators.precondition(headers) {
        Precondition::Holds => {}
        Precondition::NotModified => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            set(&mut response, header::ETAG, validators.etag());
            set(&mut response, header::LAST_MODIFIED, &validators.last_modified());
            return Ok(Some(response));
        }
        Precondition::Failed => {
            let message = "the file is not the version that If-Match or If-Unmodified-Since asks for";
            return Err(ApiError::new(StatusCode::PRECONDITION_FAILED, message));
        }
    }
    let range = match headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
        Some(text) if !is_head && validators.may_send_range(headers) => Range::parse(text, file.size),
        _ => Range::Whole,
    };
    let (status, first, end) = match range {
        Range::Whole => (StatusCode::OK, 0, file.size),
        Range::Part { first, end } => (StatusCode::PARTIAL_CONTENT, first, end),
        Range::Outside => {
            let message = format!("the range lies outside the file's {} bytes", file.size);
            let mut response = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, message).into_response();
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", file.size));
            return Ok(Some(response));
        }
    };
    let body = if is_head || first == end {
        Body::empty()
    } else {
        let Some(head) = read_chunk(&caller.api, vault, content, first, end).await? else {
            return Ok(None);
        };
        let at = first + head.len() as u64;
        let rest = chunks(caller.api.clone(), vault, content, at, end);
        Body::from_stream(stream::once(std::future::ready(Ok(head))).chain(rest))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    set(&mut response, header::CONTENT_LENGTH, &(end - first).to_string());
    set(&mut response, header::CONTENT_DISPOSITION, &disposition(&file.name));
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(&mut response, header::ETAG, validators.etag());
    set(&mut response, header::LAST_MODIFIED, &validators.last_modified());
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if status == StatusCode::PARTIAL_CONTENT {
        set(
            &mut response,
            header::CONTENT_RANGE,
            &format!("bytes {first}-{}/{}", end - 1, file.size),
        );
    }
    Ok(Some(response))
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn content_of(file: &File) -> Result<FileId, ApiError> {
    file.content.ok_or_else(|| ApiError::not_found("file", file.id))
}

/// The file with this id, or with this name if only one file has it.
fn find(item: Item, segment: &str) -> Result<File, ApiError> {
    if let Ok(id) = FileId::parse(segment)
        && let Some(file) = item.files.iter().find(|file| file.id == id)
    {
        return Ok(file.clone());
    }
    let mut named = item.files.into_iter().filter(|file| file.name == segment);
    match (named.next(), named.next()) {
        (Some(file), None) => Ok(file),
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

/// The content of a file that is small enough to be shown inline. None if it was replaced since the item was read.
async fn inlined(caller: &Caller, vault: VaultId, file: &File) -> Result<Option<Vec<u8>>, ApiError> {
    if file.size > caller.api.config.inline_file_bytes {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "File is too large to inline in request. Use the \
             /v1/vaults/{vaultUUID}/items/{itemUUID}/files/{fileUUID}/content endpoint instead.",
        ));
    }
    whole(caller, vault, file).await
}

/// The whole content of a file, whose size the caller has checked. None if it was replaced since the item was read.
pub(super) async fn whole(caller: &Caller, vault: VaultId, file: &File) -> Result<Option<Vec<u8>>, ApiError> {
    let content = content_of(file)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
    while (bytes.len() as u64) < file.size {
        let Some(chunk) = read_chunk(&caller.api, vault, content, bytes.len() as u64, file.size).await? else {
            return Ok(None);
        };
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// A content from byte `first` up to, but not including, byte `end`.
fn chunks(
    api: Arc<Api>,
    vault: VaultId,
    content: FileId,
    first: u64,
    end: u64,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let span = Span::current();
    stream::unfold(first, move |at| {
        let api = api.clone();
        let next = async move {
            if at >= end {
                return None;
            }
            match read_chunk(&api, vault, content, at, end).await {
                Ok(Some(bytes)) => {
                    let next = at + bytes.len() as u64;
                    Some((Ok(bytes), next))
                }
                Ok(None) => {
                    tracing::info!(%vault, "a file was replaced while it was sent; its connection is closed");
                    Some((Err(io::Error::other("the file was replaced")), end))
                }
                Err(error) => {
                    tracing::error!(%vault, error = error.cause(), "a file could not be sent whole; its connection is closed");
                    Some((Err(io::Error::other("the file could not be read")), end))
                }
            }
        };
        next.instrument(span.clone())
    })
}

/// The bytes from `at` on, up to the end of its chunk or `end`; at least one. None if the content no longer exists.
async fn read_chunk(api: &Api, vault: VaultId, content: FileId, at: u64, end: u64) -> Result<Option<Bytes>, ApiError> {
    let size = CHUNK_BYTES as u64;
    let first = at / size * size;
    let n = i64::try_from(at / size).map_err(|_| ApiError::internal("the file is too large"))?;
    let Some(chunk) = api.store().await?.chunk(vault, content, n).await? else {
        return Ok(None);
    };
    let to = chunk.len().min(usize::try_from(end - first).unwrap_or(usize::MAX));
    let from = usize::try_from(at - first).unwrap_or(usize::MAX);
    if from >= to {
        return Err(ApiError::internal(format!(
            "a file in vault {vault} is shorter than its item says"
        )));
    }
    Ok(Some(Bytes::from(chunk).slice(from..to)))
}

/// The header Range (RFC 9110, 14.2).
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// The whole content. Also for several ranges, for other units and for invalid headers, as the RFC allows.
    Whole,
    /// From byte `first` up to, but not including, byte `end`.
    Part { first: u64, end: u64 },
    /// 416: no byte of the content.
    Outside,
}

impl Range {
    fn parse(text: &str, size: u64) -> Self {
        // RFC 9110, 14.1: units ignore case.
        let (unit, ranges) = text.split_once('=').unwrap_or_default();
        let Some((first, last)) = ranges.split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes")) else {
            return Self::Whole;
        };
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| digits)
        };
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

/// All ASCII characters but those of `attr-char` (RFC 5987, 3.2.1).
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header Content-Disposition (RFC 6266), with an ASCII name for old clients and the exact one for all others.
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
    let encoded = utf8_percent_encode(name, NOT_ATTR_CHAR);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed_as_rfc_9110_says() {
        for (text, range) in [
            ("bytes=0-3", Range::Part { first: 0, end: 4 }),
            ("bytes=4-", Range::Part { first: 4, end: 10 }),
            ("bytes=-3", Range::Part { first: 7, end: 10 }),
            ("bytes=-99", Range::Part { first: 0, end: 10 }),
            ("bytes=8-99", Range::Part { first: 8, end: 10 }),
            ("bytes=10-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("Bytes=0-3", Range::Part { first: 0, end: 4 }),
            ("bytes=3-2", Range::Whole),
            ("bytes=+1-3", Range::Whole),
            ("bytes=0-1,4-5", Range::Whole),
            ("items=0-1", Range::Whole),
        ] {
            assert_eq!(Range::parse(text, 10), range, "{text}");
        }
        assert_eq!(Range::parse("bytes=0-", 0), Range::Outside);
    }

    #[test]
    fn a_file_name_adds_no_header() {
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
