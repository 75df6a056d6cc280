//! Reads the server's activity log: who made which request.

use reqwest::Method;
use reqwest::header::CONTENT_RANGE;
use serde_json::Value;
use sidevault_model::ApiRequest;

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::{body, decode};

/// A page of the activity log, newest request first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityPage {
    /// The requests of this page that could be parsed.
    pub requests: Vec<ApiRequest>,
    /// How many requests of this page could not be parsed, because a newer server uses unknown words in them.
    pub unread: usize,
    /// How many requests the log has in all, if the server said so.
    pub total: Option<u64>,
}

impl Client {
    /// Reads a page of the activity log: at most `limit` requests after the newest `offset`. The server may return
    /// fewer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn activity(&self, limit: u32, offset: u64) -> Result<ActivityPage, ClientError> {
        let mut url = self.url(&["v1", "activity"]);
        url.query_pairs_mut()
            .append_pair("limit", &limit.to_string())
            .append_pair("offset", &offset.to_string());
        let request = self.request(Method::GET, url)?;
        let (total, body) = self
            .in_time(async {
                let response = self.accepted(request).await?;
                let range = response.headers().get(CONTENT_RANGE);
                let total = range.and_then(|range| total(range.to_str().ok()?));
                Ok((total, body(response).await?))
            })
            .await?;
        let records: Option<Vec<Value>> = decode(&body, "list of requests")?;
        let records = records.unwrap_or_default();
        let count = records.len();
        let requests: Vec<ApiRequest> = records.into_iter().filter_map(read).collect();
        Ok(ActivityPage {
            unread: count - requests.len(),
            requests,
            total,
        })
    }
}

/// Parses one request. A server may leave out members of the actor that it does not know.
fn read(mut record: Value) -> Option<ApiRequest> {
    let actor = record.get_mut("actor")?.as_object_mut()?;
    for member in ["id", "account", "jti", "userAgent", "requestIp"] {
        let value = actor.entry(member).or_insert(Value::Null);
        if value.is_null() {
            *value = Value::String(String::new());
        }
    }
    serde_json::from_value(record).ok()
}

/// The total in `1-50/1134`.
fn total(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    fn record(action: &str) -> String {
        format!(
            r#"{{"requestId":"r","timestamp":"2022-01-17T23:41:32Z","action":"{action}","result":"SUCCESS",
            "actor":{{"id":"a","account":null,"jti":"j"}},"resource":{{"type":"ITEM","vault":{{"id":"{VAULT}"}}}}}}"#
        )
    }

    #[tokio::test]
    async fn a_page_has_the_total_and_skips_records_that_cannot_be_parsed() {
        let body = format!("[{},{}]", record("READ"), record("PONDER"));
        let length = body.len();
        let head = format!("HTTP/1.1 200 X\r\nContent-Range: 51-52/1134\r\nContent-Length: {length}\r\n\r\n{body}");
        let server = Server::always(raw(head)).await;
        let page = server.client().activity(10, 50).await.unwrap();
        assert_eq!((page.requests.len(), page.unread, page.total), (1, 1, Some(1134)));
        assert_eq!(page.requests[0].actor.jti, "j");
        assert_eq!(server.lines(), ["GET /v1/activity?limit=10&offset=50"]);
    }

    #[tokio::test]
    async fn a_page_without_content_range_has_no_total() {
        let page = Server::always(json("[]")).await.client().activity(1, 0).await.unwrap();
        assert_eq!((page.requests.len(), page.total), (0, None));
        assert_eq!(total("items"), None);
        assert_eq!(total("*/0"), Some(0));
    }
}
