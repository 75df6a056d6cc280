//! Clients of the API server: one that waits for what may come, and one whose requests must be answered.

use std::time::Duration;

use kube::{Client, Config};

use crate::api_error::api_message;
use crate::run::OperatorError;

/// How long the API server may take for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Clients of the API server.
pub(crate) struct Clients {
    /// For watches: silence is no fault.
    pub(crate) watching: Client,
    /// For everything else.
    pub(crate) client: Client,
}

impl Clients {
    pub(crate) fn new(config: &Config) -> Result<Self, OperatorError> {
        Ok(Self {
            watching: made(config.clone())?,
            client: answered_within(config, ANSWER)?,
        })
    }
}

/// Where the API server is: as `KUBECONFIG` says, or as a Pod is told.
pub(crate) async fn config() -> Result<Config, OperatorError> {
    let config = Config::infer().await;
    config.map_err(|error| OperatorError::Kubernetes(error.to_string()))
}

/// A client whose requests fail when they are not answered in time.
pub(crate) fn answered_within(config: &Config, time: Duration) -> Result<Client, OperatorError> {
    let mut config = config.clone();
    config.connect_timeout = Some(time);
    config.read_timeout = Some(time);
    config.write_timeout = Some(time);
    // The time a connection was idle is not the server's.
    config.reset_reader_on_write = true;
    made(config)
}

fn made(config: Config) -> Result<Client, OperatorError> {
    Client::try_from(config).map_err(|error| OperatorError::Kubernetes(api_message(&error)))
}
