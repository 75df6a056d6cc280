//! Asks the API server which rights an account has.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use kube::core::{ApiResource, ObjectMeta};

/// Whether the client's account may list and watch a kind: in one namespace or in all, and all objects or the one of a name. The
/// question is a SelfSubjectAccessReview, which every account may create.
///
/// # Errors
/// When the API server refuses or does not answer.
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
        if !is_allowed(client, attributes).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the account of this client has a right.
///
/// # Errors
/// When the API server refuses or does not answer.
pub(crate) async fn is_allowed(client: &Client, attributes: ResourceAttributes) -> Result<bool, kube::Error> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        metadata: ObjectMeta::default(),
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        status: None,
    };
    let review = api.create(&PostParams::default(), &review).await?;
    Ok(review.status.is_some_and(|status| status.allowed))
}
