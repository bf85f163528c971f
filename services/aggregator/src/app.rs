//! Starts and stops an aggregator.

mod grpc_server;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use signalbox_lease::{Coordinator, Member, Role, Session};
use signalbox_state::RoleStatus;
use signalbox_telemetry::{AdminServer, listen};
use signalbox_types::{PeerAddress, PoolId};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::actors::{
    HistoryBudget, Membership, OwnerHistory, PoolOwnerSetups, RoleSettings, Root, RootMessage, RootSetup,
};
use crate::autoscaling::{AutoscalingPorts, AutoscalingServers};
use crate::config::AggregatorConfig;
use crate::health::{self, StallWatch};
use crate::metrics::{Metrics, register_coordinator, signal_registry};
use crate::pool_source::{PoolSet, PoolSource, watch_pools};
use crate::pools::{PoolHandle, Pools};
use crate::readiness::{self, Readiness, watch_readiness};
use crate::serve::{StreamContext, watch_fleet};
use crate::start_error::StartError;

/// Time limit for handing the pools to other aggregators.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Time limit for the coordinator to end the registration.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for open streams to end.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Names of the flags that choose the ports, for error messages.
#[derive(Clone, Copy, Debug)]
pub struct PortFlags {
    /// Flag of the port for collectors, replicas and other aggregators.
    pub listen: &'static str,
    /// Flag of the metrics port.
    pub metrics: &'static str,
}

/// A running aggregator.
#[derive(Debug)]
pub struct Aggregator {
    address: SocketAddr,
    admin: AdminServer,
    root: ActorRef<RootMessage>,
    session: Arc<Session>,
    pools: Pools,
    readiness: watch::Sender<Readiness>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    autoscaling: AutoscalingServers,
    ended: watch::Receiver<bool>,
}

impl Aggregator {
    /// Starts an aggregator that serves the pools in `sources`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: AggregatorConfig,
        sources: Vec<PoolSource>,
        flags: PortFlags,
    ) -> Result<Self, StartError> {
        config.security.check_listen_address(config.listen)?;
        check_unique(&sources)?;
        let listener = listen(config.listen, flags.listen).await?;
        let admin_listener = listen(config.metrics, flags.metrics).await?;
        let autoscaling = AutoscalingPorts::bind(config.autoscaling.clone(), &config.security).await?;
        let address = listener.local_addr()?;
        let pools = Pools::default();
        let mut page = signal_registry(&pools);
        let registry = page.sub_registry_with_prefix("signalbox_aggregator");
        let metrics = Arc::new(Metrics::register(registry));
        let own_address = config.advertise.clone().unwrap_or_else(|| advertised_address(address));
        let membership = join(&config, own_address.clone(), &pools, &metrics);
        register_coordinator(registry, &membership.coordinator);
        let (session, members) =
            (Arc::clone(&membership.session), membership.coordinator.members(Role::Aggregator));
        let served = watch::Sender::new(PoolSet::default());
        let readiness = watch_readiness(served.subscribe(), config.name.clone(), members.clone());
        let fleet = watch_fleet(served.subscribe(), own_address, members);
        let context = StreamContext::new(
            pools.clone(),
            fleet,
            config.name.clone(),
            Arc::clone(&metrics),
            config.security.clone(),
        );
        let setup = RootSetup {
            sets: watch_pools(sources, &metrics),
            setups: PoolOwnerSetups::new(
                role_settings(&config),
                config.security.clone(),
                membership,
                metrics,
            ),
            pools: pools.clone(),
            served,
            pool_drain: config.pool_drain,
        };
        let (root, ended) = start_actors(setup).await?;
        let checked = pools.clone();
        let health = move || health::check(&checked);
        let routes = readiness::routes(readiness.subscribe(), health.clone());
        let ready = readiness.subscribe();
        let ready = move || readiness::check(*ready.borrow());
        let autoscaling = autoscaling.serve(&pools, &config.security, health.clone(), ready);
        let admin = AdminServer::start_with_health(admin_listener, Arc::new(page), routes, health)?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(grpc_server::serve(config.security.incoming(listener), context, stopped));
        Ok(Self { address, admin, root, session, pools, readiness, stop, server, autoscaling, ended })
    }

    /// Returns the status in each pool, and the pool's highest known epoch.
    pub fn pool_statuses(&self) -> Vec<(PoolId, RoleStatus, u64)> {
        let status =
            |pool: &Arc<PoolHandle>| (pool.pool.clone(), *pool.status.borrow(), *pool.epoch.borrow());
        self.pools.all().iter().map(status).collect()
    }

    /// Returns the name of the aggregator.
    pub fn name(&self) -> &str {
        self.session.name()
    }

    /// Returns the listen address for collectors and replicas.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the listen address for Prometheus.
    pub fn metrics_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Returns the listen address for KEDA, if it is served.
    pub fn keda_address(&self) -> Option<SocketAddr> {
        self.autoscaling.keda_address
    }

    /// Returns the listen address of the metrics API, if it is served.
    pub fn metrics_api_address(&self) -> Option<SocketAddr> {
        self.autoscaling.metrics_api_address
    }

    /// Waits until the aggregator fails.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.clone();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Hands the pools to other aggregators, then ends all streams and the actors. Takes at most six seconds.
    pub async fn stop(self) {
        self.readiness.send_replace(Readiness::Stopping);
        let _ = self.root.call(RootMessage::Drain, Some(DRAIN_TIMEOUT)).await;
        if tokio::time::timeout(LEAVE_TIMEOUT, self.session.leave()).await.is_err() {
            tracing::warn!("the coordinator does not answer; the registration ends with its lease");
        }
        let _ = self.stop.send(());
        self.autoscaling.stop(STOP_GRACE).await;
        let _ = self.root.stop_and_wait(None, Some(STOP_GRACE)).await;
        let mut server = self.server;
        if tokio::time::timeout(STOP_GRACE, &mut server).await.is_err() {
            server.abort();
        }
        self.admin.stop();
    }
}

/// Checks that no two sources have the same pool.
fn check_unique(sources: &[PoolSource]) -> Result<(), StartError> {
    let mut seen = BTreeSet::new();
    let is_unique = sources.iter().filter_map(PoolSource::only_pool).all(|spec| seen.insert(&spec.id));
    if is_unique { Ok(()) } else { Err(StartError::DuplicatePool) }
}

/// Registers with the coordinator, or with an in-process one, while the actors of `pools` make progress.
fn join(
    config: &AggregatorConfig,
    address: PeerAddress,
    pools: &Pools,
    metrics: &Arc<Metrics>,
) -> Membership {
    let (coordinator, owner_history) = match &config.coordinator {
        Some(coordinator) => (coordinator.clone(), OwnerHistory::Complete),
        None => (Coordinator::in_process(), OwnerHistory::SinceStart),
    };
    let member = Member { role: Role::Aggregator, name: config.name.clone(), address: Some(address) };
    let (may_renew, gate) = watch::channel(true);
    let session = Arc::new(coordinator.join_while(member, config.lease_ttl, gate));
    let stall_watch = StallWatch {
        pools: pools.clone(),
        coordinator: coordinator.clone(),
        name: config.name.clone(),
        metrics: Arc::clone(metrics),
        may_renew,
    };
    tokio::spawn(stall_watch.run());
    Membership { coordinator, session, owner_history, claim_failures: Arc::default() }
}

fn role_settings(config: &AggregatorConfig) -> RoleSettings {
    RoleSettings {
        pool: config.pool,
        takeover_wait: config.takeover_wait,
        lease_ttl: config.lease_ttl,
        failback_after: config.failback_after,
        history: HistoryBudget::new(config.history_bytes, config.history_time),
    }
}

/// Starts the actors. The returned receiver becomes true when they end.
async fn start_actors(
    setup: RootSetup,
) -> Result<(ActorRef<RootMessage>, watch::Receiver<bool>), StartError> {
    let (root, actors) =
        Actor::spawn(None, Root, setup).await.map_err(|error| StartError::Actors(error.to_string()))?;
    let (end, ended) = watch::channel(false);
    tokio::spawn(async move {
        let _ = actors.await;
        end.send_replace(true);
    });
    Ok((root, ended))
}

/// Returns the address at which others reach a listener: the listen address, or the host name if it listens
/// on all addresses. In Kubernetes the host name is the pod's name, which others may be unable to resolve;
/// set `--advertise` to the pod IP.
fn advertised_address(listen_address: SocketAddr) -> PeerAddress {
    if !listen_address.ip().is_unspecified() {
        return listen_address.into();
    }
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned());
    let named = format!("{host}:{}", listen_address.port()).parse();
    named.unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], listen_address.port())).into())
}
