//! The simulated model servers of `signalbox up`, and the pool of them.

mod autoscaler;
mod scaling;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use signalbox_aggregator::{PoolSet, PoolSource};
use signalbox_modelsim::{Fleet, FleetConfig, ModelConfig, ModelServer, PodConfig, adapter_names};
use signalbox_types::{EndpointSpec, Engine, MetricsTls, Models, Objective, PoolId, PoolSpec};
use tokio::sync::{Mutex, watch};

use super::args::UpArgs;

/// The simulators.
pub(super) struct Simulators {
    fleet: Mutex<Fleet>,
    pools: watch::Sender<PoolSet>,
    scale: watch::Sender<Scale>,
}

/// How many simulators there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scale {
    /// How many the autoscaler wants.
    pub(super) wanted: u16,
    pub(super) ready: usize,
    pub(super) starting: usize,
    pub(super) draining: usize,
}

impl Simulators {
    /// Starts as many as the flags say, or the lower bound of a range.
    pub(super) async fn start(args: &UpArgs) -> anyhow::Result<Self> {
        let model = ModelConfig {
            max_loras: args.simulator_max_loras,
            max_cpu_loras: args.simulator_max_cpu_loras,
            lora_disk_load_us: args.simulator_lora_load_ms.saturating_mul(1_000),
            ..ModelConfig::default()
        };
        let pod = PodConfig {
            name: "sim".to_owned(),
            loras: adapter_names(args.simulator_loras),
            model,
            prompt_tokens_details: true,
            speed: args.simulator_speed,
            ..PodConfig::default()
        };
        let config = FleetConfig { listen: args.simulator_listen, pods: args.simulators.min, pod };
        let fleet = Fleet::start(config).await;
        let fleet =
            fleet.context("cannot start the simulators; choose other ports with --simulator-listen")?;
        let pools = watch::Sender::new(pool(&fleet, |_| false));
        let scale = Scale { wanted: args.simulators.min, ready: fleet.servers().len(), ..Scale::default() };
        Ok(Self { fleet: Mutex::new(fleet), pools, scale: watch::Sender::new(scale) })
    }

    /// Returns the pool of all simulators.
    pub(super) fn source(&self) -> PoolSource {
        PoolSource::Watched(self.pools.subscribe())
    }

    /// Returns the addresses.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let pools = self.pools.borrow();
        let endpoints = pools.pools.values().flat_map(|pool| &pool.spec.endpoints);
        endpoints.map(|endpoint| endpoint.address).collect()
    }

    /// Returns how many there are.
    pub(super) fn scale(&self) -> Scale {
        *self.scale.borrow()
    }

    /// Stops all.
    pub(super) async fn stop(self) {
        self.fleet.into_inner().stop(Duration::ZERO).await;
    }
}

/// Returns the pool of a fleet.
fn pool(fleet: &Fleet, is_draining: impl Fn(&str) -> bool) -> PoolSet {
    let endpoint = |server: &ModelServer| EndpointSpec {
        name: server.name().to_owned(),
        address: server.address(),
        metrics_url: format!("http://{}/metrics", server.address()),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: is_draining(server.name()),
        metrics_tls: MetricsTls::Verified,
    };
    let spec = PoolSpec {
        id: pool_id(),
        endpoints: fleet.servers().map(endpoint).collect(),
        models: Arc::new(Models::new(objectives(), Vec::new())),
    };
    PoolSet::of(spec, None)
}

fn pool_id() -> PoolId {
    PoolId { namespace: "default".to_owned(), name: "simulated".to_owned() }
}

/// Returns the objectives of the pool: the tiers of `signalbox load --profile tiers`.
fn objectives() -> Vec<Objective> {
    let objective = |(name, priority): (&str, i32)| Objective { name: name.to_owned(), priority };
    [("critical", 10), ("standard", 0), ("sheddable", -10)].map(objective).into()
}
