//! What the path of a request names.

use percent_encoding::percent_decode_str;

/// A group of metrics APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiGroup {
    Custom,
    External,
}

/// A version of `custom.metrics.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1Beta1,
    V1Beta2,
}

/// The API in which a pool is an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolApi {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
}

/// The APIs with InferencePools, the present one first.
pub(crate) const POOL_APIS: [PoolApi; 2] = [
    PoolApi { group: "inference.networking.k8s.io", version: "v1" },
    PoolApi { group: "inference.networking.x-k8s.io", version: "v1alpha2" },
];

/// The resource of pools.
pub(crate) const POOLS: &str = "inferencepools";

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The list of groups.
    Groups,
    /// The versions of a group.
    Group(ApiGroup),
    /// The resources of a version of a group.
    Resources(ApiGroup, Version),
    /// A metric of one object or, without a name, of all objects of a namespace.
    Object { version: Version, namespace: String, resource: String, name: Option<String>, metric: String },
    /// A metric of no object.
    External { namespace: String, metric: String },
}

impl ApiGroup {
    pub(crate) const ALL: [Self; 2] = [Self::Custom, Self::External];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom.metrics.k8s.io",
            Self::External => "external.metrics.k8s.io",
        }
    }

    /// The versions, the preferred one first.
    pub(crate) const fn versions(self) -> &'static [Version] {
        match self {
            Self::Custom => &[Version::V1Beta2, Version::V1Beta1],
            Self::External => &[Version::V1Beta1],
        }
    }
}

impl Version {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V1Beta1 => "v1beta1",
            Self::V1Beta2 => "v1beta2",
        }
    }
}

impl Target {
    /// Returns what `path` names; `None` if there is no such thing.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let segments = segments(path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["apis", rest @ ..] = segments.as_slice() else { return None };
        let Some((group, rest)) = rest.split_first() else { return Some(Self::Groups) };
        let group = ApiGroup::ALL.into_iter().find(|known| known.name() == *group)?;
        let Some((version, rest)) = rest.split_first() else { return Some(Self::Group(group)) };
        let version = *group.versions().iter().find(|known| known.name() == *version)?;
        let owned = |text: &&str| (*text).to_owned();
        match (group, rest) {
            (_, []) => Some(Self::Resources(group, version)),
            (ApiGroup::External, ["namespaces", namespace, metric]) => {
                Some(Self::External { namespace: owned(namespace), metric: owned(metric) })
            }
            (ApiGroup::Custom, ["namespaces", namespace, resource, name, metric]) => Some(Self::Object {
                version,
                namespace: owned(namespace),
                resource: owned(resource),
                name: (*name != "*").then(|| owned(name)),
                metric: owned(metric),
            }),
            _ => None,
        }
    }
}

/// Returns the decoded segments of a path. A slash at its end is ignored.
pub(crate) fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let decoded = path.split('/').map(|segment| {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        (!segment.is_empty() && !segment.contains('/')).then(|| segment.into_owned())
    });
    decoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_metrics_are_read() {
        let object = Target::parse(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/inferencepools.inference.networking.k8s.io/llama/m",
        );
        let expected = Target::Object {
            version: Version::V1Beta2,
            namespace: "ns".to_owned(),
            resource: "inferencepools.inference.networking.k8s.io".to_owned(),
            name: Some("llama".to_owned()),
            metric: "m".to_owned(),
        };
        assert_eq!(Some(expected), object);
        let all = Target::parse("/apis/custom.metrics.k8s.io/v1beta1/namespaces/ns/pods/%2A/m");
        assert!(matches!(all, Some(Target::Object { version: Version::V1Beta1, name: None, .. })), "{all:?}");
        let external = Target::parse("/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/m");
        assert_eq!(Some(Target::External { namespace: "ns".to_owned(), metric: "m".to_owned() }), external);
        assert_eq!(Some(Target::Groups), Target::parse("/apis/"));
        assert_eq!(Some(Target::Group(ApiGroup::Custom)), Target::parse("/apis/custom.metrics.k8s.io"));
        let resources = Target::parse("/apis/external.metrics.k8s.io/v1beta1");
        assert_eq!(Some(Target::Resources(ApiGroup::External, Version::V1Beta1)), resources);
    }

    #[test]
    fn there_is_nothing_at_other_paths() {
        let nothing = [
            "/",
            "apis",
            "/api",
            "/apis/apps",
            "/apis/custom.metrics.k8s.io/v1",
            "/apis/external.metrics.k8s.io/v1beta2",
            "/apis/external.metrics.k8s.io/v1beta1/m",
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns",
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/a/b",
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/a%2Fb",
            "/apis/custom.metrics.k8s.io/v1beta2/nodes/n",
            "/apis/custom.metrics.k8s.io/v1beta2/nodes/n/m",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/p",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/metrics/m",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces//pods/p/m",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/%ff/m",
        ];
        for path in nothing {
            assert_eq!(None, Target::parse(path), "{path}");
        }
    }
}
