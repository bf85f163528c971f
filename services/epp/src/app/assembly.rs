//! The parts of a replica, from its configuration.

use std::sync::Arc;

use signalbox_extproc::BodyBudget;
use signalbox_lease::discover_aggregators;
use signalbox_peers::{Connections, Fleet, FleetSettings};
use signalbox_types::{PeerAddress, ReplicaKey};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::StartError;
use crate::config::EppConfig;
use crate::deciding::picker::PickerSettings;
use crate::gateway::servers::{GatewayServers, MessageLimits};
use crate::pools::pool_set::PoolSet;
use crate::pools::serve_fleet;

/// The task that serves pools, and what makes it drain them.
pub(super) type PoolsTask = (JoinHandle<()>, oneshot::Sender<()>);

/// Starts the task that serves the pools until the returned sender is used, and then drains them. Also returns
/// whether the replica is ready.
pub(super) async fn serve_pools(
    mut set: PoolSet,
    config: &EppConfig,
    fleet: Option<watch::Receiver<Fleet>>,
    listener: Option<TcpListener>,
) -> Result<(watch::Receiver<bool>, PoolsTask), StartError> {
    let (drain, drained) = oneshot::channel();
    // The replica drains, too, when its handle is dropped.
    let drained = async move { drained.await.unwrap_or_default() };
    if let Some(fleet) = fleet {
        let (set_ready, ready) = watch::channel(false);
        let pools = serve_fleet(set, config.ext_proc.port(), fleet, set_ready, drained);
        return Ok((ready, (tokio::spawn(pools), drain)));
    }
    let name = config.pools.name();
    let ready = set.start(name).await?;
    if let Some(listener) = listener {
        set.serve(name.unwrap_or_default(), listener)?;
    }
    let pools = async move {
        drained.await;
        set.drain().await;
    };
    Ok((ready, (tokio::spawn(pools), drain)))
}

/// Returns the aggregators that are known at the moment, and, with all pools, the fleet.
pub(super) fn aggregators(
    config: &EppConfig,
    connections: &Connections,
) -> (watch::Receiver<Vec<PeerAddress>>, Option<watch::Receiver<Fleet>>) {
    let settings = FleetSettings {
        name: config.name.clone(),
        aggregators: config.aggregators.clone(),
        connections: connections.clone(),
    };
    let discover = |given| discover_aggregators(given, config.coordinator.as_ref(), None);
    config.pools.watch_aggregators(settings, discover)
}

/// Returns what all pools' pickers share.
pub(super) fn picker_settings(config: &EppConfig, body_budget: BodyBudget) -> PickerSettings {
    PickerSettings {
        replica: ReplicaKey::of(&config.name),
        policy: Arc::new(config.policy.clone()),
        flow_control: config.flow_control.clone(),
        conversations: signalbox_extproc::Config {
            body_limit_bytes: config.body_limit_bytes,
            body_budget,
            media_weights: config.media_weights,
            retry_after_s: config.retry_after_s,
            subset_hint: config.subset,
            parsers: Arc::new(config.parsers.clone()),
            ..signalbox_extproc::Config::default()
        },
        fallback_endpoints: config.fallback_endpoints,
        scores: config.scores,
        origin_ttl: config.origin_ttl,
    }
}

pub(super) fn gateway_servers(config: &EppConfig) -> GatewayServers {
    let limits = MessageLimits {
        received_bytes: config.received_message_limit_bytes,
        sent_bytes: config.sent_message_limit_bytes,
    };
    GatewayServers::new(config.serving.clone(), limits)
}
