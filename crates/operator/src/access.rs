//! What the API server lets this operator do.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use kube::core::{ApiResource, ObjectMeta};

/// Whether the operator may list and watch all objects of a kind, in a namespace or everywhere, or the one of a name. Every
/// account may ask this about itself (SelfSubjectAccessReview).
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
