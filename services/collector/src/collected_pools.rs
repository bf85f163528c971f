//! The pools that a collector scrapes for. With `--all-pools` they come and go with the fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use ractor::{Actor, ActorCell, ActorId, SpawnErr};
use signalbox_peers::{Connections, Fleet};
use signalbox_telemetry::{Registries, RegistryEntry, registry};
use signalbox_types::PeerAddress;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::actors::Root;
use crate::clock::Clock;
use crate::config::CollectorConfig;
use crate::highest_epoch::HighestEpoch;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::shared::Shared;

/// How long a pool that is gone is still scraped for: longer than replicas serve it while gateways notice.
const KEEP_GONE: Duration = Duration::from_secs(30);

/// What the collection for all pools shares.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Arc<CollectorConfig>,
    /// The aggregators that are known at the moment.
    pub(crate) aggregators: watch::Receiver<Vec<PeerAddress>>,
    /// Connections to them.
    pub(crate) connections: Connections,
    pub(crate) clock: Clock,
    pub(crate) registries: Registries,
    /// Number of pools.
    pub(crate) pools: Gauge,
}

/// The pools that a collector scrapes for.
#[derive(Debug)]
pub(crate) struct CollectedPools {
    parts: Parts,
    pools: BTreeMap<String, CollectedPool>,
    /// Actors that end, including those of pools that are gone.
    ended: JoinSet<ActorId>,
}

#[derive(Debug)]
struct CollectedPool {
    root: ActorCell,
    _metrics: RegistryEntry,
}

impl CollectedPools {
    /// Returns no pools yet.
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, pools: BTreeMap::new(), ended: JoinSet::new() }
    }

    /// Starts to scrape for a pool; without a name, the only one that the aggregators have.
    ///
    /// # Errors
    /// The actors cannot start.
    pub(crate) async fn start(&mut self, name: Option<&str>) -> Result<(), SpawnErr> {
        let Parts { config, aggregators, connections, clock, registries, pools } = &self.parts;
        let (metrics, mut own) = (Arc::new(Metrics::default()), registry("collector"));
        metrics.register(&mut own);
        let shared = Arc::new(Shared {
            config: Arc::clone(config),
            pool: name.map(str::to_owned),
            aggregators: aggregators.clone(),
            connections: connections.clone(),
            clock: *clock,
            metrics,
            outbox: Outbox::default(),
            highest_epoch: HighestEpoch::default(),
        });
        let (root, _) = Actor::spawn(None, Root, shared).await?;
        let label = name.map(str::to_owned);
        let metrics = registries.add("pool", move || label.clone(), own);
        let pool = CollectedPool { root: root.get_cell(), _metrics: metrics };
        self.ended.spawn(async move {
            // The wait has no time limit, so it cannot fail.
            let _ = root.wait(None).await;
            root.get_id()
        });
        self.pools.insert(name.unwrap_or_default().to_owned(), pool);
        pools.set(self.pools.len() as i64);
        Ok(())
    }

    /// Starts and stops pools until they are those of the fleet.
    async fn follow(&mut self, fleet: &Fleet) -> Result<(), SpawnErr> {
        if !fleet.is_synced {
            return Ok(());
        }
        let wanted: BTreeSet<String> = fleet.pools.keys().map(ToString::to_string).collect();
        let gone: Vec<String> = self.pools.keys().filter(|pool| !wanted.contains(*pool)).cloned().collect();
        for pool in gone {
            let Some(collected) = self.pools.remove(&pool) else { continue };
            tracing::info!(pool, keep = ?KEEP_GONE, "a pool is gone; scraping its endpoints while replicas drain it");
            tokio::spawn(async move {
                tokio::time::sleep(KEEP_GONE).await;
                collected.root.stop(None);
            });
        }
        self.parts.pools.set(self.pools.len() as i64);
        for pool in wanted {
            if !self.pools.contains_key(&pool) {
                tracing::info!(pool, "collecting for a new pool");
                self.start(Some(&pool)).await?;
            }
        }
        Ok(())
    }

    /// Waits until the actors of a pool end that was not stopped. That is a failure, and the log has its reason.
    async fn failed(&mut self) {
        while let Some(ended) = self.ended.join_next().await {
            let is_ended = |pool: &CollectedPool| ended.as_ref().is_ok_and(|id| pool.root.get_id() == *id);
            if self.pools.values().any(is_ended) {
                return;
            }
        }
        // Without pools, none can fail.
        std::future::pending().await
    }

    /// Scrapes for the pools, with a fleet for those of the fleet, until `stop` completes or a pool fails. Then
    /// stops all.
    pub(crate) async fn run(
        mut self,
        mut fleet: Option<watch::Receiver<Fleet>>,
        stop: impl Future<Output = ()>,
    ) {
        tokio::pin!(stop);
        loop {
            let state = tokio::select! {
                () = &mut stop => break,
                () = self.failed() => break,
                state = next_state(&mut fleet) => state,
            };
            if let Err(error) = self.follow(&state).await {
                tracing::error!(%error, "cannot start the actors of a pool");
                break;
            }
        }
        self.pools.values().for_each(|pool| pool.root.stop(None));
        while self.ended.join_next().await.is_some() {}
    }
}

/// Waits for the next state of the fleet; forever if there is none.
async fn next_state(fleet: &mut Option<watch::Receiver<Fleet>>) -> Fleet {
    if let Some(fleet) = fleet
        && fleet.changed().await.is_ok()
    {
        return fleet.borrow_and_update().clone();
    }
    std::future::pending().await
}
