//! Starts and stops the components of `signalbox up` in the order of their dependencies. The components are
//! the same services that run as separate processes in production, and they communicate over the same
//! streams.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use signalbox_aggregator::{Aggregator, AggregatorConfig, AutoscalingConfig, PoolSource, endpoints_file};
use signalbox_collector::{Collector, CollectorConfig, CollectorHandle, FollowedPools, ScrapeConfig};
use signalbox_epp::{Epp, EppConfig, LoadedPolicy};
use signalbox_lease::{Coordinator, CoordinatorUrlError};
use signalbox_state::PoolConfig;
use signalbox_telemetry::{TraceSettings, listen, process_name};
use signalbox_tls::{Security, ServerTls, TlsParameters};

use super::args::{GatewayKind, UpArgs, nth_address};
use super::envoy::Envoy;
use super::simulators::Simulators;
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
    pub(super) simulators: Option<Simulators>,
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
        let loaded = args.policy().load()?;
        let tracing = TraceSettings::from_env("signalbox-epp")?;
        let (simulators, source) = match &args.endpoints {
            Some(path) => (None, {
                let pages = loaded.pages.clone();
                PoolSource::File(path.clone(), endpoints_file::read(path, &pages)?, pages)
            }),
            None => {
                let simulators = Simulators::start(args).await?;
                let source = simulators.source();
                (Some(simulators), source)
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
            simulators.stop().await;
        }
    }
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
    let keda = args.autoscale.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let autoscaling = AutoscalingConfig { keda, metrics_api: None };
    let mut pool = PoolConfig::default();
    pool.signal.down_window_ms = args.scale_down_after.as_millis() as u64;
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
            autoscaling: autoscaling.clone(),
            pool,
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
