//! What a node reads of a pod.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::Value;

/// A pod that is bound to a node.
#[derive(Clone, Debug)]
pub(crate) struct PodSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) service_account: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) restart: RestartPolicy,
    /// The time that a container has to end before it is restarted, in seconds.
    pub(crate) grace_s: u64,
    /// The group that owns volumes.
    pub(crate) group: Option<u32>,
    pub(crate) has_service_links: bool,
    pub(crate) containers: Vec<ContainerSpec>,
    /// The volumes as they stand in the object.
    pub(crate) volumes: Vec<Value>,
}

/// Whether a container starts again after it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// A container of a pod.
#[derive(Clone, Debug)]
pub(crate) struct ContainerSpec {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: Option<String>,
    /// Variables and their sources as they stand in the object.
    pub(crate) environment: Vec<Value>,
    pub(crate) environment_from: Vec<Value>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) requests: BTreeMap<String, String>,
    pub(crate) limits: BTreeMap<String, String>,
    pub(crate) user: Option<u32>,
    pub(crate) has_read_only_root: bool,
    pub(crate) startup: Option<Value>,
    pub(crate) readiness: Option<Value>,
    pub(crate) liveness: Option<Value>,
    /// What runs before SIGTERM.
    pub(crate) before_stop: Option<Value>,
}

/// A volume's place in a container.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) volume: String,
    pub(crate) path: String,
    /// The file or folder of the volume; empty for the whole volume.
    pub(crate) part: String,
    pub(crate) is_read_only: bool,
}

impl PodSpec {
    /// Reads a pod.
    pub(crate) fn read(pod: &Value) -> anyhow::Result<Self> {
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        if spec["initContainers"].as_array().is_some_and(|containers| !containers.is_empty()) {
            bail!("init containers are not supported");
        }
        let security = &spec["securityContext"];
        let containers = spec["containers"].as_array().context("the pod has no containers")?;
        Ok(Self {
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            node: text(&spec["nodeName"]),
            service_account: text(&spec["serviceAccountName"]),
            labels: texts(&metadata["labels"]),
            annotations: texts(&metadata["annotations"]),
            restart: match spec["restartPolicy"].as_str() {
                Some("Never") => RestartPolicy::Never,
                Some("OnFailure") => RestartPolicy::OnFailure,
                _ => RestartPolicy::Always,
            },
            grace_s: spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(30),
            group: id(&security["fsGroup"]),
            has_service_links: spec["enableServiceLinks"].as_bool().unwrap_or(true),
            containers: containers.iter().map(|container| ContainerSpec::read(container, security)).collect(),
            volumes: spec["volumes"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// Returns the path of the object in the API.
    pub(crate) fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", self.namespace, self.name)
    }
}

impl ContainerSpec {
    fn read(container: &Value, pod_security: &Value) -> Self {
        let security = &container["securityContext"];
        let ports = container["ports"].as_array().into_iter().flatten();
        let ports = ports.filter_map(|port| {
            Some((text(&port["name"]), u16::try_from(port["containerPort"].as_u64()?).ok()?))
        });
        let mounts = container["volumeMounts"].as_array().into_iter().flatten().map(|mount| Mount {
            volume: text(&mount["name"]),
            path: text(&mount["mountPath"]),
            part: text(&mount["subPath"]),
            is_read_only: mount["readOnly"] == true,
        });
        let present = |value: &Value| (!value.is_null()).then(|| value.clone());
        Self {
            name: text(&container["name"]),
            image: text(&container["image"]),
            command: list(&container["command"]),
            arguments: list(&container["args"]),
            folder: container["workingDir"].as_str().map(str::to_owned),
            environment: container["env"].as_array().cloned().unwrap_or_default(),
            environment_from: container["envFrom"].as_array().cloned().unwrap_or_default(),
            mounts: mounts.collect(),
            ports: ports.collect(),
            requests: texts(&container["resources"]["requests"]),
            limits: texts(&container["resources"]["limits"]),
            user: id(&security["runAsUser"]).or(id(&pod_security["runAsUser"])),
            has_read_only_root: security["readOnlyRootFilesystem"] == true,
            startup: present(&container["startupProbe"]),
            readiness: present(&container["readinessProbe"]),
            liveness: present(&container["livenessProbe"]),
            before_stop: present(&container["lifecycle"]["preStop"]),
        }
    }

    /// Returns the number of a port that is given by number or name.
    pub(crate) fn port(&self, port: &Value) -> anyhow::Result<u16> {
        if let Some(number) = port.as_u64() {
            return Ok(u16::try_from(number)?);
        }
        let name = port.as_str().context("the port is neither a number nor a name")?;
        self.ports.get(name).copied().with_context(|| format!("container {} has no port {name}", self.name))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| id.try_into().ok())
}
