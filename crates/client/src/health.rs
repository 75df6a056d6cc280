//! The server's heartbeat and health report.

use reqwest::Method;
use sidevault_model::ServerHealth;

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::{body, decode};

impl Client {
    /// Checks that the server answers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn heartbeat(&self) -> Result<(), ClientError> {
        let request = self.request(Method::GET, self.url(&["heartbeat"]))?;
        self.in_time(async { body(self.accepted(request).await?).await })
            .await?;
        Ok(())
    }

    /// Reads the server's health report: its name, its version and the status of its services. A report with a 5xx
    /// status, as an unhealthy server may send it, is not an error.
    ///
    /// The request carries the token, because a new Connect server starts its first sync with the first token that it
    /// gets.
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
            decode(&body, "health report").map_err(|error| {
                if status.is_success() {
                    error
                } else {
                    self.refused_with(status, &body)
                }
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
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
    async fn a_health_report_may_have_a_5xx_status() {
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
