//! The API server goes away, forgets, and comes back with an older history, under load.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::StatusCode;
use serde_json::json;
use signalbox_integration::{TestDir, eventually};
use signalbox_kubernetes_tests::{NAMESPACE, Scene, metrics_address, sandboxed};

use crate::owner::Owners;
use crate::replicas::{Endpoints, Replicas};
use crate::{pods, requests};

/// How long the API server is away.
const OUTAGE: Duration = Duration::from_secs(60);

/// How long nothing else happens meanwhile: several times as long as a Lease of an aggregator is valid.
const QUIET: Duration = Duration::from_secs(25);

const MODELS: &str = "models";

#[test]
fn api_server_is_away_and_returns_with_an_older_history_under_load() -> anyhow::Result<()> {
    let test = "api_server::api_server_is_away_and_returns_with_an_older_history_under_load";
    sandboxed(test, async |dir| {
        let mut scene = Scene::start(dir).await?;
        scene.deploy_models(MODELS, 2, &["--speed", "100"]).await?;
        let mut values = Scene::values();
        values["epp"]["flags"] = Replicas::flags();
        scene.install(&values).await?;
        scene.first_request().await?;
        let (load, started) = (scene.start_load().await?, Instant::now());
        be_away(&mut scene, dir).await?;
        rewind(&mut scene, dir).await?;
        requests::all_are_served(load, started).await
    })
}

/// Stops the API server. The owner is killed while it is away, and nobody can take the pool.
async fn be_away(scene: &mut Scene, dir: &TestDir) -> anyhow::Result<()> {
    let (replicas, owners) = (Replicas::find(scene).await?, Owners::find(scene).await?);
    let (owner, epoch) = (owners.settled().await?, owners.epoch().await?);
    let stopped = Instant::now();
    scene.cluster.control_plane.stop_api_server()?;
    scene.cluster.control_plane.forget_history().await?;
    notice(&owners).await?;
    tokio::time::sleep_until((stopped + QUIET).into()).await;
    owners.ensure_heard().await?;
    ensure!(owners.epoch().await? == epoch, "the pool has another owner");
    scene.cluster.nodes.kill(NAMESPACE, pods::name(owner)?)?;
    tokio::time::sleep_until((stopped + OUTAGE).into()).await;
    let has_both = |endpoints: &Endpoints| endpoints.open.len() == 2;
    replicas.see("the API server was away for a minute: both endpoints", Instant::now(), has_both).await?;
    let waiting = scene.client.get(&format!("http://{}/readyz", metrics_address(owner)?)).await?;
    println!("an aggregator that started meanwhile: {}", waiting.text()?);
    ensure!(waiting.status == StatusCode::SERVICE_UNAVAILABLE, "it is ready without a list of the pools");

    let started = Instant::now();
    scene.cluster.control_plane.start_api_server(dir).await?;
    let returned = Instant::now();
    println!("the API server started within {:.1} s", (returned - started).as_secs_f64());
    owners.next(epoch, ("the API server is back", returned)).await?;
    owners.settled().await?;
    let mut others = owners.aggregators.iter().filter(|other| *other != owner);
    let other = pods::name(others.next().context("there is one aggregator")?)?;
    dir.wait_for_log(&format!("{other}.aggregator"), &["the API server answers again"]).await?;
    scale(scene, &replicas, 3).await
}

/// Waits until every aggregator has noticed that the API server is away.
async fn notice(owners: &Owners) -> anyhow::Result<()> {
    eventually("the aggregators notice that the API server is away", async || {
        for aggregator in &owners.aggregators {
            let errors = owners.metrics(aggregator).await?.sum("signalbox_aggregator_watch_errors_total");
            ensure!(errors > Some(0.0), "an aggregator has noticed nothing");
        }
        Ok(())
    })
    .await
}

/// Restores the objects of an earlier moment. Pods stay, later changes are seen, and epochs still grow.
async fn rewind(scene: &mut Scene, dir: &TestDir) -> anyhow::Result<()> {
    let replicas = Replicas::find(scene).await?;
    let checkpoint = scene.cluster.control_plane.checkpoint()?;
    let metadata = json!({ "name": "urgent", "namespace": NAMESPACE });
    let spec = json!({ "priority": 7, "poolRef": { "name": MODELS } });
    let object = json!({
        "apiVersion": "llm-d.ai/v1alpha2", "kind": "InferenceObjective", "metadata": metadata, "spec": spec,
    });
    let changed = Instant::now();
    scene.cluster.kubectl().apply(&object.to_string()).await?;
    replicas.decide_with_priority(7, changed, async || requests::probe(scene, Some("urgent")).await).await?;
    kill_owner(scene, "after the checkpoint, the owner is killed").await?;

    let rewound = Instant::now();
    scene.cluster.control_plane.rewind(dir, &checkpoint).await?;
    println!("all objects are older after {:.1} s", rewound.elapsed().as_secs_f64());
    let returned = Instant::now();
    replicas.decide_with_priority(0, returned, async || requests::probe(scene, Some("urgent")).await).await?;
    let with_all = |endpoints: &Endpoints| endpoints.are(3);
    replicas.see("the history is older: all endpoints", returned, with_all).await?;
    kill_owner(scene, "with the older history, the owner is killed").await?;
    scale(scene, &replicas, 4).await
}

/// Kills the owner. The epoch grows, also when the objects know only an older one.
async fn kill_owner(scene: &Scene, what: &str) -> anyhow::Result<()> {
    let owners = Owners::find(scene).await?;
    let owner = owners.settled().await?;
    let (epoch, killed) = (owners.epoch().await?, Instant::now());
    scene.cluster.nodes.kill(NAMESPACE, pods::name(owner)?)?;
    owners.next(epoch, (what, killed)).await?;
    pods::is_back(scene, owner).await?;
    owners.settled().await?;
    Ok(())
}

async fn scale(scene: &Scene, replicas: &Replicas, servers: usize) -> anyhow::Result<()> {
    scene.scale_models(MODELS, servers).await?;
    scene.cluster.wait_for_ready(NAMESPACE, "app=models", servers).await?;
    let what = format!("{servers} pods");
    replicas.see(&what, Instant::now(), |endpoints| endpoints.are(servers)).await?;
    Ok(())
}
