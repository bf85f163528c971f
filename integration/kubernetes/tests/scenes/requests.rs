//! Requests through the gateway.

use std::time::Instant;

use anyhow::ensure;
use http::Method;
use signalbox_integration::{CompletionRequest, Load, Upload, eventually};
use signalbox_kubernetes_tests::Scene;

use crate::replicas::PROBE_TOKENS;

/// How many requests a load has sent before it says anything.
const ENOUGH_REQUESTS: u64 = 100;

/// Stops the load once it has sent enough requests, and checks that none failed. Failures are described by the time since `fault`.
pub(crate) async fn all_are_served(load: Load, fault: Instant) -> anyhow::Result<()> {
    eventually("the load has sent enough requests", async || {
        ensure!(load.sent() >= ENOUGH_REQUESTS, "only {} requests were sent", load.sent());
        Ok(())
    })
    .await?;
    let result = load.stop().await?;
    let failures: Vec<String> = result.failures.iter().map(|failure| failure.describe(fault)).collect();
    println!("{} requests, {} failed, the slowest {:?}", result.requests, failures.len(), result.slowest);
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Sends a request with [`PROBE_TOKENS`], and with the objective if there is one.
pub(crate) async fn probe(scene: &Scene, objective: Option<&str>) -> anyhow::Result<()> {
    let url = format!("{}/v1/completions", scene.gateway().await?);
    let request = CompletionRequest { max_tokens: Some(PROBE_TOKENS), ..CompletionRequest::small(7) };
    let headers: Vec<_> = objective.map(|name| ("x-llm-d-inference-objective", name)).into_iter().collect();
    scene.client.send_with(Method::POST, &url, &headers, (request.body(), Upload::Whole)).await?.ok()?;
    Ok(())
}
