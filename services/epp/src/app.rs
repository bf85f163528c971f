//! Builds a running replica from its configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use ractor::{Actor, ActorRef};
use signalbox_extproc::BodyBudget;
use signalbox_lease::{Member, Role, Session, discover_aggregators};
use signalbox_peers::FollowedPool;
use signalbox_state::EndpointState;
use signalbox_telemetry::{AdminServer, ListenError, TraceError, Tracer, listen};
use signalbox_types::Version;
use signalbox_wire::Hello;
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::actors::root::{Root, RootMessage, RootSetup};
use crate::admin::access::DebugRoutes;
use crate::admin::pool_gauges::PoolGauges;
use crate::admin::replica_gauges::ReplicaGauges;
use crate::admin::{decisions, explain};
use crate::config::EppConfig;
use crate::deciding::picker::Picker;
use crate::deciding::recorder::DecisionRecorder;
use crate::gateway::health::{HealthService, WatchersOnDrain};
use crate::gateway::servers::{ExtProc, MessageLimits, serve_access_log, serve_gateways, serve_probes};
use crate::metrics::counters::Metrics;
use crate::metrics::go_epp::RequestMetrics;

/// How long the actors may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

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
    Actors(String),
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

/// How current a replica's view of the pool is.
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
    picker: Arc<Picker>,
    ext_proc: SocketAddr,
    health: SocketAddr,
    access_log: SocketAddr,
    admin: AdminServer,
    root: ActorRef<RootMessage>,
    session: Option<Session>,
    ready: watch::Receiver<bool>,
    draining: watch::Sender<bool>,
    servers: [JoinHandle<()>; 3],
    drain_timeout: Duration,
}

impl Epp {
    /// Starts a replica. It listens immediately and is ready when it has a view; see [`Epp::ready`].
    ///
    /// # Errors
    /// A port cannot be bound or served, tracing cannot be set up, or the actors cannot start.
    pub async fn start(config: EppConfig, flags: PortFlags) -> Result<Self, StartError> {
        let ext_proc = listen(config.ext_proc, flags.ext_proc).await?;
        let health = listen(config.health, flags.health).await?;
        let access_log = listen(config.access_log, flags.access_log).await?;
        let admin = listen(config.metrics, flags.metrics).await?;
        let (ext_proc_address, health_address) = (ext_proc.local_addr()?, health.local_addr()?);
        let access_log_address = access_log.local_addr()?;
        let conversations = conversation_config(&config);
        let mut registry = Registry::default();
        let requests = RequestMetrics::register(&mut registry);
        let own_metrics = registry.sub_registry_with_prefix("signalbox_epp");
        let tracer = match config.tracing {
            Some(settings) => Some(Tracer::start(settings, "signalbox", own_metrics)?),
            None => None,
        };
        let recorder = DecisionRecorder::new(config.decision_history, tracer);
        let metrics = Metrics::register(own_metrics, requests);
        let (picker, feedback, request_ends) = Picker::new(
            &config.name,
            config.policy,
            (conversations, config.fallback_endpoints, config.scores),
            config.origin_ttl,
            metrics,
            recorder,
        );
        let picker = Arc::new(picker);
        let hello = Hello { pool: config.pool, name: config.name };
        let followed_pool = Arc::new(FollowedPool::requested_by(&hello));
        register_gauges(&mut registry, &picker, &followed_pool);
        let (ready, is_ready) = watch::channel(false);
        let (feedback, request_ends) = (Arc::new(Mutex::new(feedback)), Arc::new(Mutex::new(request_ends)));
        let session = config.coordinator.as_ref().map(|coordinator| {
            let member = Member { role: Role::Epp, name: hello.name.clone(), address: None };
            coordinator.join(member, config.lease_ttl)
        });
        let peers = signalbox_peers::FollowSettings {
            hello,
            pool: followed_pool,
            aggregators: discover_aggregators(config.aggregators, config.coordinator.as_ref(), None),
            security: config.security,
        };
        let setup =
            RootSetup { picker: Arc::clone(&picker), peers, feedback, request_ends, ready: Arc::new(ready) };
        let (root, _) =
            Actor::spawn(None, Root, setup).await.map_err(|error| StartError::Actors(error.to_string()))?;
        let debug = DebugRoutes { picker: Arc::clone(&picker), access: config.explain_access };
        let routes = decisions::routes(debug.clone()).merge(explain::routes(debug, config.body_limit_bytes));
        let admin = AdminServer::start(admin, Arc::new(registry), routes)?;
        let (draining, is_draining) = watch::channel(false);
        let service = ExtProc { picker: Arc::clone(&picker) };
        let limits = MessageLimits {
            received_bytes: config.received_message_limit_bytes,
            sent_bytes: config.sent_message_limit_bytes,
        };
        let watchers = WatchersOnDrain::Notify;
        let health_service = HealthService { ready: is_ready.clone(), draining: is_draining, watchers };
        let gateways = serve_gateways(ext_proc, config.serving, service, limits, health_service.clone());
        let probes = serve_probes(health, health_service);
        let log = serve_access_log(access_log, Arc::clone(&picker));
        Ok(Self {
            picker,
            ext_proc: ext_proc_address,
            health: health_address,
            access_log: access_log_address,
            admin,
            root,
            session,
            ready: is_ready,
            draining,
            servers: [gateways, probes, log],
            drain_timeout: config.drain_timeout,
        })
    }

    /// Returns the address for gateways.
    pub fn ext_proc_address(&self) -> SocketAddr {
        self.ext_proc
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

    /// Waits until the replica has a view.
    pub async fn ready(&self) {
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Returns the endpoints in the replica's view.
    pub fn endpoints(&self) -> Vec<Arc<EndpointState>> {
        self.picker.snapshot.load().view.endpoints.to_vec()
    }

    /// Returns how current the replica's view is.
    pub fn view_status(&self) -> ViewStatus {
        let snapshot = self.picker.snapshot.load();
        let age = Duration::from_millis(snapshot.view.age_ms(self.picker.now_ms()));
        ViewStatus { version: snapshot.view.version, age, is_degraded: self.picker.is_degraded() }
    }

    /// Returns the totals of the replica's decisions.
    pub fn decision_totals(&self) -> DecisionTotals {
        let (prompt_tokens, matched_tokens) = self.picker.metrics.prompt_tokens();
        DecisionTotals { decisions: self.picker.metrics.decisions(), prompt_tokens, matched_tokens }
    }

    /// Accepts no new requests, waits up to the drain timeout for open ones, and stops the replica.
    pub async fn stop(self) {
        self.draining.send_replace(true);
        let [ext_proc, health, access_log] = self.servers;
        let mut ext_proc = ext_proc;
        if tokio::time::timeout(self.drain_timeout, &mut ext_proc).await.is_err() {
            tracing::warn!(timeout = ?self.drain_timeout, "aborting requests that did not end within the drain timeout");
            ext_proc.abort();
        }
        health.abort();
        // Access log streams do not end on their own.
        access_log.abort();
        if let Some(session) = &self.session {
            session.leave().await;
        }
        self.admin.stop();
        self.picker.recorder.stop().await;
        let _ = self.root.stop_and_wait(None, Some(STOP_TIMEOUT)).await;
    }
}

/// Returns the configuration of all ext-proc conversations, without what depends on the view.
fn conversation_config(config: &EppConfig) -> signalbox_extproc::Config {
    signalbox_extproc::Config {
        body_limit_bytes: config.body_limit_bytes,
        body_budget: BodyBudget::new(config.buffer_limit_bytes),
        media_weights: config.media_weights,
        retry_after_s: config.retry_after_s,
        subset_hint: config.subset,
        parsers: Arc::new(config.parsers.clone()),
        ..signalbox_extproc::Config::default()
    }
}

/// Registers the gauges that are read on each scrape.
fn register_gauges(registry: &mut Registry, picker: &Arc<Picker>, pool: &Arc<FollowedPool>) {
    let own_metrics = registry.sub_registry_with_prefix("signalbox_epp");
    own_metrics.register_collector(Box::new(ReplicaGauges(Arc::clone(picker))));
    let pool_gauges = PoolGauges { picker: Arc::clone(picker), pool: Arc::clone(pool) };
    registry.register_collector(Box::new(pool_gauges));
}
