//! Discovery documents: which groups, versions and resources there are.

use serde_json::{Value, json};

use crate::target::{ApiGroup, POOL_APIS, POOLS, Version};

/// The `APIGroupList`.
pub(crate) fn groups(served: &[ApiGroup]) -> Value {
    let groups: Vec<Value> = served.iter().map(|group| versions_of(*group)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// The `APIGroup`.
pub(crate) fn group(group: ApiGroup) -> Value {
    let mut document = versions_of(group);
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    document
}

fn versions_of(group: ApiGroup) -> Value {
    let entry = |version: &Version| json!({ "groupVersion": format!("{}/{}", group.name(), version.name()), "version": version.name() });
    let versions: Vec<Value> = group.versions().iter().map(entry).collect();
    json!({ "name": group.name(), "versions": versions, "preferredVersion": versions[0] })
}

/// The `APIResourceList`.
pub(crate) fn resources(group: ApiGroup, version: Version, metrics: &[&str]) -> Value {
    let resource = |name: String, kind: &str| json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"] });
    let resources: Vec<Value> = match group {
        ApiGroup::External => {
            metrics.iter().map(|metric| resource((*metric).to_owned(), "ExternalMetricValueList")).collect()
        }
        ApiGroup::Custom => POOL_APIS
            .iter()
            .flat_map(|api| metrics.iter().map(move |metric| format!("{POOLS}.{}/{metric}", api.group)))
            .map(|name| resource(name, "MetricValueList"))
            .collect(),
    };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{}/{}", group.name(), version.name()),
        "resources": resources,
    })
}
