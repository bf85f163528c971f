//! What a request asks to be allowed to do.

use crate::target::segments;

/// What a request asks to be allowed to do, in the terms of a SubjectAccessReview.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attributes {
    /// To read something that is no resource, such as a discovery document.
    Path {
        /// The path.
        path: String,
        /// The HTTP method, in lower case.
        verb: String,
    },
    /// To read a resource.
    Resource {
        /// `get`, or `list` if the path names no object.
        verb: String,
        /// The API group.
        group: String,
        /// The version of the group.
        version: String,
        /// The namespace.
        namespace: String,
        /// The resource: for an external metric, the name of the metric.
        resource: String,
        /// The object, if the path names one.
        name: String,
        /// What of the object: the name of the metric.
        subresource: String,
    },
}

impl Attributes {
    /// Returns what a request asks for, read from its path like the API server does.
    pub fn of(method: &str, path: &str) -> Self {
        let parts = segments(path).unwrap_or_default();
        let (resource, other) =
            (Self::of_resource(&parts), || Self::Path { path: path.to_owned(), verb: method.to_lowercase() });
        // Whatever is not read is not served, so that no right of its own is asked for it.
        if method == "GET" { resource.unwrap_or_else(other) } else { other() }
    }

    fn of_resource(parts: &[String]) -> Option<Self> {
        let [apis, group, version, namespaces, namespace, resource, rest @ ..] = parts else { return None };
        if apis != "apis" || namespaces != "namespaces" {
            return None;
        }
        let (name, subresource) = (rest.first().cloned(), rest.get(1).cloned());
        Some(Self::Resource {
            verb: if name.is_some() { "get" } else { "list" }.to_owned(),
            group: group.clone(),
            version: version.clone(),
            namespace: namespace.clone(),
            resource: resource.clone(),
            name: name.unwrap_or_default(),
            subresource: subresource.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> [String; 6] {
        match Attributes::of("GET", path) {
            Attributes::Resource { verb, group, namespace, resource, name, subresource, .. } => {
                [verb, group, namespace, resource, name, subresource]
            }
            path => panic!("{path:?}"),
        }
    }

    #[test]
    fn metrics_are_resources() {
        let custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/inferencepools.inference.networking.k8s.io/a/m";
        let expected =
            ["get", "custom.metrics.k8s.io", "ns", "inferencepools.inference.networking.k8s.io", "a", "m"];
        assert_eq!(expected.map(str::to_owned), resource(custom));
        let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/m";
        assert_eq!(
            ["list", "external.metrics.k8s.io", "ns", "m", "", ""].map(str::to_owned),
            resource(external)
        );
    }

    #[test]
    fn everything_else_is_a_path() {
        for (method, path) in [
            ("GET", "/apis"),
            ("GET", "/apis/custom.metrics.k8s.io/v1beta2"),
            ("DELETE", "/apis/a/b/namespaces/c/d/e"),
        ] {
            let expected = Attributes::Path { path: path.to_owned(), verb: method.to_lowercase() };
            assert_eq!(expected, Attributes::of(method, path));
        }
    }
}
