//! The Secret that an ExternalSecret asks for: pure, from the resource, its values, and the Secret that is there.

mod managed;
mod ownership;
mod template;
mod wanted;

pub(crate) use template::{Sources, fill};
pub(crate) use wanted::{Refusal, takes_content, wanted};

use crate::types::ExternalSecret;

/// The Secret's name.
pub(crate) fn target_name(external_secret: &ExternalSecret) -> &str {
    match external_secret.spec.target.name.as_str() {
        "" => external_secret.metadata.name.as_deref().unwrap_or_default(),
        name => name,
    }
}
