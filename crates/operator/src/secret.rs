//! The Secret that an ExternalSecret describes, computed from the resource, its values and the Secret that exists.

mod desired_secret;
mod managed;
mod ownership;
mod template;

pub(crate) use desired_secret::{DesiredSecretError, desired_secret, takes_content};
pub(crate) use template::{TemplateTexts, fill};

use crate::types::ExternalSecret;

/// The name of the Secret: `spec.target.name`, or the ExternalSecret's own name if that is empty.
pub(crate) fn target_name(external_secret: &ExternalSecret) -> &str {
    match external_secret.spec.target.name.as_str() {
        "" => external_secret.metadata.name.as_deref().unwrap_or_default(),
        name => name,
    }
}
