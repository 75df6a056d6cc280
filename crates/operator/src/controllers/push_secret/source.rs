//! Reads the Secrets whose values are pushed.

use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::Selector;

use crate::api_error::api_message;
use crate::secret;
use crate::template_reader::TemplateReader;
use crate::types::PushSecret;
use crate::values::Values;

/// Why the values of the source could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// No Secret has the name.
    #[error("could not get source secret")]
    Missing,
    /// The request to the API server failed.
    #[error("could not get source secret: {why}", why = api_message(.0))]
    Unreadable(kube::Error),
    /// The manifest selects no Secret, or in a way that is not supported.
    #[error("could not get source secret: {0}")]
    Refused(String),
    /// The template could not be rendered.
    #[error("{0}")]
    Template(String),
}

/// Reads the source Secrets of PushSecrets.
pub(crate) struct SourceReader {
    pub(crate) client: Client,
    pub(crate) templates: Arc<TemplateReader>,
}

impl SourceReader {
    /// The values of the Secret, or of each of the selected Secrets, after the template.
    pub(super) async fn read(&self, push_secret: &PushSecret) -> Result<Vec<Values>, SourceError> {
        let namespace = push_secret.metadata.namespace.as_deref().unwrap_or_default();
        let secrets = self.find(push_secret, namespace).await?;
        let Some(template) = &push_secret.spec.template else {
            return Ok(secrets.iter().map(values).collect());
        };
        let texts = self.templates.read(namespace, Some(template)).await;
        let texts = texts.map_err(|error| {
            SourceError::Template(format!("error fetching templateFrom data: {}", api_message(&error)))
        })?;
        let now = SystemTime::now();
        let render = |mut secret: Secret| {
            let before = values(&secret);
            match secret::fill(template, &texts, &before, now, &mut secret) {
                Ok(()) => Ok(values(&secret)),
                Err(error) => Err(SourceError::Template(error.to_string())),
            }
        };
        // Templates may compute for seconds, and other tasks must not wait for them.
        tokio::task::block_in_place(|| secrets.into_iter().map(render).collect())
    }

    async fn find(&self, push_secret: &PushSecret, namespace: &str) -> Result<Vec<Secret>, SourceError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let selector = &push_secret.spec.selector;
        let source = selector.secret.as_ref();
        if let Some(source) = source.filter(|source| !source.name.is_empty()) {
            let secret = api.get_opt(&source.name).await.map_err(SourceError::Unreadable)?;
            return Ok(vec![secret.ok_or(SourceError::Missing)?]);
        }
        if selector.generator_ref.is_some() {
            return Err(SourceError::Refused("generators are not supported".to_owned()));
        }
        let Some(labels) = source.and_then(|source| source.selector.clone()) else {
            return Err(SourceError::Refused("no secret selector provided".to_owned()));
        };
        let labels: Selector = labels
            .try_into()
            .map_err(|error| SourceError::Refused(format!("failed to convert label selector: {error}")))?;
        let list = api.list(&ListParams::default().labels_from(&labels)).await;
        Ok(list.map_err(SourceError::Unreadable)?.items)
    }
}

fn values(secret: &Secret) -> Values {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
