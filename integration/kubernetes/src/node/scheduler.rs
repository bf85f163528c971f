//! Chooses nodes for pods: pods with the same labels spread over the nodes.
//!
//! Selectors, taints, affinities and resources are not looked at.

use std::collections::BTreeMap;

use serde_json::Value;

/// Labels that pods of one template do not share: those by which controllers tell them from others, and those that the API
/// server copies from the node to which a pod is bound.
const OWN_LABELS: [&str; 6] = [
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

/// A pod that runs on a node from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) node: String,
}

/// What pods of one template have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// Returns a node for each pod that has none. Pods that are being deleted get none.
pub(crate) fn schedule(pods: &[Value], nodes: &[&str]) -> Vec<Binding> {
    let kind = |pod: &Value| Kind {
        namespace: text(&pod["metadata"]["namespace"]).to_owned(),
        labels: template_labels(pod),
    };
    let mut same_kind: BTreeMap<(String, Kind), usize> = BTreeMap::new();
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !is_ended(pod)) {
        let node = text(&pod["spec"]["nodeName"]);
        *same_kind.entry((node.to_owned(), kind(pod))).or_default() += 1;
        *all.entry(node.to_owned()).or_default() += 1;
    }
    let is_waiting =
        |pod: &&Value| pod["spec"]["nodeName"].is_null() && pod["metadata"]["deletionTimestamp"].is_null();
    let mut bindings = Vec::new();
    for pod in pods.iter().filter(is_waiting) {
        let load = |node: &str| {
            let same = same_kind.get(&(node.to_owned(), kind(pod))).copied().unwrap_or_default();
            (same, all.get(node).copied().unwrap_or_default())
        };
        let Some(node) = nodes.iter().min_by_key(|node| load(node)) else { break };
        *same_kind.entry(((*node).to_owned(), kind(pod))).or_default() += 1;
        *all.entry((*node).to_owned()).or_default() += 1;
        bindings.push(Binding {
            namespace: text(&pod["metadata"]["namespace"]).to_owned(),
            pod: text(&pod["metadata"]["name"]).to_owned(),
            node: (*node).to_owned(),
        });
    }
    bindings
}

fn template_labels(pod: &Value) -> BTreeMap<String, String> {
    let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
    let shared = labels.filter(|(name, _)| !OWN_LABELS.contains(&name.as_str()));
    shared.map(|(name, value)| (name.clone(), text(value).to_owned())).collect()
}

fn is_ended(pod: &Value) -> bool {
    matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::schedule;

    fn pod(name: &str, app: &str, node: Option<&str>) -> Value {
        json!({
            "metadata": { "namespace": "shop", "name": name, "labels": { "app": app, "pod-template-hash": name } },
            "spec": { "nodeName": node },
        })
    }

    #[test]
    fn pods_with_the_same_labels_spread_over_the_nodes() {
        let mut bound = pod("a", "web", Some("one"));
        bound["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!("one");
        let pods = [
            bound,
            pod("other", "db", Some("two")),
            pod("another", "db", Some("two")),
            pod("b", "web", None),
            pod("c", "web", None),
            pod("d", "db", None),
        ];
        let chosen = schedule(&pods, &["one", "two"]);
        let nodes: Vec<&str> = chosen.iter().map(|binding| binding.node.as_str()).collect();
        assert_eq!(nodes[0], "two");
        assert_ne!(nodes[1], "");
        assert_eq!(chosen.len(), 3);
        assert!(schedule(&pods, &[]).is_empty());
    }

    #[test]
    fn pod_that_is_being_deleted_gets_no_node() {
        let mut pod = pod("a", "web", None);
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(schedule(&[pod], &["one"]).is_empty());
    }
}
