//! A control plane with nodes, and the CRDs that Signalbox reads.

use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use signalbox_integration::{TestDir, eventually};

use crate::api::Api;
use crate::control_plane::ControlPlane;
use crate::kubectl::Kubectl;
use crate::node::{Network, Nodes, signalbox_images};
use crate::tools::{released_crds, tool};

/// The folder with our CRDs.
const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");

/// The names of the nodes.
pub const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// A cluster in the sandbox of a test.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Nodes,
    /// Access to objects.
    pub api: Api,
    /// The API server and the controllers.
    pub control_plane: ControlPlane,
}

impl Cluster {
    /// Starts a cluster with three nodes.
    ///
    /// # Errors
    /// Fails when a part does not become ready.
    pub async fn start(dir: &TestDir) -> anyhow::Result<Self> {
        let network = Arc::new(Network::create().await?);
        let control_plane = ControlPlane::start(dir, network.host()).await?;
        let api = Api::start(dir, control_plane.kubectl()).await?;
        let nodes = Nodes::start(dir, (&api, network), signalbox_images()?, &NODES).await?;
        Ok(Self { nodes, api, control_plane })
    }

    /// Returns kubectl with all rights.
    pub fn kubectl(&self) -> &Kubectl {
        self.control_plane.kubectl()
    }

    /// Installs the CRDs that the inference extension releases: InferencePool `v1`.
    ///
    /// # Errors
    /// Fails when the API server does not serve them in time.
    pub async fn install_released_crds(&self) -> anyhow::Result<()> {
        self.install_crds(released_crds()?.to_str().context("the path of the cache is not UTF-8")?).await
    }

    /// Installs the CRDs of a folder of `crds`: `llm-d`, `x-k8s` or `v1alpha2`.
    ///
    /// # Errors
    /// Fails when the API server does not serve them in time.
    pub async fn install_own_crds(&self, folder: &str) -> anyhow::Result<()> {
        self.install_crds(&format!("{CRDS}/{folder}")).await
    }

    async fn install_crds(&self, folder: &str) -> anyhow::Result<()> {
        let kubectl = self.kubectl();
        let names =
            kubectl.run(&["apply", "--server-side", "--output", "name", "--filename", folder]).await?;
        for name in names.lines() {
            let served = async || {
                let wait = ["wait", "--for", "condition=Established", "--timeout=10s", name];
                kubectl.run(&wait).await
            };
            eventually("the API server serves the CRD", served).await?;
        }
        Ok(())
    }

    /// Installs KEDA, with the manifests of its release, and waits until its operator and its metrics adapter work.
    ///
    /// # Errors
    /// Fails when they do not become ready.
    pub async fn install_keda(&self) -> anyhow::Result<()> {
        let config = tool("keda")?.canonicalize()?.join("config/minimal");
        let config = config.to_str().context("the path of the cache is not UTF-8")?;
        // Its CRDs are too large for the annotation in which kubectl otherwise keeps what it applied. The first attempt
        // cannot create objects whose kinds it has just defined.
        let apply = ["apply", "--server-side", "--force-conflicts", "--kustomize", config];
        eventually("KEDA is installed", async || self.kubectl().run(&apply).await).await?;
        // Our nodes do not probe by HTTPS.
        let probe = json!({ "tcpSocket": { "port": 6443 } });
        let replaced = ["livenessProbe", "readinessProbe"].map(|name| {
            json!({ "op": "replace", "path": format!("/spec/template/spec/containers/0/{name}"), "value": probe })
        });
        let (adapter, patch) = ("deployment/keda-metrics-apiserver", json!(replaced).to_string());
        self.kubectl().run(&["patch", adapter, "--namespace=keda", "--type=json", "--patch", &patch]).await?;
        for app in ["keda-operator", "keda-metrics-apiserver"] {
            self.wait_for_ready("keda", &format!("app={app}"), 1).await?;
        }
        Ok(())
    }

    /// Evicts a pod, as `kubectl drain` does.
    ///
    /// # Errors
    /// Fails when a disruption budget holds the eviction back: with status 429.
    pub async fn evict(&self, namespace: &str, pod: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        let metadata = json!({ "name": pod, "namespace": namespace });
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata });
        self.api.create(&path, &eviction).await?;
        Ok(())
    }

    /// Returns the pods with a label such as `app=web`.
    ///
    /// # Errors
    /// Fails when the API server does not respond.
    pub async fn pods(&self, namespace: &str, label: &str) -> anyhow::Result<Vec<Value>> {
        self.api.list(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={label}")).await
    }

    /// Waits until exactly `count` pods have a label, and all of them are ready and not being deleted. Returns them.
    ///
    /// # Errors
    /// Fails with the status of the pods when that does not happen in time.
    pub async fn wait_for_ready(
        &self,
        namespace: &str,
        label: &str,
        count: usize,
    ) -> anyhow::Result<Vec<Value>> {
        let check = async || {
            let pods = self.pods(namespace, label).await?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let described: Vec<String> = pods.iter().map(describe).collect();
            ensure!((pods.len(), ready) == (count, count), "{ready} are ready:\n{}", described.join("\n"));
            Ok(pods)
        };
        eventually(&format!("{count} pods with {label} are ready"), check).await
    }
}

/// Whether a pod is ready and not being deleted.
pub fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready = conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    is_ready && pod["metadata"]["deletionTimestamp"].is_null()
}

fn describe(pod: &Value) -> String {
    let (name, status) = (&pod["metadata"]["name"], &pod["status"]);
    format!("{name}: {} {}", status["phase"], status["containerStatuses"])
}
