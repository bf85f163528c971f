//! What the streams of one pool share with its actor.

use std::time::Duration;

use signalbox_state::RoleStatus;
use signalbox_types::PoolId;
use tokio::sync::watch;

use super::message::PoolOwnerRef;
use super::message_budget::PoolBudget;
use super::origin_bindings::OriginBindings;
use super::request_end_relay::RequestEndRelay;

/// What the streams of one pool share with its `PoolOwner` actor.
#[derive(Debug)]
pub(crate) struct PoolHandle {
    pub(crate) pool: PoolId,
    /// The pool's actor; `None` while it is restarted.
    pub(crate) actor: watch::Sender<Option<PoolOwnerRef>>,
    /// The highest known epoch. Each send makes the followers' streams poll the actor, even if the epoch is
    /// the same.
    pub(crate) epoch: watch::Sender<u64>,
    pub(crate) status: watch::Sender<RoleStatus>,
    pub(crate) request_ends: RequestEndRelay,
    /// Bounds the messages that queue for the actor.
    pub(crate) budget: PoolBudget,
    pub(crate) origins: OriginBindings,
}

impl PoolHandle {
    /// `origin_ttl` is how long the owner keeps an origin that is silent.
    pub(crate) fn new(pool: PoolId, origin_ttl: Duration) -> Self {
        Self {
            pool,
            actor: watch::Sender::new(None),
            epoch: watch::Sender::new(0),
            status: watch::Sender::new(RoleStatus::Standby),
            request_ends: RequestEndRelay::default(),
            budget: PoolBudget::default(),
            origins: OriginBindings::new(origin_ttl),
        }
    }

    /// Makes the streams of followers poll the actor.
    pub(crate) fn wake_followers(&self, epoch: u64) {
        self.epoch.send_replace(epoch);
    }

    pub(crate) fn set_status(&self, status: RoleStatus) {
        self.status.send_replace(status);
    }

    /// Waits until this aggregator does not own the pool.
    pub(crate) async fn ownership_lost(&self) {
        let mut status = self.status.subscribe();
        // This cannot fail: `self` holds the sender.
        let _ = status.wait_for(|status| !matches!(status, RoleStatus::Owner(_))).await;
    }
}
