//! What `read`, `run` and `inject` share, with each other and with the `op` command.

pub(crate) mod child;
pub(crate) mod dotenv;
pub(crate) mod mask;
pub(crate) mod output_file;
pub(crate) mod template;
pub(crate) mod terminal;
pub(crate) mod variables;

use std::collections::{HashMap, HashSet};

use sidevault_client::{Client, ClientError, ReferenceError, Secret};
use sidevault_model::Reference;
use sidevault_model::reference::UnresolvedKind;

use crate::environment::Environment;
use crate::exit::Failure;
use crate::server::{Connection, Server};
use template::Part;

/// The values of references. Every reference is asked for once.
#[derive(Default)]
pub(crate) struct Secrets(HashMap<Reference, Secret>);

/// Why references have no values.
pub(crate) enum Unavailable {
    /// The server as a whole.
    Server(ClientError),
    /// The first reference without a value.
    Reference(Box<Reference>, Box<ReferenceError>),
}

impl Secrets {
    /// Asks for all references of these parts.
    ///
    /// # Errors
    /// If one of them has no value.
    pub(crate) async fn of(client: &Client, parts: impl Iterator<Item = &Part>) -> Result<Self, Unavailable> {
        let mut wanted = Vec::new();
        let mut known = HashSet::new();
        for part in parts {
            if let Part::Reference(reference) = part
                && known.insert(reference)
            {
                wanted.push(reference.clone());
            }
        }
        let mut secrets = HashMap::with_capacity(wanted.len());
        if !wanted.is_empty() {
            let results = client.resolve_references(&wanted).await.map_err(Unavailable::Server)?;
            for (reference, result) in wanted.into_iter().zip(results) {
                match result {
                    Ok(secret) => secrets.insert(reference, secret),
                    Err(error) => return Err(Unavailable::Reference(reference.into(), error.into())),
                };
            }
        }
        Ok(Self(secrets))
    }

    /// The same, at the server that the arguments or the environment name. Without references no server is needed.
    ///
    /// # Errors
    /// If there is no server, or one of the references has no value.
    pub(crate) async fn resolve(
        connection: &Connection,
        environment: &Environment,
        parts: impl Iterator<Item = &Part> + Clone,
    ) -> Result<Self, Failure> {
        if !has_references(parts.clone()) {
            return Ok(Self::default());
        }
        let server = Server::connect(connection, environment)?;
        Self::of(&server.client, parts).await.map_err(|error| match error {
            Unavailable::Server(error) => server.failure(error),
            Unavailable::Reference(reference, error) => failure(&reference.to_string(), &error),
        })
    }

    /// The bytes that a part stands for.
    pub(crate) fn bytes<'a>(&'a self, part: &'a Part) -> &'a [u8] {
        match part {
            Part::Text(text) => text.as_bytes(),
            Part::Reference(reference) => self.0.get(reference).map_or(b"", Secret::as_bytes),
        }
    }

    /// The bytes that these parts stand for together.
    pub(crate) fn join(&self, parts: &[Part]) -> Vec<u8> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| self.bytes(part)).collect();
        parts.concat()
    }

    /// Whether no value was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().map(Secret::as_bytes)
    }
}

/// Whether one of the parts is a reference.
pub(crate) fn has_references<'a>(mut parts: impl Iterator<Item = &'a Part>) -> bool {
    parts.any(|part| matches!(part, Part::Reference(_)))
}

/// The failure of one reference, for people. It names the reference.
pub(crate) fn failure(reference: &str, error: &ReferenceError) -> Failure {
    let message = format!("{}: {error}", sidevault_model::printable(reference));
    match error.error.kind {
        UnresolvedKind::Parsing => Failure::Usage(message),
        UnresolvedKind::VaultNotFound
        | UnresolvedKind::ItemNotFound
        | UnresolvedKind::FieldNotFound
        | UnresolvedKind::NoMatchingSections
        | UnresolvedKind::AttributeNotFound => Failure::NotFound(message),
        UnresolvedKind::TooManyVaults | UnresolvedKind::TooManyItems | UnresolvedKind::TooManyMatchingFields => {
            Failure::Conflict(message)
        }
        _ => Failure::Failed(message),
    }
}
