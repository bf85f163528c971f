//! Model servers, pools and models that change under load.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use signalbox_integration::{Load, MODEL, eventually};
use signalbox_kubernetes_tests::{NAMESPACE, Scene, is_ready, sandboxed};

use crate::replicas::{Endpoints, Replicas};
use crate::{pods, requests};

const POOL: &str = "inferencepool/models";

/// The name of the model servers' Deployment, and the value of their label `app`.
const MODELS: &str = "models";

#[test]
fn model_servers_come_and_go_under_load() -> anyhow::Result<()> {
    sandboxed("churn::model_servers_come_and_go_under_load", async |dir| {
        let scene = Scene::start(dir).await?;
        let (replicas, load) = start(&scene, 2).await?;
        scale(&scene, &replicas, 6).await?;
        scale(&scene, &replicas, 1).await?;
        scale(&scene, &replicas, 3).await?;
        delete_pod(&scene, &replicas).await?;
        lose_readiness(&scene, &replicas).await?;
        change_ports(&scene, &replicas).await?;
        change_selector(&scene, &replicas).await?;
        requests::all_are_served(load, Instant::now()).await
    })
}

#[test]
fn objectives_and_rewrites_change_under_load() -> anyhow::Result<()> {
    sandboxed("churn::objectives_and_rewrites_change_under_load", async |dir| {
        let scene = Scene::start(dir).await?;
        let (replicas, load) = start(&scene, 2).await?;
        for priority in [5, 9] {
            let spec = json!({ "priority": priority, "poolRef": { "name": MODELS } });
            let started = apply(&scene, "InferenceObjective", "urgent", &spec).await?;
            decide_with_priority(&scene, &replicas, priority, started).await?;
        }
        for target in [MODEL, "nothing-serves-this", MODEL] {
            let spec = json!({
                "poolRef": { "name": MODELS },
                "rules": [{
                    "matches": [{ "model": { "type": "Exact", "value": "alias" } }],
                    "targets": [{ "modelRewrite": target }],
                }],
            });
            let started = apply(&scene, "InferenceModelRewrite", "alias", &spec).await?;
            replicas.rewrite(("alias", target), started).await?;
        }
        let url = format!("{}/v1/completions", scene.gateway().await?);
        let body = json!({ "model": "alias", "prompt": "through the gateway", "max_tokens": 1 });
        let response = scene.client.post(&url, body.to_string()).await?.ok()?.json()?;
        ensure!(response["model"] == "alias", "the client asked for alias and got {}", response["model"]);
        let started = Instant::now();
        scene.kubectl(&["delete", "inferenceobjective/urgent", "inferencemodelrewrite/alias"]).await?;
        decide_with_priority(&scene, &replicas, 0, started).await?;
        replicas.rewrite(("alias", "alias"), started).await?;
        requests::all_are_served(load, Instant::now()).await
    })
}

/// Deploys model servers with two ports, installs the chart, and starts load.
async fn start(scene: &Scene, servers: usize) -> anyhow::Result<(Replicas, Load)> {
    scene.deploy_models(MODELS, servers, &["--speed", "100", "--pods", "2"]).await?;
    let mut values = Scene::values();
    values["epp"]["flags"] = Replicas::flags();
    scene.install(&values).await?;
    scene.first_request().await?;
    let replicas = Replicas::find(scene).await?;
    replicas.see("the first endpoints", Instant::now(), |endpoints| endpoints.are(servers)).await?;
    Ok((replicas, scene.start_load().await?))
}

/// Scales the Deployment. Time counts from when the last new pod is ready, or from the command when there are fewer.
async fn scale(scene: &Scene, replicas: &Replicas, servers: usize) -> anyhow::Result<()> {
    let before = model_servers(scene).await?.len();
    let mut started = Instant::now();
    scene.scale_models(MODELS, servers).await?;
    if servers > before {
        scene.cluster.wait_for_ready(NAMESPACE, "app=models", servers).await?;
        started = Instant::now();
    }
    let what = format!("{before} -> {servers} pods");
    replicas.see(&what, started, |endpoints| endpoints.open.len() == servers).await?;
    scene.cluster.wait_for_ready(NAMESPACE, "app=models", servers).await?;
    let what = format!("the pods that {what} removed are gone");
    replicas.see(&what, Instant::now(), |endpoints| endpoints.are(servers)).await?;
    Ok(())
}

/// Deletes a pod: it drains, is visible until it is gone, and its successor takes over.
async fn delete_pod(scene: &Scene, replicas: &Replicas) -> anyhow::Result<()> {
    let all = model_servers(scene).await?;
    let endpoint = endpoint(&all[0])?;
    let started = Instant::now();
    scene.kubectl(&["delete", "--wait=false", "pod", pods::name(&all[0])?]).await?;
    let is_draining = |endpoints: &Endpoints| endpoints.draining.contains(&endpoint);
    replicas.see("a deleted pod drains", started, is_draining).await?;
    scene.cluster.wait_for_ready(NAMESPACE, "app=models", all.len()).await?;
    let is_replaced = |endpoints: &Endpoints| endpoints.are(all.len()) && !endpoints.open.contains(&endpoint);
    replicas.see("a deleted pod is replaced", Instant::now(), is_replaced).await?;
    Ok(())
}

/// Makes the readiness probe of a pod fail, and succeed again. Time counts from the pod's status.
async fn lose_readiness(scene: &Scene, replicas: &Replicas) -> anyhow::Result<()> {
    let all = model_servers(scene).await?;
    let (pod, endpoint) = (&all[0], endpoint(&all[0])?);
    let address = pod["status"]["podIP"].as_str().context("the pod has no address")?;
    for unhealthy in [true, false] {
        let faults = json!({ "unhealthy": unhealthy });
        scene.client.post(&format!("http://{address}:8000/admin/faults"), faults.to_string()).await?.ok()?;
        let has_status = async || {
            let pods = model_servers(scene).await?;
            let now = pods.iter().find(|other| other["metadata"]["name"] == pod["metadata"]["name"]);
            ensure!(is_ready(now.context("the pod is gone")?) != unhealthy, "its status is as before");
            Ok(())
        };
        eventually("the pod's status follows its probe", has_status).await?;
        let what = if unhealthy { "a pod is not ready" } else { "the pod is ready again" };
        let is_seen = |endpoints: &Endpoints| endpoints.open.contains(&endpoint) != unhealthy;
        replicas.see(what, Instant::now(), is_seen).await?;
    }
    Ok(())
}

/// Adds a second target port, and removes it.
async fn change_ports(scene: &Scene, replicas: &Replicas) -> anyhow::Result<()> {
    let servers = model_servers(scene).await?.len();
    for ports in [json!([{ "number": 8000 }, { "number": 8001 }]), json!([{ "number": 8000 }])] {
        let count = ports.as_array().map_or(0, Vec::len);
        let started = patch_pool(scene, &json!({ "targetPorts": ports })).await?;
        let what = format!("{count} target ports");
        replicas.see(&what, started, |endpoints| endpoints.open.len() == servers * count).await?;
    }
    Ok(())
}

/// Selects the pods of another Deployment.
async fn change_selector(scene: &Scene, replicas: &Replicas) -> anyhow::Result<()> {
    scene.deploy_models("others", 2, &["--speed", "100"]).await?;
    let selector = json!({ "selector": { "matchLabels": { "app": "others" } } });
    let started = patch_pool(scene, &selector).await?;
    let are_others = |endpoints: &Endpoints| {
        endpoints.open.len() == 2 && endpoints.open.iter().all(|endpoint| endpoint.starts_with("others-"))
    };
    replicas.see("another selector", started, are_others).await?;
    let served = scene.first_request().await?;
    ensure!(served.starts_with("others-"), "{served} served a request");
    Ok(())
}

/// Changes fields of the pool's spec, and returns when.
async fn patch_pool(scene: &Scene, spec: &Value) -> anyhow::Result<Instant> {
    let patch = json!({ "spec": spec }).to_string();
    let started = Instant::now();
    scene.kubectl(&["patch", POOL, "--type", "merge", "--patch", &patch]).await?;
    Ok(started)
}

/// Creates or changes an object of the API group `llm-d.ai`, and returns when.
async fn apply(scene: &Scene, kind: &str, name: &str, spec: &Value) -> anyhow::Result<Instant> {
    let metadata = json!({ "name": name, "namespace": NAMESPACE });
    let object =
        json!({ "apiVersion": "llm-d.ai/v1alpha2", "kind": kind, "metadata": metadata, "spec": spec });
    let started = Instant::now();
    scene.cluster.kubectl().apply(&object.to_string()).await?;
    Ok(started)
}

/// Sends requests that name the objective `urgent` until every replica decides on one with `priority`.
async fn decide_with_priority(
    scene: &Scene,
    replicas: &Replicas,
    priority: i64,
    started: Instant,
) -> anyhow::Result<()> {
    let send = async || requests::probe(scene, Some("urgent")).await;
    replicas.decide_with_priority(priority, started, send).await
}

async fn model_servers(scene: &Scene) -> anyhow::Result<Vec<Value>> {
    scene.cluster.pods(NAMESPACE, "app=models").await
}

/// Returns the name of a pod's first endpoint.
fn endpoint(pod: &Value) -> anyhow::Result<String> {
    Ok(format!("{}-rank-0", pods::name(pod)?))
}
