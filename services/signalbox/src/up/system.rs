//! The parts of `signalbox up`, started in the order in which they need each other. Each is the very service that also runs as
//! a process of its own, and they speak to each other over the same streams.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use signalbox_aggregator::{Aggregator, AggregatorConfig, Source, endpoints_file};
use signalbox_collector::{Collector, CollectorConfig, CollectorHandle, ScrapeConfig};
use signalbox_epp::{Chosen, Epp, EppConfig};
use signalbox_lease::{Coordinator, FlagError};
use signalbox_modelsim::{Fleet, FleetConfig, ModelConfig, PodConfig, adapter_names};
use signalbox_state::PoolConfig;
use signalbox_telemetry::{TraceSettings, listen, process_name};
use signalbox_tls::{Offer, Security, Serving};
use signalbox_types::{EndpointSpec, Engine, PoolId, PoolSpec};

use super::args::{GatewayKind, UpArgs, following};
use super::envoy::Envoy;
use crate::gateway::{Dialling, Gateway, Handle};

/// How long requests in flight may take to end on Ctrl-C.
const DRAIN: Duration = Duration::from_secs(5);

/// For so long a part whose process died counts as alive.
const LEASE_TTL: Duration = Duration::from_secs(2);

/// An aggregator leaves the pool to one that comes first when that has lived for so long.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(30);

/// How long all parts may take to come up.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// All parts, running.
pub(super) struct System {
    pub(super) simulators: Option<Fleet>,
    pub(super) aggregators: Vec<Aggregator>,
    pub(super) collectors: Vec<CollectorHandle>,
    pub(super) epps: Vec<Epp>,
    pub(super) gateway: Option<Front>,
    /// How gateways speak with the replicas.
    pub(super) dialling: Dialling,
}

/// What requests come in by.
pub(super) enum Front {
    Embedded(Handle),
    Envoy(Envoy),
}

impl Front {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Embedded(gateway) => gateway.address,
            Self::Envoy(envoy) => envoy.address,
        }
    }
}

impl System {
    /// Starts all parts and waits until each replica has a view.
    pub(super) async fn start(args: &UpArgs) -> anyhow::Result<Self> {
        let chosen = args.policy.read()?;
        let tracing = TraceSettings::from_env("signalbox-epp")?;
        let (simulators, source) = match &args.endpoints {
            Some(path) => (None, Source::File(path.clone(), endpoints_file::read(path)?)),
            None => {
                let fleet = simulate(args).await?;
                let spec = simulated_pool(&fleet);
                (Some(fleet), Source::Fixed(spec))
            }
        };
        let coordinator = coordinate(args)?;
        let aggregators = aggregate(args, &coordinator, &source).await?;
        let collectors = collect(args, &coordinator).await?;
        let epps = replicate(args, &chosen, tracing.as_ref(), &coordinator).await?;
        for epp in &epps {
            let ready = tokio::time::timeout(READY_DEADLINE, epp.ready()).await;
            ready.context("an EPP replica has no view of the pool")?;
        }
        let dialling = args.dialling();
        let addresses: Vec<_> = epps.iter().map(Epp::ext_proc_address).collect();
        let gateway = match args.gateway {
            GatewayKind::None => None,
            GatewayKind::Embedded => {
                let listener = listen(args.gateway_listen, "--gateway-listen").await?;
                Some(Front::Embedded(Gateway::start(listener, &addresses, dialling)?))
            }
            GatewayKind::Envoy => {
                let envoy = Envoy::start(&args.envoy, args.gateway_listen, &addresses, dialling).await?;
                Some(Front::Envoy(envoy))
            }
        };
        Ok(Self { simulators, aggregators, collectors, epps, gateway, dialling })
    }

    /// Takes nothing new, lets requests in flight end, and ends all parts in the reverse order.
    pub(super) async fn stop(self) {
        if let Some(Front::Embedded(gateway)) = self.gateway {
            gateway.shutdown(DRAIN).await;
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

async fn simulate(args: &UpArgs) -> anyhow::Result<Fleet> {
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
        speed: args.simulator_speed,
        ..PodConfig::default()
    };
    let config = FleetConfig { listen: args.simulator_listen, pods: args.simulators, pod };
    let fleet = Fleet::start(config).await;
    fleet.context("the simulators cannot start; choose other ports with --simulator-listen")
}

fn simulated_pool(fleet: &Fleet) -> PoolSpec {
    let endpoint = |server: &signalbox_modelsim::ModelServer| EndpointSpec {
        name: server.name().to_owned(),
        address: server.address(),
        metrics_url: format!("http://{}/metrics", server.address()),
        engine: Engine::Vllm,
        labels: std::collections::BTreeMap::new(),
    };
    let id = PoolId { namespace: "default".to_owned(), name: "simulated".to_owned() };
    PoolSpec {
        id,
        endpoints: fleet.servers().iter().map(endpoint).collect(),
        models: std::sync::Arc::default(),
    }
}

/// Where all parts find each other.
fn coordinate(args: &UpArgs) -> Result<Coordinator, FlagError> {
    match args.coordinator.as_str() {
        "in-process" => Ok(Coordinator::in_process()),
        url => Coordinator::at(url),
    }
}

/// The address of the part with this index.
fn at(first: SocketAddr, index: u16, flag: &str) -> anyhow::Result<SocketAddr> {
    following(first, index, 10).with_context(|| format!("{flag}: no port is left for number {index}"))
}

async fn aggregate(
    args: &UpArgs,
    coordinator: &Coordinator,
    source: &Source,
) -> anyhow::Result<Vec<Aggregator>> {
    let flags = signalbox_aggregator::PortFlags {
        listen: "--aggregator-listen",
        metrics: "--aggregator-metrics-listen",
    };
    let mut aggregators = Vec::new();
    for index in 0..args.aggregators {
        let config = AggregatorConfig {
            name: own_name("aggregator", index),
            advertise: None,
            coordinator: Some(coordinator.clone()),
            lease_ttl: LEASE_TTL,
            security: Security::Local,
            inherit_within: Duration::ZERO,
            give_back_after: GIVE_BACK_AFTER,
            listen: at(args.aggregator_listen, index, flags.listen)?,
            metrics: at(args.aggregator_metrics_listen, index, flags.metrics)?,
            pool: PoolConfig::default(),
        };
        aggregators.push(Aggregator::start(config, vec![source.clone()], flags).await?);
    }
    Ok(aggregators)
}

async fn collect(args: &UpArgs, coordinator: &Coordinator) -> anyhow::Result<Vec<CollectorHandle>> {
    let flag = "--collector-metrics-listen";
    let mut collectors = Vec::new();
    for index in 0..args.collectors {
        let config = CollectorConfig {
            name: own_name("collector", index),
            pool: None,
            aggregators: Vec::new(),
            coordinator: Some(coordinator.clone()),
            lease_ttl: LEASE_TTL,
            security: Security::Local,
            scrape: ScrapeConfig::default(),
            metrics_listen: at(args.collector_metrics_listen, index, flag)?,
        };
        collectors.push(Collector::start(config, flag).await?);
    }
    Ok(collectors)
}

async fn replicate(
    args: &UpArgs,
    chosen: &Chosen,
    tracing: Option<&TraceSettings>,
    coordinator: &Coordinator,
) -> anyhow::Result<Vec<Epp>> {
    let flags = signalbox_epp::PortFlags {
        ext_proc: "--ext-proc-listen",
        health: "--health-listen",
        access_log: "--access-log-listen",
        metrics: "--metrics-listen",
    };
    let serving =
        if args.secure_serving { Serving::self_signed(&Offer::default())? } else { Serving::Plaintext };
    let mut epps = Vec::new();
    for index in 0..args.epp_replicas {
        let config = EppConfig {
            coordinator: Some(coordinator.clone()),
            lease_ttl: LEASE_TTL,
            serving: serving.clone(),
            ext_proc: at(args.ext_proc_listen, index, flags.ext_proc)?,
            health: at(args.health_listen, index, flags.health)?,
            access_log: at(args.access_log_listen, index, flags.access_log)?,
            metrics: at(args.metrics_listen, index, flags.metrics)?,
            drain_timeout: DRAIN,
            policy: chosen.policy.clone(),
            parsers: chosen.parsers.clone(),
            tracing: tracing.cloned(),
            ..EppConfig::local(own_name("epp", index))
        };
        epps.push(Epp::start(config, flags).await?);
    }
    Ok(epps)
}

/// With others of the same kind elsewhere at the same coordinator, names tell them apart.
fn own_name(what: &str, index: u16) -> String {
    format!("{}-{what}-{index}", process_name("up"))
}
