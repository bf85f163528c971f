//! The real autoscalers of Kubernetes, which follow what the aggregators say. They run the manifests in `docs/AUTOSCALING.md`.

mod long_prompts;
mod manifests;

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use signalbox_integration::eventually;
use signalbox_kubernetes_tests::{NAMESPACE, Scene, sandboxed};

use self::long_prompts::LongPrompts;
use self::manifests::manifest;
use crate::owner::Owners;
use crate::{pods, requests};

/// The Deployment and the pool, as the manifests call them.
const MODELS: &str = "llama3";

/// The metric of the pool, as the API server serves it.
const DESIRED: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/inference/\
                       inferencepools.inference.networking.k8s.io/llama3/signalbox_desired_replicas";

#[test]
fn hpa_follows_the_load_to_zero_and_back() -> anyhow::Result<()> {
    sandboxed("autoscaling::hpa_follows_the_load_to_zero_and_back", async |dir| {
        let scene = Scene::start(dir).await?;
        start(&scene, &json!({ "hpa": { "enabled": true } })).await?;
        eventually("the API server reaches the aggregators", async || desired(&scene).await).await?;
        check_rights(&scene).await?;
        scene.cluster.kubectl().apply_in(NAMESPACE, &manifest("hpa")?).await?;
        follow(&scene).await?;
        // From Kubernetes 1.37 on, the HPA scales to zero.
        scene.kubectl(&["patch", "hpa", MODELS, "--patch", r#"{"spec":{"minReplicas":0}}"#]).await?;
        sleep_and_wake(&scene).await
    })
}

#[test]
fn keda_follows_the_load_to_zero_and_back() -> anyhow::Result<()> {
    sandboxed("autoscaling::keda_follows_the_load_to_zero_and_back", async |dir| {
        let scene = Scene::start(dir).await?;
        // Before the chart, which has objects of KEDA.
        scene.cluster.install_keda().await?;
        start(&scene, &json!({ "keda": { "enabled": true } })).await?;
        scene.cluster.kubectl().apply_in(NAMESPACE, &manifest("keda")?).await?;
        let ready = ["wait", "scaledobject", MODELS, "--for=condition=Ready", "--timeout=10s"];
        eventually("KEDA takes the ScaledObject", async || scene.kubectl(&ready).await).await?;
        follow(&scene).await?;
        sleep_and_wake(&scene).await
    })
}

/// Installs the chart with these autoscalers, and model servers that soon have enough to do.
async fn start(scene: &Scene, autoscalers: &Value) -> anyhow::Result<()> {
    scene.deploy_models(MODELS, 1, &["--prefill-tokens-per-second", "8000"]).await?;
    let mut values = Scene::values();
    values["pools"][0]["name"] = json!(MODELS);
    values["pools"][0]["modelServers"]["matchLabels"] = json!({ "app": MODELS });
    values["autoscaling"] = autoscalers.clone();
    values["epp"]["flags"] = json!({ "flow-control": "on" });
    values["aggregator"]["flags"] = json!({ "scale-down-after": "10s", "scale-to-zero-after": "20s" });
    scene.install(&values).await?;
    scene.first_request().await?;
    long_prompts::measure(&scene.client, &scene.gateway().await?).await
}

/// More servers for load, while the owner changes, and fewer after it. No request is lost.
async fn follow(scene: &Scene) -> anyhow::Result<()> {
    let load = LongPrompts::start(scene.client.clone(), &scene.gateway().await?);
    let started = Instant::now();
    wait_for("more servers", scene, |replicas| replicas >= 2).await?;
    println!("scaled up after {:.1} s of load", started.elapsed().as_secs_f64());
    change_owner(scene, &load).await?;
    let served = load.stop().await?;
    println!("{served} requests were served");
    let ended = Instant::now();
    wait_for("one server is enough", scene, |replicas| replicas <= 1).await?;
    println!("scaled down {:.1} s after the load", ended.elapsed().as_secs_f64());
    Ok(())
}

/// Kills the owner of the pool in the middle of the load. The number of replicas that is asked for must not fall.
async fn change_owner(scene: &Scene, load: &LongPrompts) -> anyhow::Result<()> {
    let owners = Owners::find(scene).await?;
    let owner = owners.settled().await?;
    let (epoch, before, sent) = (owners.epoch().await?, replicas(scene).await?, load.sent());
    let killed = Instant::now();
    scene.cluster.nodes.kill(NAMESPACE, pods::name(owner)?)?;
    let mut lowest = before;
    let mut look = async || {
        let now = replicas(scene).await?;
        lowest = lowest.min(now);
        anyhow::Ok(now)
    };
    eventually("the next owner is heard", async || {
        look().await?;
        let heard = owners.epoch().await?;
        ensure!(heard > epoch, "a replica hears epoch {heard}");
        Ok(())
    })
    .await?;
    println!("the next owner is heard after {:.1} s", killed.elapsed().as_secs_f64());
    eventually("some time passes under load", async || {
        look().await?;
        ensure!(load.sent() >= sent + 60, "{} requests were sent", load.sent());
        Ok(())
    })
    .await?;
    ensure!(lowest >= before, "fell from {before} to {lowest} replicas");
    Ok(())
}

/// No server when nothing happens, and one as soon as a request waits, which is served.
async fn sleep_and_wake(scene: &Scene) -> anyhow::Result<()> {
    let idle = Instant::now();
    wait_for("no server", scene, |replicas| replicas == 0).await?;
    println!("scaled to zero {:.1} s later", idle.elapsed().as_secs_f64());
    scene.cluster.wait_for_ready(NAMESPACE, &format!("app={MODELS}"), 0).await?;
    let asked = Instant::now();
    let served = requests::probe(scene, None);
    let woken = async {
        wait_for("a server starts", scene, |replicas| replicas >= 1).await?;
        println!("scaled from zero {:.2} s after a request", asked.elapsed().as_secs_f64());
        anyhow::Ok(())
    };
    let (served, woken) = tokio::join!(served, woken);
    woken?;
    served.context("the request that waited")?;
    println!("the request was served after {:.1} s", asked.elapsed().as_secs_f64());
    Ok(())
}

/// Checks that the HPA may read the metrics, and other accounts may not.
async fn check_rights(scene: &Scene) -> anyhow::Result<()> {
    let read = async |namespace: &str, account: &str| {
        let kubeconfig = scene.cluster.control_plane.kubeconfig_of(namespace, account).await?;
        let kubeconfig = kubeconfig.to_str().context("the path of the test is not UTF-8")?;
        scene.kubectl(&["--kubeconfig", kubeconfig, "get", "--raw", DESIRED]).await
    };
    read("kube-system", "horizontal-pod-autoscaler").await?;
    let refused = read(NAMESPACE, "default").await.err().context("anyone may read the metrics")?.to_string();
    ensure!(refused.contains("may not read") || refused.contains("orbidden"), "{refused}");
    let unknown = scene.kubectl(&["get", "--raw", &DESIRED.replace("/llama3/", "/other/")]).await;
    let unknown = unknown.err().context("there is a pool of another name")?.to_string();
    ensure!(unknown.contains("this server knows: llama3"), "{unknown}");
    Ok(())
}

/// Returns how many replicas the pool should have, as the API server passes it on.
async fn desired(scene: &Scene) -> anyhow::Result<u64> {
    let list: Value = serde_json::from_str(&scene.kubectl(&["get", "--raw", DESIRED]).await?)?;
    let [item] = &list["items"].as_array().context("no items")?[..] else { bail!("not one item: {list}") };
    ensure!(item["describedObject"]["name"] == MODELS, "{item}");
    Ok(item["value"].as_str().context("no value")?.parse()?)
}

/// Returns how many replicas the Deployment is to have.
async fn replicas(scene: &Scene) -> anyhow::Result<u64> {
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{MODELS}");
    let deployment = scene.cluster.api.get(&path).await?.context("the Deployment is gone")?;
    deployment["spec"]["replicas"].as_u64().context("no replicas")
}

/// Waits, for longer than one load takes, until the Deployment is to have such a number of replicas.
async fn wait_for(what: &str, scene: &Scene, is_met: fn(u64) -> bool) -> anyhow::Result<()> {
    let check = async || {
        let replicas = replicas(scene).await?;
        ensure!(is_met(replicas), "{replicas} replicas");
        Ok(())
    };
    let started = Instant::now();
    loop {
        match eventually(what, check).await {
            Err(_) if started.elapsed() < Duration::from_secs(150) => {}
            met => return met,
        }
    }
}
