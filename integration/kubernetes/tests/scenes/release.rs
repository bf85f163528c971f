//! The life of a release: installed, upgraded, uninstalled.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::ensure;
use serde_json::json;
use signalbox_integration::eventually;
use signalbox_kubernetes_tests::{Scene, sandboxed};

use crate::requests;

#[test]
fn release_is_installed_upgraded_under_load_and_uninstalled() -> anyhow::Result<()> {
    sandboxed("release::release_is_installed_upgraded_under_load_and_uninstalled", async |dir| {
        let scene = Scene::start(dir).await?;
        scene.deploy_models("models", 2, &["--speed", "100"]).await?;
        let before = objects(&scene).await?;
        let started = Instant::now();
        let mut values = Scene::values();
        scene.install(&values).await?;
        println!("helm install: {:.1} s", started.elapsed().as_secs_f64());
        let served = scene.first_request().await?;
        println!("first request, served by {served}: {:.1} s", started.elapsed().as_secs_f64());

        let load = scene.start_load().await?;
        values["epp"]["flags"] = json!({ "retry-after": 2 });
        for component in ["aggregator", "collector", "proxy"] {
            values[component]["podAnnotations"] = json!({ "revision": "2" });
        }
        let started = Instant::now();
        scene.upgrade(&values).await?;
        println!("helm upgrade: {:.1} s", started.elapsed().as_secs_f64());
        requests::all_are_served(load, started).await?;

        ensure!(objects(&scene).await?.len() > before.len() + 30, "the release has hardly any objects");
        scene.uninstall().await?;
        eventually("nothing of the release is left", async || {
            let objects = objects(&scene).await?;
            let (left, lost) = (objects.difference(&before), before.difference(&objects));
            let changes: Vec<&String> = left.chain(lost).collect();
            ensure!(changes.is_empty(), "new or missing: {changes:?}");
            Ok(())
        })
        .await
    })
}

/// Returns the kind, namespace and name of every object of the cluster, of every kind that can be listed. Events expire
/// by themselves.
async fn objects(scene: &Scene) -> anyhow::Result<BTreeSet<String>> {
    let resources = scene.kubectl(&["api-resources", "--verbs=list", "--output=name"]).await?;
    let resources = resources.lines().filter(|name| !name.starts_with("events"));
    let resources: Vec<&str> = resources.collect();
    let columns = "--output=custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    let get = ["get", &resources.join(","), "--all-namespaces", "--no-headers", columns];
    Ok(scene
        .kubectl(&get)
        .await?
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect())
}
