//! The Secret that an ExternalSecret asks for: pure, from the resource, its values, and the Secret that is there.

mod managed;
mod ownership;
mod template;
mod wanted;

pub(crate) use template::{Sources, fill};
pub(crate) use wanted::{Refusal, takes_content, wanted};

use crate::queue::ObjectKey;
use crate::types::ExternalSecret;

/// The Secret's name.
pub(crate) fn target_name(external_secret: &ExternalSecret) -> &str {
    match external_secret.spec.target.name.as_str() {
        "" => external_secret.metadata.name.as_deref().unwrap_or_default(),
        name => name,
    }
}

/// The name of the Secret an ExternalSecret makes, as a key.
pub(crate) fn target_key(external_secret: &ExternalSecret) -> ObjectKey {
    ObjectKey::new(
        external_secret.metadata.namespace.clone().unwrap_or_default(),
        target_name(external_secret),
    )
}
