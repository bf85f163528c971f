//! Requests through the gateway.

use std::time::Instant;

use anyhow::ensure;
use http::Method;
use signalbox_integration::{CompletionRequest, Load, Upload};
use signalbox_kubernetes_tests::Scene;

use crate::replicas::PROBE_TOKENS;

/// Stops the load and checks that no request failed. Failures are described by the time since `fault`.
pub(crate) async fn all_are_served(load: Load, fault: Instant) -> anyhow::Result<()> {
    let result = load.stop().await?;
    let failures: Vec<String> = result.failures.iter().map(|failure| failure.describe(fault)).collect();
    println!("{} requests, {} failed, the slowest {:?}", result.requests, failures.len(), result.slowest);
    ensure!(result.requests > 100 && failures.is_empty(), "{}", failures.join("\n"));
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
