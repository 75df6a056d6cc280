//! The Secrets whose values are pushed.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use kube::core::Selector;

use super::super::external_secret::sources;
use crate::api_error::api_message;
use crate::operator::Operator;
use crate::secret;
use crate::types::PushSecret;
use crate::values::Values;

/// Why there are no values.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// There is no Secret of that name.
    #[error("could not get source secret")]
    Missing,
    /// It can't be had.
    #[error("could not get source secret: {why}", why = api_message(.0))]
    Unreadable(kube::Error),
    /// The manifest does not say which.
    #[error("could not get source secret: {0}")]
    Refused(String),
    /// The template fails.
    #[error("{0}")]
    Template(String),
}

/// The values of the Secret, or of each of them, after the template.
pub(super) async fn secrets(operator: &Operator, push_secret: &PushSecret) -> Result<Vec<Values>, SourceError> {
    let namespace = push_secret.metadata.namespace.as_deref().unwrap_or_default();
    let template = push_secret.spec.template.as_ref();
    let found = find(operator, push_secret, namespace).await?;
    let values = |secret: &Secret| -> Values {
        secret
            .data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.0.clone()))
            .collect()
    };
    let Some(template) = template else {
        return Ok(found.iter().map(values).collect());
    };
    let texts = sources(operator, namespace, Some(template)).await;
    let texts = texts
        .map_err(|error| SourceError::Template(format!("error fetching templateFrom data: {}", api_message(&error))))?;
    let now = std::time::SystemTime::now();
    let filled = |mut secret: Secret| {
        let before = values(&secret);
        match secret::fill(template, &texts, &before, now, &mut secret) {
            Ok(()) => Ok(values(&secret)),
            Err(error) => Err(SourceError::Template(error.to_string())),
        }
    };
    // Templates may compute for seconds, and other tasks must not wait for them.
    tokio::task::block_in_place(|| found.into_iter().map(filled).collect())
}

async fn find(operator: &Operator, push_secret: &PushSecret, namespace: &str) -> Result<Vec<Secret>, SourceError> {
    let api: Api<Secret> = Api::namespaced(operator.client.clone(), namespace);
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
