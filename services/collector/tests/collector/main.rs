//! The collector between model servers on one side and an aggregator on the other, all over real sockets.
#![allow(clippy::unwrap_used)] // it is all tests

mod aggregator;
mod assignments;
mod bad_pages;
mod model_server;
mod process;
mod reports;
mod streams;

use std::net::SocketAddr;
use std::time::Duration;

use signalbox_collector::{Collector, CollectorConfig, CollectorHandle, ScrapeConfig};
use signalbox_state::AssignedEndpoint;
use signalbox_types::{EndpointKey, Engine, Generation};

use crate::model_server::ModelServer;

/// How long a condition is waited for that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a collector that reports to these aggregators. What is unreadable for a moment on a busy machine is not stale yet.
async fn collector(aggregators: &[SocketAddr]) -> CollectorHandle {
    collector_with(
        aggregators,
        ScrapeConfig { stale_after: PATIENCE, deadline: PATIENCE, ..ScrapeConfig::default() },
    )
    .await
}

async fn collector_with(aggregators: &[SocketAddr], scrape: ScrapeConfig) -> CollectorHandle {
    let config = CollectorConfig {
        name: "under-test".to_owned(),
        pool: None,
        aggregators: aggregators.iter().copied().map(Into::into).collect(),
        coordinator: None,
        lease_ttl: PATIENCE,
        security: signalbox_tls::Security::Local,
        scrape,
        metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    Collector::start(config, "--metrics-port").await.unwrap()
}

fn assigned(name: &str, generation: u64, server: &ModelServer) -> AssignedEndpoint {
    AssignedEndpoint {
        endpoint: EndpointKey::of(name),
        generation: Generation(generation),
        name: name.to_owned(),
        metrics_url: server.url(),
        engine: Engine::Vllm,
    }
}
