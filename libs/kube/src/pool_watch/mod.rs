//! Watches the objects that describe pools.
//!
//! One task per resource and namespace lists and watches ([`resource_watch`]); one finds out which custom
//! resources there are ([`supervisor`]); one feeds the [`Catalog`] and publishes what it derives
//! ([`publisher`]). While the API server is away, the last known objects stay.

mod failure;
mod history;
mod observer;
mod publisher;
mod resource_watch;
mod served_apis;
mod settings;
mod supervisor;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use self::observer::PoolWatchObserver;
use self::publisher::Publisher;
use self::settings::Pace;
pub use self::settings::PoolWatchSettings;
use self::supervisor::Supervisor;
use crate::catalog::{Catalog, Rules};
use crate::cluster::Cluster;
use crate::discovered::DiscoveredPools;
use crate::events::start_events;

/// Number of changes that wait to be taken into account. When there are more, the watches wait.
const WAITING_INPUTS: usize = 1024;

/// Watches the pools that `settings` select, until all receivers are dropped. Must be called within a tokio
/// runtime.
pub fn watch_pools(
    cluster: &Cluster,
    settings: PoolWatchSettings,
    observer: impl PoolWatchObserver,
) -> watch::Receiver<Arc<DiscoveredPools>> {
    start(cluster, settings, Arc::new(observer), Pace::DEFAULT)
}

fn start(
    cluster: &Cluster,
    settings: PoolWatchSettings,
    observer: Arc<dyn PoolWatchObserver>,
    pace: Pace,
) -> watch::Receiver<Arc<DiscoveredPools>> {
    let (pools, receiver) = watch::channel(Arc::default());
    let (inputs, waiting) = mpsc::channel(WAITING_INPUTS);
    let scopes = settings.scopes();
    let PoolWatchSettings { selection, service_ports, pages, .. } = settings;
    let catalog = Catalog::new(Rules { selection, service_ports, pages }, scopes.clone());
    let supervisor = Supervisor::new(cluster.clone(), pace, scopes, inputs, Arc::clone(&observer));
    let publisher = Publisher { catalog, pools, events: start_events(cluster), observer };
    tokio::spawn(async move {
        // Dropped, and with it all watches, when nobody receives the pools any more.
        let mut watches = JoinSet::new();
        watches.spawn(supervisor.run());
        publisher.run(waiting).await;
    });
    receiver
}

#[cfg(test)]
mod tests;
