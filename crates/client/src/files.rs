//! The files of items, and their contents as streams.

#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use sidevault_model::{File, FileId, Item, ItemId, VaultId};
use zeroize::Zeroizing;

use crate::client::Client;
use crate::error::ClientError;

/// The most bytes of memory that are reserved because a server says that a file is that large.
const RESERVED: usize = 16 << 20;

impl Client {
    /// The files of an item, without their contents.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn files(&self, vault: VaultId, item: ItemId) -> Result<Vec<File>, ClientError> {
        self.get_list(self.item_url(vault, item, &["files"]), "list of files")
            .await
    }

    /// A file's details, without its content.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found) if the item has no such file; see [`ClientError`].
    pub async fn file(&self, vault: VaultId, item: ItemId, file: FileId) -> Result<File, ClientError> {
        self.get(self.item_url(vault, item, &["files", file.as_str()]), "file")
            .await
    }

    /// Reads the whole content of a file of an item into memory.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found) if the item has no such file; see [`ClientError`].
    pub async fn whole_file(&self, item: &Item, file: &File) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let mut content = self.file_content(item.vault, item.id, file.id, None).await?;
        let size = usize::try_from(file.size).unwrap_or(usize::MAX);
        let mut bytes = Zeroizing::new(Vec::with_capacity(size.min(RESERVED)));
        while let Some(chunk) = content.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    /// Starts to read the content of a file, or continues a download that broke.
    ///
    /// A download that broke continues at its [`resume_point`](FileContent::resume_point). The request then has `Range`
    /// and `If-Range` (RFC 9110, 13.1.5), so that the parts of two versions of the file are never joined. If the server
    /// ignores ranges and sends the same version from the start, the client skips the bytes that were received before.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found) if the item has no such file; [`ClientError::FileChanged`] if the
    /// server has another version of the file than the one whose download broke; see [`ClientError`].
    pub async fn file_content(
        &self,
        vault: VaultId,
        item: ItemId,
        file: FileId,
        resume: Option<&ResumePoint>,
    ) -> Result<FileContent, ClientError> {
        let url = self.item_url(vault, item, &["files", file.as_str(), "content"]);
        let mut request = self.request(Method::GET, url)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(ResumePoint { offset, etag }) = resume {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            headers.insert(RANGE, range.map_err(|_| ClientError::Unexpected("the offset"))?);
            headers.insert(IF_RANGE, etag.clone());
        }
        let response = self.in_time(self.answered(request)).await?;
        let status = response.status();
        if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
            return self.in_time(async { Err(self.refusal(response).await) }).await;
        }
        let Some(ResumePoint { offset, etag }) = resume else {
            return match status {
                StatusCode::PARTIAL_CONTENT => Err(ClientError::Unexpected(
                    "a part of the file, although the request was for the whole",
                )),
                StatusCode::RANGE_NOT_SATISFIABLE => Err(self.refusal(response).await),
                _ => FileContent::new(self, response, 0, 0),
            };
        };
        let range = response.headers().get(CONTENT_RANGE);
        let range = range.and_then(|range| range.to_str().ok());
        match status {
            // The download broke after the last byte.
            StatusCode::RANGE_NOT_SATISFIABLE if range.and_then(size_of_unsatisfied) == Some(*offset) => {
                Ok(FileContent::empty(resume.cloned()))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(ClientError::FileChanged),
            _ if response.headers().get(ETAG) != Some(etag) => Err(ClientError::FileChanged),
            StatusCode::PARTIAL_CONTENT if range.and_then(first_byte) == Some(*offset) => {
                FileContent::new(self, response, *offset, 0)
            }
            StatusCode::PARTIAL_CONTENT => Err(ClientError::Unexpected(
                "another part of the file than the one asked for",
            )),
            _ => FileContent::new(self, response, 0, *offset),
        }
    }
}

/// Where a download that broke can continue: after how many bytes, and of which version of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    offset: u64,
    etag: HeaderValue,
}

/// The content of a file as a stream. The stream ends with an error if the connection breaks before the last byte.
pub struct FileContent {
    length: Option<u64>,
    /// Of the file's first byte that has not been received yet. `None` if the server sent no strong ETag.
    resume_point: Option<ResumePoint>,
    chunks: BoxStream<'static, Result<Bytes, ClientError>>,
}

/// The error of a stream that has fewer bytes than the client must skip.
const TOO_SHORT: ClientError = ClientError::Unexpected("the file ends before the offset");

impl FileContent {
    fn empty(resume_point: Option<ResumePoint>) -> Self {
        Self {
            length: Some(0),
            resume_point,
            chunks: stream::empty().boxed(),
        }
    }

    /// The content of an answer that begins at the byte `first` of the file, without its first `skip` bytes.
    fn new(client: &Client, response: Response, first: u64, skip: u64) -> Result<Self, ClientError> {
        let length = match response.content_length() {
            Some(sent) => Some(sent.checked_sub(skip).ok_or(TOO_SHORT)?),
            None => None,
        };
        let resume_point = strong_etag(response.headers()).map(|etag| ResumePoint {
            offset: first + skip,
            etag,
        });
        let (client, url) = (client.clone(), response.url().clone());
        let chunks = stream::try_unfold((response, skip), move |(mut response, mut skip)| {
            let (client, url) = (client.clone(), url.clone());
            async move {
                loop {
                    let chunk = client.in_time(async {
                        let chunk = response.chunk().await;
                        chunk.map_err(|error| ClientError::transport(&url, &error))
                    });
                    match chunk.await? {
                        None if skip > 0 => return Err(TOO_SHORT),
                        None => return Ok(None),
                        Some(chunk) => {
                            let skipped = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
                            skip -= skipped as u64;
                            if skipped < chunk.len() {
                                return Ok(Some((chunk.slice(skipped..), (response, skip))));
                            }
                        }
                    }
                }
            }
        });
        Ok(Self {
            length,
            resume_point,
            chunks: chunks.boxed(),
        })
    }

    /// How many bytes the stream has in all, if the server said so.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Where [`Client::file_content`] can continue if the stream ends with an error now. `None` if the server sent no
    /// strong `ETag`: such a download must start again.
    pub fn resume_point(&self) -> Option<ResumePoint> {
        self.resume_point.clone()
    }

    /// Reads the whole content into memory.
    ///
    /// # Errors
    /// [`ClientError::Unexpected`] if the content is longer than `limit` bytes, and the errors of the stream.
    pub async fn read_to_end(mut self, limit: usize) -> Result<Vec<u8>, ClientError> {
        let mut content = Vec::new();
        while let Some(chunk) = self.chunks.try_next().await? {
            if content.len() + chunk.len() > limit {
                return Err(ClientError::Unexpected("the file is larger than the client's limit"));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }
}

impl Stream for FileContent {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.chunks.poll_next_unpin(cx);
        if let (Poll::Ready(Some(Ok(chunk))), Some(point)) = (&polled, &mut self.resume_point) {
            point.offset += chunk.len() as u64;
        }
        polled
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// The position of the first byte in `bytes 10-19/20` (RFC 9110, 14.4).
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// The size of the file in `bytes */20`.
fn size_of_unsatisfied(range: &str) -> Option<u64> {
    range.strip_prefix("bytes */")?.trim().parse().ok()
}

/// `If-Range` needs a strong validator, because the bytes of two representations with the same weak one may differ.
fn strong_etag(headers: &HeaderMap) -> Option<HeaderValue> {
    let etag = headers.get(ETAG)?;
    etag.as_bytes().starts_with(b"\"").then(|| etag.clone())
}
