//! The life of a release: installed, upgraded, uninstalled.

use std::time::Instant;

use anyhow::ensure;
use serde_json::json;
use signalbox_kubernetes_tests::{Scene, sandboxed};

#[test]
fn release_is_installed_upgraded_under_load_and_uninstalled() -> anyhow::Result<()> {
    sandboxed("release::release_is_installed_upgraded_under_load_and_uninstalled", async |dir| {
        let scene = Scene::start(dir).await?;
        scene.deploy_models("models", 2, &["--speed", "100"]).await?;
        let started = Instant::now();
        let mut values = Scene::values();
        scene.install(&values).await?;
        println!("helm install: {:.1} s", started.elapsed().as_secs_f64());
        let served = scene.first_request().await?;
        println!("first request, served by {served}: {:.1} s", started.elapsed().as_secs_f64());

        let load = scene.start_load().await?;
        values["epp"]["flags"] = json!({ "retry-after": 2 });
        for component in ["aggregator", "collector"] {
            values[component]["podAnnotations"] = json!({ "revision": "2" });
        }
        let started = Instant::now();
        scene.upgrade(&values).await?;
        println!("helm upgrade: {:.1} s", started.elapsed().as_secs_f64());
        let result = load.stop().await?;
        let failures: Vec<String> = result.failures.iter().map(|failure| failure.describe(started)).collect();
        println!("{} requests, {} failed, the slowest {:?}", result.requests, failures.len(), result.slowest);
        ensure!(result.requests > 100 && failures.is_empty(), "{}", failures.join("\n"));

        scene.uninstall().await?;
        Ok(())
    })
}
