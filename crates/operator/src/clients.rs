//! The clients of the API server: one for watches, and one for all other requests.

use std::time::Duration;

use kube::{Client, Config};

use crate::error::OperatorError;

/// How long the API server may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The clients of the API server.
pub(crate) struct Clients {
    /// For watches. It has no read timeout, because a watch is silent as long as nothing changes.
    pub(crate) watch_client: Client,
    /// For all other requests.
    pub(crate) client: Client,
}

impl Clients {
    /// # Errors
    /// When the configuration has a certificate or key that can't be used.
    pub(crate) fn new(config: &Config) -> Result<Self, OperatorError> {
        Ok(Self {
            watch_client: client(config, config.clone())?,
            client: client_with_timeout(config, ANSWER_TIMEOUT)?,
        })
    }
}

/// The address of the API server and the credentials: from the file that `KUBECONFIG` names, from `~/.kube/config`, or from
/// the service account of the Pod.
///
/// # Errors
/// When none of these can be read.
pub(crate) async fn config() -> Result<Config, OperatorError> {
    let config = Config::infer().await;
    config.map_err(|error| OperatorError::Kubeconfig(error.to_string()))
}

/// A client whose requests fail when they are not answered within `timeout`.
///
/// # Errors
/// When the configuration has a certificate or key that can't be used.
pub(crate) fn client_with_timeout(config: &Config, timeout: Duration) -> Result<Client, OperatorError> {
    let mut limited = config.clone();
    limited.connect_timeout = Some(timeout);
    limited.read_timeout = Some(timeout);
    limited.write_timeout = Some(timeout);
    // Otherwise the read timeout includes the time for which the connection was idle before the request.
    limited.reset_reader_on_write = true;
    client(config, limited)
}

fn client(config: &Config, limited: Config) -> Result<Client, OperatorError> {
    Client::try_from(limited).map_err(|error| OperatorError::from_api(config, &error))
}
