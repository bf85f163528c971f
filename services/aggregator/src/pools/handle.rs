//! What the streams of one pool share with its actor.

use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use signalbox_state::{BeyondHistory, FollowerPoll, OwnedHistory, PollReply, RoleStatus};
use signalbox_types::PoolId;
use tokio::sync::watch;

use super::bulk_queue::BulkQueue;
use super::message::PoolOwnerRef;
use super::message_budget::PoolBudget;
use super::origin_bindings::OriginBindings;
use super::progress::Progress;
use super::published_signal::LatestSignal;
use super::request_end_relay::RequestEndRelay;

/// The history that an owner publishes.
#[derive(Debug)]
pub(crate) struct PublishedHistory {
    pub(crate) history: OwnedHistory,
    /// The start of the clock of the actor that published it.
    pub(crate) clock_start: Instant,
}

impl PublishedHistory {
    /// Answers a follower's poll now.
    pub(crate) fn poll(&self, poll: FollowerPoll) -> Result<PollReply, BeyondHistory> {
        self.history.poll(self.clock_start.elapsed().as_millis() as u64, poll)
    }
}

/// What the streams of one pool share with its `PoolOwner` actor.
#[derive(Debug)]
pub(crate) struct PoolHandle {
    pub(crate) pool: PoolId,
    /// The pool's actor; `None` while it is restarted.
    pub(crate) actor: watch::Sender<Option<PoolOwnerRef>>,
    /// The highest known epoch. Each send makes the followers' streams look for what comes next, even if
    /// the epoch is the same.
    pub(crate) epoch: watch::Sender<u64>,
    pub(crate) status: watch::Sender<RoleStatus>,
    pub(crate) request_ends: RequestEndRelay,
    /// Bounds the messages that queue for the actor.
    pub(crate) budget: PoolBudget,
    /// The messages with content that queue for the actor.
    pub(crate) bulk: BulkQueue,
    /// The history that the streams of followers read while this aggregator owns the pool.
    pub(crate) history: ArcSwapOption<PublishedHistory>,
    pub(crate) origins: OriginBindings,
    /// Whether the actor makes progress.
    pub(crate) progress: Progress,
    /// How many model servers the pool needs, as its owner has published it, whichever aggregator that is.
    pub(crate) signal: LatestSignal,
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
            bulk: BulkQueue::default(),
            history: ArcSwapOption::empty(),
            origins: OriginBindings::new(origin_ttl),
            progress: Progress::new(),
            signal: LatestSignal::default(),
        }
    }

    /// Returns for how long the actor has finished no message, if that is too long. One that is being restarted
    /// is not stuck.
    pub(crate) fn stalled_for(&self) -> Option<Duration> {
        self.progress.stalled_for().filter(|_| self.actor.borrow().is_some())
    }

    /// Makes the streams of followers look for what comes next.
    pub(crate) fn wake_followers(&self, epoch: u64) {
        self.epoch.send_modify(|known| *known = (*known).max(epoch));
    }

    /// Publishes the highest epoch that the actor knows.
    pub(crate) fn publish_epoch(&self, epoch: u64) {
        self.epoch.send_if_modified(|known| {
            let is_higher = *known < epoch;
            *known = (*known).max(epoch);
            is_higher
        });
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
