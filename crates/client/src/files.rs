//! Files of items, and their contents as streams.

#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use sidevault_model::{File, FileId, ItemId, VaultId};

use crate::client::Client;
use crate::error::ClientError;
use crate::unreachable::origin;

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
    /// [`is_not_found`](ClientError::is_not_found) for a file the item does not have; see [`ClientError`].
    pub async fn file(&self, vault: VaultId, item: ItemId, file: FileId) -> Result<File, ClientError> {
        self.get(self.item_url(vault, item, &["files", file.as_str()]), "file")
            .await
    }

    /// A file's content from byte `offset` on; 0 for all of it. At the file's very end it is empty.
    ///
    /// A download that broke after `n` bytes goes on with `offset + n`. A server that knows no ranges sends everything,
    /// and what comes before `offset` is dropped here.
    ///
    /// # Errors
    /// [`is_not_found`](ClientError::is_not_found); a status of 416 or [`ClientError::Unexpected`] when the file ends
    /// before `offset`; see [`ClientError`].
    pub async fn file_content(
        &self,
        vault: VaultId,
        item: ItemId,
        file: FileId,
        offset: u64,
    ) -> Result<FileContent, ClientError> {
        let url = self.item_url(vault, item, &["files", file.as_str(), "content"]);
        let mut request = self.request(Method::GET, url)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            headers.insert(RANGE, range.map_err(|_| ClientError::Unexpected("the offset"))?);
        }
        let response = self.in_time(self.answered(request)).await?;
        let range = response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|range| range.to_str().ok());
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range.and_then(first_byte) == Some(offset) => {
                FileContent::new(response, 0, self.inner().timeout)
            }
            StatusCode::PARTIAL_CONTENT => Err(ClientError::Unexpected(
                "another part of the file than the one asked for",
            )),
            StatusCode::RANGE_NOT_SATISFIABLE if range.and_then(size_of_unsatisfied) == Some(offset) => {
                Ok(FileContent::empty())
            }
            status if status.is_success() => FileContent::new(response, offset, self.inner().timeout),
            _ => self.in_time(async { Err(self.refusal(response).await) }).await,
        }
    }
}

/// The content of a file as it comes in. Ends with an error if the connection breaks before the last byte.
pub struct FileContent {
    length: Option<u64>,
    chunks: BoxStream<'static, Result<Bytes, ClientError>>,
}

/// Ends a stream that was asked for more than there is.
const TOO_SHORT: ClientError = ClientError::Unexpected("the file ends before the offset");

impl FileContent {
    fn empty() -> Self {
        Self {
            length: Some(0),
            chunks: stream::empty().boxed(),
        }
    }

    fn new(response: Response, skip: u64, silence: Duration) -> Result<Self, ClientError> {
        let length = match response.content_length() {
            Some(sent) => Some(sent.checked_sub(skip).ok_or(TOO_SHORT)?),
            None => None,
        };
        let url = response.url().clone();
        let state = (response, skip);
        let chunks = stream::try_unfold(state, move |(mut response, mut skip)| {
            let url = url.clone();
            async move {
                loop {
                    let chunk = tokio::time::timeout(silence, response.chunk());
                    match chunk
                        .await
                        .map_err(|_| ClientError::TimedOut {
                            server: origin(&url),
                            after: silence,
                        })?
                        .map_err(|error| ClientError::transport(&url, &error))?
                    {
                        None if skip > 0 => return Err(TOO_SHORT),
                        None => return Ok(None),
                        Some(chunk) => {
                            let dropped = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
                            skip -= dropped as u64;
                            if dropped < chunk.len() {
                                return Ok(Some((chunk.slice(dropped..), (response, skip))));
                            }
                        }
                    }
                }
            }
        });
        Ok(Self {
            length,
            chunks: chunks.boxed(),
        })
    }

    /// Bytes from the offset to the end, if the server said.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The whole content, in memory.
    ///
    /// # Errors
    /// [`ClientError::Unexpected`] when it is longer than `limit` bytes; and those of the stream.
    pub async fn read_to_end(mut self, limit: usize) -> Result<Vec<u8>, ClientError> {
        let mut content = Vec::new();
        while let Some(chunk) = self.chunks.try_next().await? {
            if content.len() + chunk.len() > limit {
                return Err(ClientError::Unexpected("the file is larger than the limit"));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }
}

impl Stream for FileContent {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_next_unpin(cx)
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// The first byte's position in `bytes 10-19/20` (RFC 9110, 14.4).
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// The file's size in `bytes */20`.
fn size_of_unsatisfied(range: &str) -> Option<u64> {
    range.strip_prefix("bytes */")?.trim().parse().ok()
}
