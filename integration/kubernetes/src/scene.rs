//! Signalbox as the chart installs it, with model servers, and an Envoy in front that the chart installs too.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use signalbox_integration::{Client, CompletionRequest, Load, MetricsPage, TestDir, eventually};

use crate::cluster::Cluster;
use crate::helm::{Helm, HelmVersion};

/// The namespace of the release, the pools and the model servers.
pub const NAMESPACE: &str = "inference";

/// The name of the release, and the prefix of its objects.
pub const RELEASE: &str = "signalbox";

/// The label of pods by which a component of the chart is found.
const COMPONENT: &str = "app.kubernetes.io/component";

/// The chart.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../helm/signalbox");

/// How long helm may wait for pods to become ready, and to end.
const HELM_PATIENCE: &str = "--timeout=5m";

/// A cluster in which Signalbox can be installed.
#[derive(Debug)]
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// The HTTP client of the test.
    pub client: Client,
    helm: Helm,
}

impl Scene {
    /// Starts a cluster with the present CRDs, and a namespace that admits only restricted pods.
    ///
    /// # Errors
    /// Fails when a part does not become ready.
    pub async fn start(dir: &TestDir) -> anyhow::Result<Self> {
        let scene = Self::start_without_crds(dir).await?;
        scene.cluster.install_released_crds().await?;
        scene.cluster.install_own_crds("llm-d").await?;
        Ok(scene)
    }

    /// Like [`Scene::start`], without any CRD.
    ///
    /// # Errors
    /// Fails like [`Scene::start`].
    pub async fn start_without_crds(dir: &TestDir) -> anyhow::Result<Self> {
        let cluster = Cluster::start(dir).await?;
        let metadata =
            json!({ "name": NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        cluster.kubectl().apply(&namespace.to_string()).await?;
        let helm = Helm::new(HelmVersion::V4, dir.path(), Some(cluster.kubectl().kubeconfig()))?;
        Ok(Self { cluster, client: Client::new(), helm })
    }

    /// Returns values with one pool, `models`, of the pods with the label `app: models`, and a proxy. Times are short,
    /// so that tests are.
    pub fn values() -> Value {
        let pool = json!({
            "name": "models",
            "modelServers": { "matchLabels": { "app": "models" }, "targetPorts": [{ "number": 8000 }] },
        });
        json!({
            "mode": "standalone",
            "pools": [pool],
            "epp": { "minReadySeconds": 2, "drainDelaySeconds": 3, "drainTimeoutSeconds": 20 },
            "aggregator": { "minReadySeconds": 2 },
            "collector": { "minReadySeconds": 2 },
            "proxy": { "minReadySeconds": 2, "drainSeconds": 15, "concurrency": 1 },
        })
    }

    /// Deploys simulated model servers with the label `app: NAME`, and waits until they are ready. `arguments` follow
    /// their own.
    ///
    /// # Errors
    /// Fails when they do not become ready.
    pub async fn deploy_models(&self, name: &str, replicas: usize, arguments: &[&str]) -> anyhow::Result<()> {
        self.cluster.kubectl().apply(&model_deployment(name, replicas, arguments).to_string()).await?;
        self.cluster.wait_for_ready(NAMESPACE, &format!("app={name}"), replicas).await?;
        Ok(())
    }

    /// Changes the number of model servers, and does not wait.
    ///
    /// # Errors
    /// Fails when the API server does not respond.
    pub async fn scale_models(&self, name: &str, replicas: usize) -> anyhow::Result<()> {
        let replicas = format!("--replicas={replicas}");
        self.kubectl(&["scale", "deployment", name, &replicas]).await?;
        Ok(())
    }

    /// Installs the chart and waits until all its pods are ready.
    ///
    /// # Errors
    /// Fails with helm's message.
    pub async fn install(&self, values: &Value) -> anyhow::Result<()> {
        self.helm("install", Path::new(CHART), values).await
    }

    /// Changes the values, and waits until all its pods have them and are ready.
    ///
    /// # Errors
    /// Fails with helm's message.
    pub async fn upgrade(&self, values: &Value) -> anyhow::Result<()> {
        self.helm("upgrade", Path::new(CHART), values).await
    }

    /// Uninstalls the release and waits until its objects are gone.
    ///
    /// # Errors
    /// Fails with helm's message.
    pub async fn uninstall(&self) -> anyhow::Result<()> {
        let arguments = ["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", HELM_PATIENCE];
        self.helm.run(&arguments, &Value::Null).await?;
        Ok(())
    }

    async fn helm(&self, action: &str, chart: &Path, values: &Value) -> anyhow::Result<()> {
        let chart = chart.to_str().context("the path of the chart is not UTF-8")?;
        let arguments = [action, RELEASE, chart, "--namespace", NAMESPACE, "--wait", HELM_PATIENCE];
        self.helm.run(&arguments, values).await?;
        Ok(())
    }

    /// Runs kubectl in the namespace of the release.
    ///
    /// # Errors
    /// Fails with kubectl's message.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.cluster.kubectl().run(&[&["--namespace", NAMESPACE], arguments].concat()).await
    }

    /// Returns the URL of the first port of the proxy, `http://ADDRESS:PORT`.
    ///
    /// # Errors
    /// Fails when the proxy is not installed.
    pub async fn gateway(&self) -> anyhow::Result<String> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/services/{RELEASE}-proxy");
        let service = self.cluster.api.get(&path).await?.context("there is no proxy")?;
        let spec = &service["spec"];
        let address = spec["clusterIP"].as_str().context("the proxy has no address")?;
        Ok(format!("http://{address}:{}", spec["ports"][0]["port"]))
    }

    /// Waits for the first request that a model server serves, and returns the server's name.
    ///
    /// # Errors
    /// Fails when no request is served in time.
    pub async fn first_request(&self) -> anyhow::Result<String> {
        let url = format!("{}/v1/completions", self.gateway().await?);
        let sent = async || {
            let response = self.client.post(&url, CompletionRequest::small(1).body()).await?.ok()?;
            Ok(response.pod()?.to_owned())
        };
        eventually("a request is served", sent).await
    }

    /// Starts load through the gateway, which runs until it is stopped.
    ///
    /// # Errors
    /// Fails when the proxy is not installed.
    pub async fn start_load(&self) -> anyhow::Result<Load> {
        // A client of its own: nothing else shares its connections.
        Ok(Load::start(Client::new(), &self.gateway().await?))
    }

    /// Returns the pods of a component of the chart: `epp`, `aggregator`, `collector` or `proxy`.
    ///
    /// # Errors
    /// Fails when the API server does not respond.
    pub async fn component(&self, component: &str) -> anyhow::Result<Vec<Value>> {
        self.cluster.pods(NAMESPACE, &format!("{COMPONENT}={component}")).await
    }

    /// Reads the metrics page of a pod.
    ///
    /// # Errors
    /// Fails when the pod has no port `metrics`, or does not respond.
    pub async fn metrics(&self, pod: &Value) -> anyhow::Result<MetricsPage> {
        self.client.metrics(&metrics_address(pod)?).await
    }
}

/// Returns the address of a pod's port `metrics`, `ADDRESS:PORT`.
///
/// # Errors
/// Fails when the pod has no such port or no address yet.
pub fn metrics_address(pod: &Value) -> anyhow::Result<String> {
    let ports = pod["spec"]["containers"][0]["ports"].as_array().into_iter().flatten();
    let port = ports.filter(|port| port["name"] == "metrics").find_map(|port| port["containerPort"].as_u64());
    let address = pod["status"]["podIP"].as_str().context("the pod has no address")?;
    Ok(format!("{address}:{}", port.context("the pod has no port metrics")?))
}

fn model_deployment(name: &str, replicas: usize, arguments: &[&str]) -> Value {
    let own =
        ["--listen", "$(POD_IP):8000", "--name", "$(POD_NAME)", "--model", signalbox_integration::MODEL];
    let arguments: Vec<&str> = own.iter().chain(arguments).copied().collect();
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let container = json!({
        "name": "server",
        "image": "modelsim",
        "args": arguments,
        "env": [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")],
        "ports": [{ "name": "http", "containerPort": 8000 }],
        "readinessProbe": { "httpGet": { "path": "/health", "port": "http" }, "periodSeconds": 1 },
        // A request that was routed before the replicas saw the deletion still arrives.
        "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
    });
    let security =
        json!({ "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } });
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "containers": [container],
                    "securityContext": security,
                    "terminationGracePeriodSeconds": 60,
                },
            },
        },
    })
}
