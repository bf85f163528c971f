//! Pods, reduced to what makes endpoints of them.

use std::borrow::Cow;
use std::net::IpAddr;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;
use signalbox_types::EndpointSpec;

use super::meta::{created_ms, used_meta};
use super::object_ref::ObjectRef;

/// A setting that a pod can have as an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    ActivePorts,
    MetricsPort,
    MetricsPath,
    MetricsScheme,
    MetricsSkipVerify,
    Cost,
}

impl Setting {
    const ALL: [Self; 6] = [
        Self::ActivePorts,
        Self::MetricsPort,
        Self::MetricsPath,
        Self::MetricsScheme,
        Self::MetricsSkipVerify,
        Self::Cost,
    ];

    /// Returns the annotations that have the setting. The first that is present counts.
    pub(crate) const fn annotations(self) -> &'static [&'static str] {
        match self {
            Self::ActivePorts => &["llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports"],
            Self::MetricsPort => &["signalbox.dev/metrics-port"],
            Self::MetricsPath => &["signalbox.dev/metrics-path"],
            Self::MetricsScheme => &["signalbox.dev/metrics-scheme"],
            Self::MetricsSkipVerify => &["signalbox.dev/metrics-insecure-skip-verify"],
            Self::Cost => &[EndpointSpec::COST_LABEL],
        }
    }
}

/// What is used of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) reference: ObjectRef,
    /// Milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
    /// Labels in the order of their names.
    labels: Box<[(Box<str>, Box<str>)]>,
    /// Settings from annotations: where each was found, and the value as written.
    settings: Box<[(Setting, &'static str, Box<str>)]>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) is_ready: bool,
    pub(crate) is_being_deleted: bool,
    /// Whether its containers were started and have not all ended.
    pub(crate) is_running: bool,
}

impl Pod {
    /// Returns the value of the label `name`.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(label, _)| (**label).cmp(name)).ok()?;
        Some(&self.labels[at].1)
    }

    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the annotation that has `setting`, and its value.
    pub(crate) fn setting(&self, setting: Setting) -> Option<(&'static str, &str)> {
        let found = self.settings.iter().find(|(found, _, _)| *found == setting);
        found.map(|(_, annotation, value)| (*annotation, &**value))
    }
}

impl From<PodObject> for Pod {
    fn from(PodObject { mut metadata, status }: PodObject) -> Self {
        let is_condition_true = |name: &str| {
            status.conditions.iter().any(|condition| condition.type_ == name && condition.status == "True")
        };
        let annotations = metadata.annotations.take().unwrap_or_default();
        let settings = Setting::ALL.into_iter().filter_map(|setting| {
            let found = |annotation: &&'static str| annotations.get_key_value(*annotation).is_some();
            let annotation = *setting.annotations().iter().find(|annotation| found(annotation))?;
            Some((setting, annotation, annotations[annotation].as_str().into()))
        });
        let labels = metadata.labels.take().unwrap_or_default();
        Self {
            reference: ObjectRef::new("v1", "Pod", &metadata),
            created_ms: created_ms(&metadata),
            labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            settings: settings.collect(),
            ip: status.pod_ip.and_then(|ip| ip.parse().ok()),
            is_ready: is_condition_true("Ready"),
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            is_running: status.phase.as_deref() == Some("Running"),
        }
    }
}

/// A pod as the API server sends it. Other fields are skipped.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PodObject {
    #[serde(deserialize_with = "used_meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl Resource for PodObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn used_fields_are_kept() {
        let object = json!({
            "metadata": {
                "name": "a", "namespace": "prod", "uid": "1", "creationTimestamp": "2026-01-31T12:00:00Z",
                "deletionTimestamp": "2026-01-31T13:00:00Z", "managedFields": [{ "manager": "kubelet" }],
                "labels": { "b": "2", "a": "1" },
                "annotations": {
                    "other": "x",
                    "inference.networking.k8s.io/active-ports": "1",
                    "llm-d.ai/active-ports": "",
                    "signalbox.dev/metrics-port": "9000",
                },
            },
            "spec": { "containers": [{ "name": "x" }] },
            "status": { "phase": "Running", "podIP": "10.0.0.1", "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let pod = Pod::from(serde_json::from_value::<PodObject>(object).unwrap());
        assert_eq!((Some("1"), None), (pod.label("a"), pod.label("c")));
        assert_eq!(Some(("llm-d.ai/active-ports", "")), pod.setting(Setting::ActivePorts));
        assert_eq!(Some(("signalbox.dev/metrics-port", "9000")), pod.setting(Setting::MetricsPort));
        assert_eq!(None, pod.setting(Setting::MetricsPath));
        assert!(pod.is_ready && pod.is_running && pod.is_being_deleted);
        assert_eq!(Some([10, 0, 0, 1].into()), pod.ip);
        assert_eq!(1_769_860_800_000, pod.created_ms);
    }

    #[test]
    fn pod_without_status_is_neither_ready_nor_running() {
        let object = json!({ "metadata": { "name": "a" }, "status": { "podIP": "" } });
        let pod = Pod::from(serde_json::from_value::<PodObject>(object).unwrap());
        assert!(!pod.is_ready && !pod.is_running && !pod.is_being_deleted && pod.ip.is_none());
    }
}
