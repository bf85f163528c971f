//! The parts of `signalbox up`, started in the order in which they need each other. Each is the very service that also runs as
//! a process of its own, and they speak to each other over the same streams.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use signalbox_aggregator::{Aggregator, AggregatorConfig, Source, endpoints_file};
use signalbox_collector::{Collector, CollectorConfig, CollectorHandle, ScrapeConfig};
use signalbox_epp::{Epp, EppConfig, ExplainTo};
use signalbox_modelsim::{Fleet, FleetConfig, ModelConfig, PodConfig, adapter_names};
use signalbox_schedule::Policy;
use signalbox_state::PoolConfig;
use signalbox_telemetry::{TraceSettings, listen};
use signalbox_types::{EndpointSpec, Engine, PoolId, PoolSpec};

use super::args::{GatewayKind, UpArgs, following};
use crate::gateway::{Gateway, Handle};

/// How long requests in flight may take to end on Ctrl-C.
const DRAIN: Duration = Duration::from_secs(5);

/// How long all parts may take to come up.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// All parts, running.
pub(super) struct System {
    pub(super) simulators: Option<Fleet>,
    pub(super) aggregator: Aggregator,
    pub(super) collector: CollectorHandle,
    pub(super) epps: Vec<Epp>,
    pub(super) gateway: Option<Handle>,
}

impl System {
    /// Starts all parts and waits until each replica has a view.
    pub(super) async fn start(args: &UpArgs) -> anyhow::Result<Self> {
        let policy = args.policy.read()?;
        let tracing = TraceSettings::from_env("signalbox-epp")?;
        let (simulators, source) = match &args.endpoints {
            Some(path) => (None, Source::File(path.clone(), endpoints_file::read(path)?)),
            None => {
                let fleet = simulate(args).await?;
                let spec = simulated_pool(&fleet);
                (Some(fleet), Source::Fixed(spec))
            }
        };
        let aggregator = aggregate(args, source).await?;
        let collector = collect(args, aggregator.address()).await?;
        let epps = replicate(args, &policy, tracing.as_ref(), aggregator.address()).await?;
        for epp in &epps {
            let ready = tokio::time::timeout(READY_DEADLINE, epp.ready()).await;
            ready.context("an EPP replica has no view of the pool")?;
        }
        let gateway = match args.gateway {
            GatewayKind::None => None,
            GatewayKind::Embedded => {
                let listener = listen(args.gateway_listen, "--gateway-listen").await?;
                let addresses: Vec<_> = epps.iter().map(Epp::ext_proc_address).collect();
                Some(Gateway::start(listener, &addresses)?)
            }
        };
        Ok(Self { simulators, aggregator, collector, epps, gateway })
    }

    /// Takes nothing new, lets requests in flight end, and ends all parts in the reverse order.
    pub(super) async fn stop(self) {
        if let Some(gateway) = self.gateway {
            gateway.shutdown(DRAIN).await;
        }
        for epp in self.epps {
            epp.stop().await;
        }
        self.collector.shutdown().await;
        self.aggregator.stop().await;
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
    PoolSpec { id, endpoints: fleet.servers().iter().map(endpoint).collect() }
}

async fn aggregate(args: &UpArgs, source: Source) -> anyhow::Result<Aggregator> {
    let config = AggregatorConfig {
        listen: args.aggregator_listen,
        metrics: args.aggregator_metrics_listen,
        pool: PoolConfig::default(),
    };
    let flags = signalbox_aggregator::PortFlags {
        listen: "--aggregator-listen",
        metrics: "--aggregator-metrics-listen",
    };
    Ok(Aggregator::start(config, source, flags).await?)
}

async fn collect(args: &UpArgs, aggregator: SocketAddr) -> anyhow::Result<CollectorHandle> {
    let config = CollectorConfig {
        name: "collector".to_owned(),
        aggregators: vec![aggregator.into()],
        scrape: ScrapeConfig::default(),
        metrics_listen: args.collector_metrics_listen,
    };
    Ok(Collector::start(config, "--collector-metrics-listen").await?)
}

async fn replicate(
    args: &UpArgs,
    policy: &Policy,
    tracing: Option<&TraceSettings>,
    aggregator: SocketAddr,
) -> anyhow::Result<Vec<Epp>> {
    let flags = signalbox_epp::PortFlags {
        ext_proc: "--ext-proc-listen",
        health: "--health-listen",
        metrics: "--metrics-listen",
    };
    let mut epps = Vec::new();
    for index in 0..args.epp_replicas {
        let at = |first, flag: &str| {
            following(first, index, 10)
                .with_context(|| format!("{flag}: no port is left for replica {index}"))
        };
        let config = EppConfig {
            aggregators: vec![aggregator.into()],
            ext_proc: at(args.ext_proc_listen, flags.ext_proc)?,
            health: at(args.health_listen, flags.health)?,
            metrics: at(args.metrics_listen, flags.metrics)?,
            explain_to: ExplainTo::Loopback,
            body_limit_bytes: 64 << 20,
            drain_timeout: DRAIN,
            origin_ttl: Duration::from_millis(PoolConfig::default().origin_ttl_ms),
            policy: policy.clone(),
            decisions: EppConfig::DECISIONS,
            tracing: tracing.cloned(),
        };
        epps.push(Epp::start(config, flags).await?);
    }
    Ok(epps)
}
