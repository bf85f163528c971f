//! The collector between fake model servers and a fake aggregator, over real sockets.
#![allow(clippy::unwrap_used)] // test code only

mod assignments;
mod fake_aggregator;
mod fake_model_server;
mod https_pages;
mod invalid_pages;
mod odd_servers;
mod process;
mod reports;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use signalbox_collector::{Collector, CollectorConfig, CollectorHandle, FollowedPools, ScrapeConfig};
use signalbox_state::AssignedEndpoint;
use signalbox_tls::PageTls;
use signalbox_types::{EndpointKey, Engine, Generation, MetricsTls};

use crate::fake_model_server::FakeModelServer;

/// Time limit for conditions that must come true.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts a collector that reports to these aggregators. Its timeouts are long, so that values do not become
/// stale on a busy machine.
async fn start_collector(aggregators: &[SocketAddr]) -> CollectorHandle {
    start_collector_with(
        aggregators,
        ScrapeConfig { stale_after: TIMEOUT, timeout: TIMEOUT, ..ScrapeConfig::default() },
    )
    .await
}

async fn start_collector_with(aggregators: &[SocketAddr], scrape: ScrapeConfig) -> CollectorHandle {
    start_collector_trusting(PageTls::default(), aggregators, scrape).await
}

async fn start_collector_trusting(
    page_tls: PageTls,
    aggregators: &[SocketAddr],
    scrape: ScrapeConfig,
) -> CollectorHandle {
    let config = CollectorConfig {
        name: "under-test".to_owned(),
        pools: FollowedPools::One(None),
        aggregators: aggregators.iter().copied().map(Into::into).collect(),
        coordinator: None,
        lease_ttl: TIMEOUT,
        security: signalbox_tls::Security::Local,
        scrape,
        page_tls: Arc::new(page_tls),
        metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    Collector::start(config, "--metrics-port").await.unwrap()
}

fn assigned(name: &str, generation: u64, server: &FakeModelServer) -> AssignedEndpoint {
    AssignedEndpoint {
        endpoint: EndpointKey::of(name),
        generation: Generation(generation),
        name: name.to_owned(),
        metrics_url: server.url(),
        engine: Engine::Vllm,
        metrics_tls: MetricsTls::Verified,
    }
}
