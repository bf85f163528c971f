//! Who owns what while the collector runs.
//!
//! ```text
//! Root                      the assignment in force
//! ├ PodSupervisor           which model servers are read; a pod set watcher of its own would have nothing to do
//! │ └ PodCollector × pod    what is known of one of them
//! └ Uplink                  the stream to an aggregator
//! ```

mod pod_collector;
mod pod_supervisor;
mod root;
mod uplink;

pub(crate) use root::Root;

use std::sync::Arc;

use signalbox_types::PeerAddress;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::CollectorConfig;
use crate::link::HighestEpoch;
use crate::metrics::Metrics;
use crate::outbox::Outbox;

/// What every actor of one collector shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: CollectorConfig,
    /// All that are known at the moment.
    pub(crate) aggregators: watch::Receiver<Vec<PeerAddress>>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) outbox: Outbox,
    pub(crate) epoch: HighestEpoch,
}

/// What the tests of several actors begin with.
#[cfg(test)]
mod fixtures {
    use std::sync::Arc;

    use signalbox_state::AssignedEndpoint;
    use signalbox_types::{EndpointKey, Engine, Generation};

    use super::Shared;
    use crate::clock::Clock;
    use crate::config::{CollectorConfig, ScrapeConfig};
    use crate::link::HighestEpoch;
    use crate::outbox::Outbox;

    /// A collector whose aggregator is not there.
    pub(super) fn shared() -> Arc<Shared> {
        let config = CollectorConfig {
            name: "under-test".to_owned(),
            pool: None,
            aggregators: Vec::new(),
            coordinator: None,
            lease_ttl: std::time::Duration::from_secs(2),
            security: signalbox_tls::Security::Local,
            scrape: ScrapeConfig::default(),
            metrics_listen: ([127, 0, 0, 1], 0).into(),
        };
        let (clock, outbox, epoch) = (Clock::start(), Outbox::default(), HighestEpoch::default());
        let aggregators = tokio::sync::watch::channel(vec!["127.0.0.1:1".parse().unwrap()]).1;
        Arc::new(Shared { config, aggregators, clock, metrics: Arc::default(), outbox, epoch })
    }

    /// A model server that is not there.
    pub(super) fn assigned(name: &str) -> AssignedEndpoint {
        AssignedEndpoint {
            endpoint: EndpointKey::of(name),
            generation: Generation(1),
            name: name.to_owned(),
            metrics_url: "http://127.0.0.1:1/metrics".to_owned(),
            engine: Engine::Vllm,
        }
    }
}
