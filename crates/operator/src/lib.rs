//! external-secrets.io resources become Kubernetes Secrets: a drop-in for the External Secrets Operator's
//! `onepassword` provider.

mod access;
mod api_error;
mod clients;
mod controllers;
mod discovery;
mod force_sync;
mod hash;
mod informer;
mod leader;
mod merge_patch;
mod metrics;
mod names;
mod object_key;
mod operator;
mod options;
mod provider;
mod queue;
mod recorder;
mod restart;
mod run;
mod secret;
mod server;
mod start;
mod templates;
pub mod types;
mod values;
mod wake;
mod work;

pub use discovery::DiscoveryError;
pub use options::{Election, Options};
pub use run::{OperatorError, run};
