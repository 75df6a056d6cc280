//! Whether the server lives, and how it is.

use reqwest::Method;
use sidevault_model::ServerHealth;

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::{body, decode};

impl Client {
    /// Whether the server answers at all.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn heartbeat(&self) -> Result<(), ClientError> {
        let request = self.request(Method::GET, self.url(&["heartbeat"]))?;
        self.in_time(async { body(self.accepted(request).await?).await })
            .await?;
        Ok(())
    }

    /// The server's name, version and what it hangs on. An unhealthy server may tell so with a 5xx: that is no error.
    ///
    /// The token is sent along, since a fresh Connect server starts to sync with the first one it sees.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn health(&self) -> Result<ServerHealth, ClientError> {
        let request = self.request(Method::GET, self.url(&["health"]))?;
        self.in_time(async {
            let response = self.answered(request).await?;
            let status = response.status();
            if !status.is_success() && !status.is_server_error() {
                return Err(self.refusal(response).await);
            }
            let body = body(response).await?;
            decode(&body, "health report").map_err(|error| match status.is_success() {
                true => error,
                false => self.refused_with(status, &body),
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sidevault_model::DependencyStatus;

    use crate::testing::*;

    const HEALTH: &str = r#"{"name":"1Password Connect API","version":"1.8.0","dependencies":[
        {"service":"sync","status":"TOKEN_NEEDED","extra":1}]}"#;

    #[tokio::test]
    async fn heartbeat_and_health_are_outside_v1() {
        let server = Server::start(|seen, _| match seen.line.as_str() {
            "GET /heartbeat" => answer(200, "text/plain", "."),
            _ => json(HEALTH),
        })
        .await;
        server.client().heartbeat().await.unwrap();
        assert_eq!(
            server.client().health().await.unwrap().dependencies[0].status,
            DependencyStatus::TokenNeeded
        );
        assert_eq!(server.lines(), ["GET /heartbeat", "GET /health"]);
    }

    #[tokio::test]
    async fn an_unhealthy_server_can_still_tell_how_it_is() {
        let client = Server::always(answer(503, "application/json", HEALTH)).await.client();
        assert_eq!(client.health().await.unwrap().version, "1.8.0");
        for (reply, status) in [
            (refuse(500, "failed to initiate"), 500),
            (answer(502, "text/html", "<html>"), 502),
            (refuse(401, "Invalid bearer token"), 401),
        ] {
            let client = Server::always(reply).await.client();
            assert_eq!(client.health().await.unwrap_err().status(), Some(status));
        }
    }
}
