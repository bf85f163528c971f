//! Builds a running replica from its configuration.

mod assembly;
mod listeners;
mod queue_status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use prometheus_client::registry::Registry;
use ractor::SpawnErr;
use signalbox_extproc::BodyBudget;
use signalbox_lease::{Member, Role, Session};
use signalbox_peers::Connections;
use signalbox_state::EndpointState;
use signalbox_telemetry::{AdminServer, ListenError, Registries, TraceError, Tracer};
use signalbox_types::{Load, Version};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::assembly::{PoolsTask, aggregators, gateway_servers, picker_settings, serve_pools};
use self::listeners::Listeners;
pub use self::queue_status::QueueStatus;
use crate::admin::access::DebugRoutes;
use crate::admin::process_gauges::ProcessGauges;
use crate::admin::{decisions, explain, queues};
use crate::config::EppConfig;
use crate::deciding::decision_snapshot::DecisionSnapshot;
use crate::deciding::decision_spans::DecisionTracer;
use crate::directory::{ListedPool, PoolDirectory};
use crate::gateway::access_log::AccessLog;
use crate::gateway::health::{DrainPhase, HealthService};
use crate::gateway::servers::{serve_access_log, serve_probes};
use crate::metrics::access_log_entries::AccessLogEntries;
#[cfg(test)]
use crate::pools;
use crate::pools::leaving_ports::DrainTimes;
use crate::pools::pool_set::{PoolAddresses, PoolSet};
use crate::replica::Replica;

/// How long a replica may take to end its registration and to export the last spans, once it is drained.
const EXIT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The longest time from the end of a drain to the exit.
#[cfg(test)]
pub(crate) const MAX_EXIT: Duration =
    pools::CUT_TIMEOUT.saturating_add(pools::STOP_TIMEOUT).saturating_add(EXIT_TIMEOUT);

/// Why a replica cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Tracing cannot be set up.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The actors cannot start.
    #[error("cannot start the actors: {0}")]
    Actors(#[from] SpawnErr),
    /// A bound port cannot be served.
    #[error("cannot serve a bound port")]
    Serve(#[from] std::io::Error),
}

/// Names of the flags that choose the ports, for error messages.
#[derive(Clone, Copy, Debug)]
pub struct PortFlags {
    /// Flag of the port for gateways.
    pub ext_proc: &'static str,
    /// Flag of the port for health checks.
    pub health: &'static str,
    /// Flag of the port for access logs.
    pub access_log: &'static str,
    /// Flag of the metrics port.
    pub metrics: &'static str,
}

/// Totals of a replica's decisions since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionTotals {
    /// Requests for which an endpoint was picked.
    pub decisions: u64,
    /// Prompt tokens of those requests.
    pub prompt_tokens: u64,
    /// Prompt tokens that the picked endpoint held.
    pub matched_tokens: u64,
}

/// How current a replica's view of a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewStatus {
    /// Version of the view; `None` before the first one.
    pub version: Option<Version>,
    /// Time since the view was last confirmed.
    pub age: Duration,
    /// Whether the replica has heard from no owner for the origin TTL, so that decisions use only its own
    /// bookings.
    pub is_degraded: bool,
}

/// A running EPP replica.
#[derive(Debug)]
pub struct Epp {
    directory: Arc<PoolDirectory>,
    tracer: Option<Arc<DecisionTracer>>,
    addresses: watch::Receiver<PoolAddresses>,
    health: SocketAddr,
    access_log: SocketAddr,
    admin: AdminServer,
    session: Option<Session>,
    ready: watch::Receiver<bool>,
    failed: Option<watch::Receiver<Option<String>>>,
    phase: watch::Sender<DrainPhase>,
    pools: PoolsTask,
    servers: [JoinHandle<()>; 2],
}

impl Epp {
    /// Starts a replica. It listens immediately and is ready when it has a view; see [`Epp::ready`].
    ///
    /// # Errors
    /// A port cannot be bound or served, tracing cannot be set up, or the actors cannot start.
    pub async fn start(config: EppConfig, flags: PortFlags) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&config, flags).await?;
        let (health, access_log) = (listeners.health.local_addr()?, listeners.access_log.local_addr()?);
        let mut registry = Registry::default();
        let own_metrics = registry.sub_registry_with_prefix("signalbox_epp");
        let entries = AccessLogEntries::default();
        entries.register(own_metrics);
        let (body_budget, directory) = (BodyBudget::new(config.buffer_limit_bytes), Arc::default());
        let gauges = ProcessGauges { body_budget: body_budget.clone(), directory: Arc::clone(&directory) };
        own_metrics.register_collector(Box::new(gauges));
        let tracer = match config.tracing.clone() {
            Some(settings) => Some(Tracer::start(settings, "signalbox", own_metrics)?),
            None => None,
        };
        let tracer = tracer.map(|tracer| Arc::new(DecisionTracer::start(tracer)));
        let session = config.coordinator.as_ref().map(|coordinator| {
            let member = Member { role: Role::Epp, name: config.name.clone(), address: None };
            coordinator.join(member, config.lease_ttl)
        });
        let connections = Connections::new(config.security.clone());
        let (aggregators, fleet) = aggregators(&config, &connections);
        let failure = watch::Sender::new(None);
        // With all pools, the other pools are served while one cannot be.
        let failed = fleet.is_none().then(|| failure.subscribe());
        let replica = Replica {
            name: config.name.clone(),
            aggregators,
            connections,
            picker: picker_settings(&config, body_budget),
            decision_history: config.decision_history,
            tracer: tracer.clone(),
            registries: Registries::new(registry),
            directory: Arc::clone(&directory),
            failure,
            gateways: gateway_servers(&config),
        };
        let debug = DebugRoutes { directory: Arc::clone(&directory), access: config.explain_access };
        let routes = decisions::routes(debug.clone()).merge(queues::routes(debug.clone()));
        let routes = routes.merge(explain::routes(debug, config.body_limit_bytes));
        let admin = AdminServer::start(listeners.metrics, replica.registries.clone(), routes)?;
        let drain = DrainTimes { delay: config.drain_delay, timeout: config.drain_timeout };
        let set = PoolSet::new(Arc::new(replica), config.ext_proc.ip(), drain);
        let (addresses, (phase, is_phase)) = (set.addresses(), watch::channel(DrainPhase::Serving));
        let (ready, pools) = serve_pools(set, &config, fleet, listeners.ext_proc).await?;
        let probes = serve_probes(listeners.health, HealthService { ready: ready.clone(), phase: is_phase });
        let log = AccessLog::new(Arc::clone(&directory), entries);
        let servers = [probes, serve_access_log(listeners.access_log, log)];
        Ok(Self {
            directory,
            tracer,
            addresses,
            health,
            access_log,
            admin,
            session,
            ready,
            failed,
            phase,
            pools,
            servers,
        })
    }

    /// Returns the address for gateways of the pool, if the replica serves only one.
    pub fn ext_proc_address(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.borrow();
        addresses.values().next().copied().filter(|_| addresses.len() == 1)
    }

    /// Returns the addresses for gateways, by pool: NAMESPACE/NAME, or empty for a pool that was not named.
    pub fn pool_addresses(&self) -> watch::Receiver<PoolAddresses> {
        self.addresses.clone()
    }

    /// Returns the address for health checks.
    pub fn health_address(&self) -> SocketAddr {
        self.health
    }

    /// Returns the address for gateways' access logs.
    pub fn access_log_address(&self) -> SocketAddr {
        self.access_log
    }

    /// Returns the address for Prometheus and explanations.
    pub fn metrics_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Waits until the replica has a view; with all pools, a view of each, or has waited long enough for it.
    pub async fn ready(&self) {
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Waits until the replica cannot follow its only pool any more. Returns why.
    pub async fn failed(&self) -> String {
        if let Some(mut failed) = self.failed.clone()
            && let Ok(failure) = failed.wait_for(Option::is_some).await
        {
            return failure.clone().unwrap_or_default();
        }
        std::future::pending().await
    }

    /// Returns the endpoints in the replica's views, with the load that all replicas put on each.
    pub fn endpoints(&self) -> Vec<(Arc<EndpointState>, Load)> {
        let endpoints = |DecisionSnapshot { view, .. }: &DecisionSnapshot| {
            let members = view.endpoints.iter().cloned().enumerate();
            members.map(|(position, member)| (member, view.booked_at(position))).collect::<Vec<_>>()
        };
        self.directory.all().iter().flat_map(|pool| endpoints(&pool.picker.snapshot.load())).collect()
    }

    /// Returns how current the replica's view of each pool is.
    pub fn view_statuses(&self) -> Vec<ViewStatus> {
        let status = |pool: &ListedPool| {
            let (picker, snapshot) = (&pool.picker, pool.picker.snapshot.load());
            let age = Duration::from_millis(picker.view_age_ms());
            ViewStatus { version: snapshot.view.version, age, is_degraded: picker.is_degraded() }
        };
        self.directory.all().iter().map(status).collect()
    }

    /// Returns what waits in each pool with flow control.
    pub fn queue_statuses(&self) -> Vec<QueueStatus> {
        self.directory.all().iter().filter_map(|pool| QueueStatus::of(&pool.picker)).collect()
    }

    /// Returns the totals of the replica's decisions for the pools that it serves.
    pub fn decision_totals(&self) -> DecisionTotals {
        self.directory.all().iter().fold(DecisionTotals::default(), |sum, pool| {
            let metrics = &pool.picker.metrics;
            let (prompt_tokens, matched_tokens) = metrics.prompt_tokens();
            DecisionTotals {
                decisions: sum.decisions + metrics.decisions(),
                prompt_tokens: sum.prompt_tokens + prompt_tokens,
                matched_tokens: sum.matched_tokens + matched_tokens,
            }
        })
    }

    /// Reports not serving, accepts no new requests after the drain delay, waits up to the drain timeout for open
    /// ones, and stops the replica.
    pub async fn stop(self) {
        self.phase.send_replace(DrainPhase::Announced);
        let (pools, drain) = self.pools;
        // The task may have failed; then there is nothing to drain.
        let _ = drain.send(());
        let _ = pools.await;
        // Health checks and access log streams do not end on their own.
        self.servers.iter().for_each(JoinHandle::abort);
        let left = async {
            if let Some(session) = &self.session {
                session.leave().await;
            }
        };
        let flushed = async {
            if let Some(tracer) = &self.tracer {
                tracer.stop(EXIT_TIMEOUT).await;
            }
        };
        // Neither a coordinator nor a collector of spans that does not answer holds the process.
        if timeout(EXIT_TIMEOUT, join(left, flushed)).await.is_err() {
            tracing::warn!(?EXIT_TIMEOUT, "could not end the registration and export the last spans in time");
        }
        self.admin.stop();
    }
}
