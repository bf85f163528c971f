//! Setup for the tests of actors.

use std::sync::Arc;

use signalbox_peers::{Connections, FollowedPools};
use signalbox_state::AssignedEndpoint;
use signalbox_types::{EndpointKey, Engine, Generation, MetricsTls};

use crate::clock::Clock;
use crate::config::{CollectorConfig, ScrapeConfig};
use crate::highest_epoch::HighestEpoch;
use crate::outbox::Outbox;
use crate::shared::Shared;

/// Returns the state of a collector whose aggregator is unreachable.
pub(super) fn shared() -> Arc<Shared> {
    let config = CollectorConfig {
        name: "under-test".to_owned(),
        pools: FollowedPools::One(None),
        aggregators: Vec::new(),
        coordinator: None,
        lease_ttl: std::time::Duration::from_secs(2),
        security: signalbox_tls::Security::Local,
        scrape: ScrapeConfig::default(),
        page_tls: Arc::default(),
        metrics_listen: ([127, 0, 0, 1], 0).into(),
    };
    let (clock, outbox, highest_epoch) = (Clock::start(), Outbox::default(), HighestEpoch::default());
    let aggregators = tokio::sync::watch::channel(vec!["127.0.0.1:1".parse().unwrap()]).1;
    Arc::new(Shared {
        config: Arc::new(config),
        pool: None,
        aggregators,
        connections: Connections::new(signalbox_tls::Security::Local),
        clock,
        metrics: Arc::default(),
        outbox,
        highest_epoch,
    })
}

/// Returns an endpoint that is unreachable.
pub(super) fn assigned(name: &str) -> AssignedEndpoint {
    AssignedEndpoint {
        endpoint: EndpointKey::of(name),
        generation: Generation(1),
        name: name.to_owned(),
        metrics_url: "http://127.0.0.1:1/metrics".to_owned(),
        engine: Engine::Vllm,
        metrics_tls: MetricsTls::Verified,
    }
}
