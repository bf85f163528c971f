//! Signalbox's own pods and nodes that fail under load.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use signalbox_integration::eventually;
use signalbox_kubernetes_tests::{NAMESPACE, NODES, RELEASE, Scene, sandboxed};

use crate::owner::Owners;
use crate::{pods, requests};

/// The services of which every pod is killed and evicted. A proxy that is killed takes its clients' requests along.
const SERVICES: [&str; 3] = ["epp", "aggregator", "collector"];

#[test]
fn every_pod_is_killed_and_evicted_under_load() -> anyhow::Result<()> {
    sandboxed("faults::every_pod_is_killed_and_evicted_under_load", async |dir| {
        let scene = Scene::start(dir).await?;
        scene.deploy_models("models", 2, &["--speed", "100"]).await?;
        let mut values = Scene::values();
        // Envoy cannot repeat a response that breaks with the replica through which it passes.
        values["proxy"]["responses"] = json!("access-log");
        scene.install(&values).await?;
        scene.first_request().await?;
        let (load, started) = (scene.start_load().await?, Instant::now());
        for service in SERVICES {
            kill(&scene, service).await.with_context(|| format!("kill each {service}"))?;
            println!("each {service} was killed: {:.1} s", started.elapsed().as_secs_f64());
        }
        requests::all_are_served(load, started).await?;
        let (load, started) = (scene.start_load().await?, Instant::now());
        for service in SERVICES {
            evict(&scene, service).await.with_context(|| format!("evict each {service}"))?;
            println!("each {service} was evicted: {:.1} s", started.elapsed().as_secs_f64());
        }
        requests::all_are_served(load, started).await
    })
}

/// Kills the pods of a service, the next one when the previous one is ready again.
async fn kill(scene: &Scene, service: &str) -> anyhow::Result<()> {
    for pod in scene.component(service).await? {
        scene.cluster.nodes.kill(NAMESPACE, pods::name(&pod)?)?;
        pods::is_back(scene, &pod).await?;
    }
    Ok(())
}

/// Evicts the pods of a service. The budget refuses the second while the first has no successor.
async fn evict(scene: &Scene, service: &str) -> anyhow::Result<()> {
    let pods = scene.component(service).await?;
    let names = pods.iter().map(pods::name).collect::<anyhow::Result<Vec<_>>>()?;
    let [first, second] = names[..] else { anyhow::bail!("not two pods, but {names:?}") };
    scene.cluster.evict(NAMESPACE, first).await?;
    let refused = scene.cluster.evict(NAMESPACE, second).await;
    let refused = refused.err().context("both pods were evicted at a time")?.to_string();
    let budget = format!("The disruption budget {RELEASE}-{service} needs 1 healthy pods");
    ensure!(refused.contains("429") && refused.contains(&budget), "{refused}");
    println!("{refused}");
    eventually("the budget allows the second eviction", async || {
        scene.cluster.evict(NAMESPACE, second).await
    })
    .await?;
    let label = format!("app.kubernetes.io/component={service}");
    let successors = scene.cluster.wait_for_ready(NAMESPACE, &label, names.len()).await?;
    let is_old = |pod: &Value| pods::name(pod).is_ok_and(|name| names.contains(&name));
    ensure!(!successors.iter().any(is_old), "an evicted pod is ready");
    Ok(())
}

#[test]
fn owner_is_killed_and_its_node_is_lost_under_load() -> anyhow::Result<()> {
    sandboxed("faults::owner_is_killed_and_its_node_is_lost_under_load", async |dir| {
        let scene = Scene::start(dir).await?;
        scene.deploy_models("models", 2, &["--speed", "100"]).await?;
        scene.install(&Scene::values()).await?;
        leave_nodes_to_aggregators(&scene).await?;
        scene.first_request().await?;
        let owners = Owners::find(&scene).await?;
        let (load, started) = (scene.start_load().await?, Instant::now());

        for _ in 0..2 {
            let owner = owners.settled().await?;
            let (epoch, killed) = (owners.epoch().await?, Instant::now());
            scene.cluster.nodes.kill(NAMESPACE, pods::name(owner)?)?;
            owners.next(epoch, ("the owner is killed", killed)).await?;
            pods::is_back(&scene, owner).await?;
        }

        let owner = owners.settled().await?;
        let (epoch, lost) = (owners.epoch().await?, Instant::now());
        scene.cluster.nodes.disconnect(pods::node(owner)?).await?;
        owners.next(epoch, ("the owner's node is lost", lost)).await?;
        scene.cluster.nodes.reconnect(pods::node(owner)?).await?;
        let next = owners.settled().await?;
        ensure!(pods::name(next)? != pods::name(owner)?, "the owner that was lost took the pool back");
        requests::all_are_served(load, started).await
    })
}

/// Moves everything else away from the nodes of the aggregators: a model server or a proxy that is lost takes requests
/// along that no picker can save.
async fn leave_nodes_to_aggregators(scene: &Scene) -> anyhow::Result<()> {
    let aggregators = scene.component("aggregator").await?;
    let nodes = aggregators.iter().map(pods::node).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(nodes[0] != nodes[1] && nodes.len() < NODES.len(), "the aggregators are on {nodes:?}");
    nodes.iter().for_each(|node| scene.cluster.nodes.cordon(node));
    for label in ["app=models", "app.kubernetes.io/component in (epp, collector, proxy)"] {
        scene.kubectl(&["delete", "pods", "--selector", label, "--force", "--grace-period=0"]).await?;
    }
    scene.cluster.wait_for_ready(NAMESPACE, "app=models", 2).await?;
    for service in ["epp", "collector", "proxy"] {
        let label = format!("app.kubernetes.io/component={service}");
        for pod in scene.cluster.wait_for_ready(NAMESPACE, &label, 2).await? {
            ensure!(!nodes.contains(&pods::node(&pod)?), "{service} is still on a node of an aggregator");
        }
    }
    Ok(())
}
