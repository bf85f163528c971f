//! What the actors of all pools have in common.

use std::sync::Arc;
use std::time::Duration;

use signalbox_lease::discover_aggregators;
use signalbox_peers::{Connections, FollowSettings, FollowedPool};
use signalbox_state::{JournalBounds, PoolConfig, PoolRoleConfig};
use signalbox_tls::Security;
use signalbox_types::{EndpointKey, PeerAddress, PoolId, PoolSpec};
use signalbox_wire::Hello;
use tokio::sync::watch;

use super::coordination::Membership;
use super::history_budget::HistoryBudget;
use super::pool_owner::PoolOwnerSetup;
use crate::metrics::Metrics;
use crate::pools::PoolHandle;

/// Configuration of all pools' actors.
#[derive(Clone, Debug)]
pub(crate) struct RoleSettings {
    pub(crate) pool: PoolConfig,
    pub(crate) takeover_wait: Duration,
    pub(crate) lease_ttl: Duration,
    pub(crate) failback_after: Duration,
    /// For the histories of all pools together.
    pub(crate) history: HistoryBudget,
}

/// Prepares the actors of pools.
#[derive(Debug)]
pub(crate) struct PoolOwnerSetups {
    settings: RoleSettings,
    membership: Membership,
    pub(super) metrics: Arc<Metrics>,
    /// The addresses of the other aggregators.
    others: watch::Receiver<Vec<PeerAddress>>,
    /// Connections to them.
    connections: Connections,
    /// How much history each pool keeps.
    history: watch::Sender<JournalBounds>,
}

impl PoolOwnerSetups {
    pub(crate) fn new(
        settings: RoleSettings,
        security: Security,
        membership: Membership,
        metrics: Arc<Metrics>,
    ) -> Self {
        let name = Some(membership.session.name());
        let others = discover_aggregators(Vec::new(), Some(&membership.coordinator), name);
        let history = watch::Sender::new(settings.history.share(1));
        Self { settings, membership, metrics, others, connections: Connections::new(security), history }
    }

    /// Lets `pools` pools share the memory for their histories.
    pub(super) fn share_history(&self, pools: usize) {
        let share = self.settings.history.share(pools);
        self.history.send_if_modified(|before| std::mem::replace(before, share) != share);
    }

    /// Returns what the actor of `pool` needs.
    pub(super) fn pool(&self, pool: PoolId, specs: watch::Receiver<Arc<PoolSpec>>) -> PoolOwnerSetup {
        let RoleSettings { pool: config, takeover_wait, lease_ttl, failback_after, .. } = &self.settings;
        let name = self.membership.session.name().to_owned();
        let hello = Hello { pool: Some(pool.to_string()), name: name.clone() };
        PoolOwnerSetup {
            config: PoolRoleConfig {
                name,
                pool_hash: EndpointKey::of(&pool.to_string()).0,
                pool: *config,
                takeover_wait_ms: takeover_wait.as_millis() as u64,
                lease_ttl_ms: lease_ttl.as_millis() as u64,
                failback_after_ms: failback_after.as_millis() as u64,
            },
            specs,
            history: self.history.subscribe(),
            peers: FollowSettings {
                pool: Arc::new(FollowedPool::requested_by(&hello)),
                hello,
                aggregators: self.others.clone(),
                connections: self.connections.clone(),
            },
            membership: self.membership.clone(),
            metrics: Arc::new(self.metrics.pool(&pool)),
            handle: Arc::new(PoolHandle::new(pool, Duration::from_millis(config.origin_ttl_ms))),
        }
    }
}
