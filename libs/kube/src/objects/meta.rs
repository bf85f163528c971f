//! Reads metadata without the parts that are not used, of which `managedFields` is the largest.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Deserializer};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UsedMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
}

/// Deserializes an [`ObjectMeta`] with the used fields only.
pub(super) fn used_meta<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let used = UsedMeta::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: used.name,
        namespace: used.namespace,
        uid: used.uid,
        resource_version: used.resource_version,
        labels: used.labels,
        annotations: used.annotations,
        creation_timestamp: used.creation_timestamp,
        deletion_timestamp: used.deletion_timestamp,
        ..ObjectMeta::default()
    })
}

/// Returns when the object was created, in milliseconds since the Unix epoch; 0 if unknown.
pub(super) fn created_ms(meta: &ObjectMeta) -> u64 {
    let created = meta.creation_timestamp.as_ref().map(|time| time.0.as_millisecond());
    created.and_then(|created| u64::try_from(created).ok()).unwrap_or_default()
}
