//! The manifests of the early inference extension, as many guides show them.

use std::time::Instant;

use serde_json::json;
use signalbox_kubernetes_tests::{NAMESPACE, Scene, sandboxed};

use crate::replicas::Replicas;
use crate::requests;

/// The pool names no port: it is served on the first one of the Service.
const MANIFESTS: &str = "
apiVersion: inference.networking.k8s.io/v1alpha2
kind: InferencePool
metadata:
  name: llama3
spec:
  selector:
    matchLabels:
      app: models
  targetPortNumber: 8000
  extensionRef:
    name: signalbox-epp
---
apiVersion: inference.networking.k8s.io/v1alpha2
kind: InferenceObjective
metadata:
  name: chat
spec:
  modelName: llama3
  criticality: Critical
  poolRef:
    name: llama3
";

/// The priority of requests that are `Critical`.
const CRITICAL: i64 = 10;

#[test]
fn early_manifests_serve_requests_with_their_criticality() -> anyhow::Result<()> {
    sandboxed("seed::early_manifests_serve_requests_with_their_criticality", async |dir| {
        let scene = Scene::start_without_crds(dir).await?;
        scene.cluster.install_own_crds("v1alpha2").await?;
        scene.deploy_models("models", 2, &["--speed", "100"]).await?;
        let mut values = Scene::values();
        values["pools"] = json!([{ "name": "llama3", "inferencePool": { "create": false } }]);
        values["epp"]["flags"] = Replicas::flags();
        scene.install(&values).await?;
        let started = Instant::now();
        scene.cluster.kubectl().apply_in(NAMESPACE, MANIFESTS).await?;
        println!("served by {} after {:.1} s", scene.first_request().await?, started.elapsed().as_secs_f64());

        let replicas = Replicas::find(&scene).await?;
        let critical = async || requests::probe(&scene, Some("chat")).await;
        replicas.decide_with_priority(CRITICAL, started, critical).await?;
        let other = async || requests::probe(&scene, None).await;
        replicas.decide_with_priority(0, Instant::now(), other).await?;

        let manifest = MANIFESTS.replace("Critical", "Sheddable");
        let changed = Instant::now();
        scene.cluster.kubectl().apply_in(NAMESPACE, &manifest).await?;
        replicas.decide_with_priority(-CRITICAL, changed, critical).await
    })
}
