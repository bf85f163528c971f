//! Asks the API server who has a token, and what a user may do.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use signalbox_metrics_api::{Attributes, User};
use thiserror::Error;
use tokio::time::timeout;

use crate::causes::causes;
use crate::cluster::Cluster;

/// Time limit for an answer. The API server waits 5 s for whoever asks.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The API server does not say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReviewError {
    /// This process may not ask.
    #[error(
        "not permitted to create {0}; bind the ClusterRole system:auth-delegator to the service account: {1}"
    )]
    Forbidden(&'static str, String),
    /// The API server does not answer, or not now.
    #[error("the API server does not answer a {0}: {1}")]
    Unavailable(&'static str, String),
}

/// Asks the API server. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Reviews {
    cluster: Cluster,
}

impl Reviews {
    /// Asks the API server of `cluster`.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Returns who has a token; `None` if it is not valid.
    ///
    /// # Errors
    /// [`ReviewError`].
    pub async fn token(&self, token: &str) -> Result<Option<User>, ReviewError> {
        const WHAT: &str = "TokenReview";
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = ask(WHAT, &Api::all(self.cluster.client()), &review).await?;
        let status = answer.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true));
        Ok(user.map(|user| User {
            name: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }))
    }

    /// Returns whether a user may do something.
    ///
    /// # Errors
    /// [`ReviewError`].
    pub async fn access(&self, user: User, attributes: Attributes) -> Result<bool, ReviewError> {
        const WHAT: &str = "SubjectAccessReview";
        let (mut resource_attributes, mut non_resource_attributes) = (None, None);
        match attributes {
            Attributes::Path { path, verb } => {
                non_resource_attributes = Some(NonResourceAttributes { path: Some(path), verb: Some(verb) });
            }
            Attributes::Resource { verb, group, version, namespace, resource, name, subresource } => {
                resource_attributes = Some(ResourceAttributes {
                    verb: Some(verb),
                    group: Some(group),
                    version: Some(version),
                    namespace: Some(namespace),
                    resource: Some(resource),
                    name: Some(name),
                    subresource: Some(subresource),
                    ..ResourceAttributes::default()
                });
            }
        }
        let spec = SubjectAccessReviewSpec {
            user: Some(user.name),
            uid: Some(user.uid),
            groups: Some(user.groups),
            extra: Some(user.extra),
            resource_attributes,
            non_resource_attributes,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer = ask(WHAT, &Api::all(self.cluster.client()), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

async fn ask<R>(what: &'static str, api: &Api<R>, review: &R) -> Result<R, ReviewError>
where
    R: Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match timeout(TIMEOUT, api.create(&PostParams::default(), review)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
            Err(ReviewError::Forbidden(what, status.message.clone()))
        }
        Ok(Err(error)) => Err(ReviewError::Unavailable(what, causes(&error))),
        Err(_) => Err(ReviewError::Unavailable(what, "no answer in time".to_owned())),
    }
}
