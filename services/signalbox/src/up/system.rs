//! Starts and stops the components of `signalbox up` in the order of their dependencies. The components are
//! the same services that run as separate processes in production, and they communicate over the same
//! streams.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use signalbox_aggregator::{Aggregator, AggregatorConfig, PoolSource, endpoints_file};
use signalbox_collector::{Collector, CollectorConfig, CollectorHandle, FollowedPools, ScrapeConfig};
use signalbox_epp::{Epp, EppConfig, LoadedPolicy};
use signalbox_lease::{Coordinator, CoordinatorUrlError};
use signalbox_modelsim::{Fleet, FleetConfig, ModelConfig, PodConfig, adapter_names};
use signalbox_state::PoolConfig;
use signalbox_telemetry::{TraceSettings, listen, process_name};
use signalbox_tls::{Security, ServerTls, TlsParameters};
use signalbox_types::{EndpointSpec, Engine, MetricsTls, Models, Objective, PoolId, PoolSpec};

use super::args::{GatewayKind, UpArgs, nth_address};
use super::envoy::Envoy;
use crate::gateway::{Gateway, GatewayHandle, PickerTransport};

/// How long requests in flight have to finish after Ctrl-C.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Lease TTL: how long a component counts as alive after its last renewal.
const LEASE_TTL: Duration = Duration::from_secs(2);

/// How long the preferred aggregator must be alive before the owner hands the pool back to it.
const FAILBACK_AFTER: Duration = Duration::from_secs(30);

/// How long a pool that is gone is kept.
const POOL_DRAIN: Duration = Duration::from_secs(60);

/// The memory for the latest history at each aggregator.
const HISTORY_BYTES: usize = 64 << 20;

/// How long a replica has to get a view of the pool.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// All running components.
pub(super) struct System {
    pub(super) simulators: Option<Fleet>,
    pub(super) aggregators: Vec<Aggregator>,
    pub(super) collectors: Vec<CollectorHandle>,
    pub(super) epps: Vec<Epp>,
    pub(super) gateway: Option<RunningGateway>,
    /// Where the gateway listens, or another one should.
    pub(super) gateway_listen: SocketAddr,
    /// How gateways connect to the replicas.
    pub(super) picker_transport: PickerTransport,
}

/// The gateway of a running system.
pub(super) enum RunningGateway {
    Embedded(GatewayHandle),
    Envoy(Envoy),
}

impl RunningGateway {
    /// Returns the listen address.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Embedded(gateway) => gateway.address,
            Self::Envoy(envoy) => envoy.address,
        }
    }
}

impl System {
    /// Starts all components and waits until each replica has a view.
    pub(super) async fn start(args: &UpArgs) -> anyhow::Result<Self> {
        let loaded = args.policy.load()?;
        let tracing = TraceSettings::from_env("signalbox-epp")?;
        let (simulators, source) = match &args.endpoints {
            Some(path) => (None, {
                let pages = loaded.pages.clone();
                PoolSource::File(path.clone(), endpoints_file::read(path, &pages)?, pages)
            }),
            None => {
                let fleet = start_simulators(args).await?;
                let spec = simulated_pool(&fleet);
                (Some(fleet), PoolSource::Fixed(spec))
            }
        };
        let coordinator = coordinator(args)?;
        let aggregators = start_aggregators(args, &coordinator, &source).await?;
        let collectors = start_collectors(args, &coordinator).await?;
        let epps = start_epps(args, &loaded, tracing.as_ref(), &coordinator).await?;
        for epp in &epps {
            let ready = tokio::time::timeout(READY_TIMEOUT, epp.ready()).await;
            ready.context("an EPP replica did not get a view of the pool in time")?;
        }
        let picker_transport = args.picker_transport();
        let addresses: Vec<_> = epps.iter().filter_map(Epp::ext_proc_address).collect();
        let gateway = match args.gateway {
            GatewayKind::None => None,
            GatewayKind::Embedded => {
                let listener = listen(args.gateway_listen, "--gateway-listen").await?;
                Some(RunningGateway::Embedded(Gateway::start(listener, &addresses, picker_transport)?))
            }
            GatewayKind::Envoy => {
                let binary = args.envoy.as_deref().unwrap_or(Path::new("envoy"));
                let envoy = Envoy::start(binary, args.gateway_listen, &addresses, picker_transport).await?;
                Some(RunningGateway::Envoy(envoy))
            }
        };
        let gateway_listen = args.gateway_listen;
        Ok(Self { simulators, aggregators, collectors, epps, gateway, gateway_listen, picker_transport })
    }

    /// Drains: accepts nothing new, waits for requests in flight, and stops all components in reverse order.
    pub(super) async fn stop(self) {
        if let Some(RunningGateway::Embedded(gateway)) = self.gateway {
            gateway.shutdown(DRAIN_TIMEOUT).await;
        }
        for epp in self.epps {
            epp.stop().await;
        }
        for collector in self.collectors {
            collector.shutdown().await;
        }
        for aggregator in self.aggregators {
            aggregator.stop().await;
        }
        if let Some(simulators) = self.simulators {
            simulators.stop(Duration::ZERO).await;
        }
    }
}

async fn start_simulators(args: &UpArgs) -> anyhow::Result<Fleet> {
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
    let config = FleetConfig { listen: args.simulator_listen, pods: args.simulators, pod };
    let fleet = Fleet::start(config).await;
    fleet.context("cannot start the simulators; choose other ports with --simulator-listen")
}

fn simulated_pool(fleet: &Fleet) -> PoolSpec {
    let endpoint = |server: &signalbox_modelsim::ModelServer| EndpointSpec {
        name: server.name().to_owned(),
        address: server.address(),
        metrics_url: format!("http://{}/metrics", server.address()),
        engine: Engine::Vllm,
        labels: std::collections::BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    };
    let id = PoolId { namespace: "default".to_owned(), name: "simulated".to_owned() };
    PoolSpec {
        id,
        endpoints: fleet.servers().iter().map(endpoint).collect(),
        models: Arc::new(Models::new(simulated_objectives(), Vec::new())),
    }
}

/// Returns the objectives of the simulated pool: the tiers of `signalbox load --profile tiers`.
fn simulated_objectives() -> Vec<Objective> {
    let objective = |(name, priority): (&str, i32)| Objective { name: name.to_owned(), priority };
    [("critical", 10), ("standard", 0), ("sheddable", -10)].map(objective).into()
}

/// Returns the coordinator for all components.
fn coordinator(args: &UpArgs) -> Result<Coordinator, CoordinatorUrlError> {
    match args.coordinator.as_str() {
        "in-process" => Ok(Coordinator::in_process()),
        url => Coordinator::from_url(url),
    }
}

/// Returns the listen address of the instance with this index.
fn listen_address(first: SocketAddr, index: u16, flag: &str) -> anyhow::Result<SocketAddr> {
    nth_address(first, index, 10)
        .with_context(|| format!("{flag}: the port of instance {index} is above 65535; choose a lower port"))
}

async fn start_aggregators(
    args: &UpArgs,
    coordinator: &Coordinator,
    source: &PoolSource,
) -> anyhow::Result<Vec<Aggregator>> {
    let flags = signalbox_aggregator::PortFlags {
        listen: "--aggregator-listen",
        metrics: "--aggregator-metrics-listen",
    };
    let mut aggregators = Vec::new();
    for index in 0..args.aggregators {
        let config = AggregatorConfig {
            name: component_name("aggregator", index),
            advertise: None,
            coordinator: Some(coordinator.clone()),
            lease_ttl: LEASE_TTL,
            security: Security::Local,
            takeover_wait: Duration::ZERO,
            failback_after: FAILBACK_AFTER,
            pool_drain: POOL_DRAIN,
            history_bytes: HISTORY_BYTES,
            history_time: Duration::ZERO,
            listen: listen_address(args.aggregator_listen, index, flags.listen)?,
            metrics: listen_address(args.aggregator_metrics_listen, index, flags.metrics)?,
            autoscaling: signalbox_aggregator::AutoscalingConfig::default(),
            pool: PoolConfig::default(),
        };
        aggregators.push(Aggregator::start(config, vec![source.clone()], flags).await?);
    }
    Ok(aggregators)
}

async fn start_collectors(args: &UpArgs, coordinator: &Coordinator) -> anyhow::Result<Vec<CollectorHandle>> {
    let (flag, page_tls) = ("--collector-metrics-listen", args.page_tls.load()?);
    let mut collectors = Vec::new();
    for index in 0..args.collectors {
        let config = CollectorConfig {
            name: component_name("collector", index),
            pools: FollowedPools::One(None),
            aggregators: Vec::new(),
            coordinator: Some(coordinator.clone()),
            lease_ttl: LEASE_TTL,
            security: Security::Local,
            scrape: ScrapeConfig::default(),
            page_tls: page_tls.clone(),
            metrics_listen: listen_address(args.collector_metrics_listen, index, flag)?,
        };
        collectors.push(Collector::start(config, flag).await?);
    }
    Ok(collectors)
}

async fn start_epps(
    args: &UpArgs,
    loaded: &LoadedPolicy,
    tracing: Option<&TraceSettings>,
    coordinator: &Coordinator,
) -> anyhow::Result<Vec<Epp>> {
    let flags = signalbox_epp::PortFlags {
        ext_proc: "--ext-proc-listen",
        health: "--health-listen",
        access_log: "--access-log-listen",
        metrics: "--metrics-listen",
    };
    let serving = if args.secure_serving {
        ServerTls::self_signed(&TlsParameters::default())?
    } else {
        ServerTls::Plaintext
    };
    let mut epps = Vec::new();
    for index in 0..args.epp_replicas {
        let config = EppConfig {
            coordinator: Some(coordinator.clone()),
            lease_ttl: LEASE_TTL,
            serving: serving.clone(),
            ext_proc: listen_address(args.ext_proc_listen, index, flags.ext_proc)?,
            health: listen_address(args.health_listen, index, flags.health)?,
            access_log: listen_address(args.access_log_listen, index, flags.access_log)?,
            metrics: listen_address(args.metrics_listen, index, flags.metrics)?,
            drain_timeout: DRAIN_TIMEOUT,
            policy: loaded.policy.clone(),
            flow_control: loaded.flow_control.clone(),
            parsers: loaded.parsers.clone(),
            tracing: tracing.cloned(),
            ..EppConfig::local(component_name("epp", index))
        };
        epps.push(Epp::start(config, flags).await?);
    }
    Ok(epps)
}

/// Returns a name that is unique among all processes that use the same coordinator.
fn component_name(kind: &str, index: u16) -> String {
    format!("{}-{kind}-{index}", process_name("up"))
}
