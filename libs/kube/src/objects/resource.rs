//! The resources that describe pools, and which of them to watch.

use std::collections::BTreeSet;

use kube::core::ApiResource;

/// What a resource describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ResourceKind {
    Pod,
    Pool,
    Objective,
    Rewrite,
    Model,
}

impl ResourceKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Pool => "InferencePool",
            Self::Objective => "InferenceObjective",
            Self::Rewrite => "InferenceModelRewrite",
            Self::Model => "InferenceModel",
        }
    }

    /// Returns the name in URLs and in roles.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Pool => "inferencepools",
            Self::Objective => "inferenceobjectives",
            Self::Rewrite => "inferencemodelrewrites",
            Self::Model => "inferencemodels",
        }
    }
}

/// A resource of one API version. Among those of one kind, the order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    pub(crate) kind: ResourceKind,
    precedence: u8,
    /// `GROUP/VERSION`, or `VERSION` for the core group.
    pub(crate) api_version: &'static str,
}

const POOL_V1: &str = "inference.networking.k8s.io/v1";
const POOL_V1ALPHA2: &str = "inference.networking.k8s.io/v1alpha2";
const LLM_D: &str = "llm-d.ai/v1alpha2";
const LEGACY: &str = "inference.networking.x-k8s.io/v1alpha2";

/// The API versions that can define the custom resources.
pub(crate) const CUSTOM_API_VERSIONS: [&str; 4] = [POOL_V1, POOL_V1ALPHA2, LLM_D, LEGACY];

/// Pods, which every cluster has.
pub(crate) const PODS: Resource = Resource { kind: ResourceKind::Pod, precedence: 0, api_version: "v1" };

const fn custom(kind: ResourceKind, precedence: u8, api_version: &'static str) -> Resource {
    Resource { kind, precedence, api_version }
}

const CUSTOM: [Resource; 11] = [
    custom(ResourceKind::Pool, 0, POOL_V1),
    custom(ResourceKind::Pool, 1, POOL_V1ALPHA2),
    custom(ResourceKind::Pool, 2, LEGACY),
    custom(ResourceKind::Objective, 0, LLM_D),
    custom(ResourceKind::Objective, 1, LEGACY),
    custom(ResourceKind::Objective, 2, POOL_V1ALPHA2),
    custom(ResourceKind::Rewrite, 0, LLM_D),
    custom(ResourceKind::Rewrite, 1, LEGACY),
    custom(ResourceKind::Rewrite, 2, POOL_V1ALPHA2),
    custom(ResourceKind::Model, 0, LEGACY),
    custom(ResourceKind::Model, 1, POOL_V1ALPHA2),
];

impl Resource {
    /// Returns the custom resource with the name `plural` in `api_version`, if it is one of ours.
    pub(crate) fn find(api_version: &str, plural: &str) -> Option<Self> {
        CUSTOM.into_iter().find(|found| found.api_version == api_version && found.kind.plural() == plural)
    }

    pub(crate) fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    pub(crate) fn version(&self) -> &'static str {
        self.api_version.split_once('/').map_or(self.api_version, |(_, version)| version)
    }

    /// Returns the resource as the client library names it.
    pub(crate) fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group().to_owned(),
            version: self.version().to_owned(),
            api_version: self.api_version.to_owned(),
            kind: self.kind.name().to_owned(),
            plural: self.kind.plural().to_owned(),
        }
    }
}

/// Returns which of the custom resources that the API server has are to be watched.
///
/// Of two versions of one group, the newer is watched: both show the same objects. If the group `llm-d.ai`
/// defines a kind, other groups do not count for it, as in the Go EPP.
pub(crate) fn to_watch(served: &BTreeSet<Resource>) -> BTreeSet<Resource> {
    let is_hidden = |resource: &Resource| {
        served.iter().any(|other| {
            let is_preferred = other.kind == resource.kind && other.precedence < resource.precedence;
            is_preferred && (other.group() == resource.group() || other.api_version == LLM_D)
        })
    };
    served.iter().filter(|resource| !is_hidden(resource)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(served: &[(&str, &str)]) -> Vec<String> {
        let served = served.iter().map(|(version, plural)| Resource::find(version, plural).unwrap());
        let shown = |resource: Resource| format!("{} {}", resource.kind.plural(), resource.api_version);
        to_watch(&served.collect()).into_iter().map(shown).collect()
    }

    #[test]
    fn newer_versions_and_groups_hide_older_ones() {
        assert_eq!(
            vec![
                "inferencepools inference.networking.k8s.io/v1",
                "inferencepools inference.networking.x-k8s.io/v1alpha2"
            ],
            watched(&[
                (POOL_V1, "inferencepools"),
                (POOL_V1ALPHA2, "inferencepools"),
                (LEGACY, "inferencepools")
            ])
        );
        assert_eq!(
            vec![
                "inferenceobjectives llm-d.ai/v1alpha2",
                "inferencemodelrewrites inference.networking.x-k8s.io/v1alpha2"
            ],
            watched(&[
                (LLM_D, "inferenceobjectives"),
                (LEGACY, "inferenceobjectives"),
                (POOL_V1ALPHA2, "inferenceobjectives"),
                (LEGACY, "inferencemodelrewrites"),
            ])
        );
        assert_eq!(
            vec!["inferencemodels inference.networking.x-k8s.io/v1alpha2"],
            watched(&[(LEGACY, "inferencemodels")])
        );
    }

    #[test]
    fn other_resources_are_not_ours() {
        assert_eq!(None, Resource::find(LLM_D, "inferencepools"));
        assert_eq!(None, Resource::find("v1", "pods"));
    }
}
