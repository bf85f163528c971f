//! Pods of the namespace of the release.

use anyhow::{Context, ensure};
use serde_json::Value;
use signalbox_integration::eventually;
use signalbox_kubernetes_tests::{NAMESPACE, Scene, is_ready};

/// Returns the name of a pod.
pub(crate) fn name(pod: &Value) -> anyhow::Result<&str> {
    pod["metadata"]["name"].as_str().context("the pod has no name")
}

/// Returns the node on which a pod runs.
pub(crate) fn node(pod: &Value) -> anyhow::Result<&str> {
    pod["spec"]["nodeName"].as_str().context("the pod has no node")
}

/// Reads a pod again.
pub(crate) async fn read(scene: &Scene, pod: &Value) -> anyhow::Result<Value> {
    let name = name(pod)?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}");
    scene.cluster.api.get(&path).await?.with_context(|| format!("{name} is gone"))
}

/// Returns how often the container of a pod was started again.
pub(crate) fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default()
}

/// Waits until the container of a pod was started again since `before`, and is ready.
pub(crate) async fn is_back(scene: &Scene, before: &Value) -> anyhow::Result<()> {
    let name = name(before)?;
    let check = async || {
        let pod = read(scene, before).await?;
        ensure!(restarts(&pod) > restarts(before) && is_ready(&pod), "{}", pod["status"]);
        Ok(())
    };
    eventually(&format!("{name} is ready again"), check).await
}
