//! Why the operator does not start, or stops.

use kube::Config;

use crate::api_error::{api_message, network_message};

/// Why the operator does not start, or stops before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Neither a kubeconfig nor a Pod's service account says where the API server is.
    #[error("{0}. Set KUBECONFIG to the file of your cluster, or run the operator in a Pod with a service account")]
    Kubeconfig(String),
    /// The API server does not answer.
    #[error(
        "the Kubernetes API server at {url} can't be reached: {why}. Check the address in KUBECONFIG, and the network"
    )]
    Unreachable {
        /// The API server's URL.
        url: String,
        /// What the network said.
        why: String,
    },
    /// The API server answers a request that the operator needs at its start with an error.
    #[error("the Kubernetes API server at {url} does not let the operator start: {why}")]
    Refused {
        /// The API server's URL.
        url: String,
        /// What the API server said.
        why: String,
    },
    /// The API server does not have the resources of External Secrets.
    #[error(
        "the API server has no {0} of external-secrets.io: install the CustomResourceDefinitions first (deploy/crds)"
    )]
    MissingResource(&'static str),
    /// An address of the operator's own HTTP server can't be listened on.
    #[error("{flag} {address}: {cause}")]
    Listen {
        /// The flag that sets the address.
        flag: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The flags of the leader election contradict each other.
    #[error("{0}")]
    Election(String),
    /// Another replica holds the Lease. This replica has stopped and must be started again.
    #[error("another replica holds the Lease now")]
    LeaseLost,
}

impl OperatorError {
    /// A request at the start failed.
    pub(crate) fn from_api(config: &Config, error: &kube::Error) -> Self {
        let url = config.cluster_url.to_string();
        match network_message(error) {
            Some(why) => Self::Unreachable { url, why },
            None => Self::Refused {
                url,
                why: api_message(error),
            },
        }
    }
}
