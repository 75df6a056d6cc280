//! What the API server lets this operator do.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use kube::core::{ApiResource, ObjectMeta};

/// Whether all objects of a kind may be listed and watched, in a namespace or everywhere; or the one of a name. Everybody
/// may ask this of themselves.
///
/// # Errors
/// When the API server can't be asked.
pub(crate) async fn may_follow(
    client: &Client,
    kind: &ApiResource,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<bool, kube::Error> {
    for verb in ["list", "watch"] {
        let attributes = ResourceAttributes {
            group: Some(kind.group.clone()),
            resource: Some(kind.plural.clone()),
            verb: Some(verb.to_owned()),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let question = SelfSubjectAccessReview {
            metadata: ObjectMeta::default(),
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            status: None,
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        let answer = api.create(&PostParams::default(), &question).await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            return Ok(false);
        }
    }
    Ok(true)
}
