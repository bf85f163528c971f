//! Pools from the objects of a Kubernetes cluster.

use signalbox_kube::{Cluster, DiscoveredPool, DiscoveredPools, PoolWatchSettings, watch_pools};
use signalbox_wire::ServedPool;
use tokio::sync::watch;

use super::set::{PoolSet, SourcedPool};
use crate::metrics::Metrics;

/// Watches the pools that `settings` select in `cluster`.
pub(super) fn watch_cluster(
    cluster: &Cluster,
    settings: PoolWatchSettings,
    metrics: &Metrics,
) -> watch::Receiver<PoolSet> {
    let mut discovered = watch_pools(cluster, settings, metrics.pool_watch.clone());
    let (sets, receiver) = watch::channel(pool_set(&discovered.borrow_and_update()));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = discovered.changed() => if changed.is_err() { return },
                () = sets.closed() => return,
            }
            sets.send_replace(pool_set(&discovered.borrow_and_update()));
        }
    });
    receiver
}

fn pool_set(discovered: &DiscoveredPools) -> PoolSet {
    let sourced = |pool: &DiscoveredPool| SourcedPool {
        spec: pool.spec.clone(),
        served: ServedPool { port: Some(pool.port).filter(|port| *port > 0), created_ms: pool.created_ms },
    };
    PoolSet {
        is_synced: discovered.is_synced,
        pools: discovered.pools.iter().map(|(id, pool)| (id.clone(), sourced(pool))).collect(),
    }
}
