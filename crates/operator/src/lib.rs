//! external-secrets.io resources become Kubernetes Secrets: a drop-in for the External Secrets Operator's
//! `onepassword` provider.

mod access;
mod api_error;
mod callers;
mod clients;
mod controllers;
mod discovery;
mod error;
mod groups;
mod hash;
mod index;
mod informer;
mod informers;
mod kube_ext;
mod leader;
mod merge_patch;
mod metrics;
mod names;
mod object_key;
mod options;
mod provider;
mod queue;
mod queues;
mod recorder;
mod restart;
mod run;
mod secret;
mod server;
mod server_events;
mod start;
mod stores;
mod template_reader;
mod templates;
pub mod types;
mod values;
mod work;

pub use error::OperatorError;
pub use options::{Election, Options};
pub use run::run;
