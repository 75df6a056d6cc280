//! 1Password Connect's REST API over HTTP.
//!
//! The way of a request: `server` accepts its connection within the limits of `connections`; `middleware` gives it an id, a
//! time limit and a log line; the router in `routes` picks the handler; `caller` checks the token and what it may do; the
//! handler reads from the store, or sends a command to sync over `link`.

mod activity;
mod api;
mod caller;
mod connections;
mod drain_on_drop;
mod error;
mod event_streams;
mod feed;
mod history;
mod limits;
mod link;
mod metrics;
mod middleware;
mod outline;
mod page;
mod request_body;
mod request_context;
mod responses;
mod revoked;
mod route;
mod routes;
mod sending;
mod server;
mod status;
mod tls;
mod tokens;

pub use api::{Api, Config};
pub use error::ApiError;
pub use link::SyncLink;
pub use revoked::{Revoked, RevokedError, RevokedFile};
pub use rustls::pki_types::DnsName;
pub use server::{Listener, serve};
pub use status::{StatusSource, status_server};
pub use tls::{Acme, Tls, TlsError, TlsFiles};
