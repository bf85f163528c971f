//! What a follower knows about the aggregators to which it has streams.

use std::collections::BTreeMap;

use signalbox_types::Version;

use crate::replication::follower_messages::{FromAggregator, HeardOwner};
use crate::replication::frame::Frame;
use crate::replication::state_replica::FrameSource;

/// The minimum time between two cursors to the same aggregator that ask it for missing frames, in
/// milliseconds.
const CURSOR_INTERVAL_MS: u64 = 200;

/// An owner that stays silent this long counts as gone, in milliseconds. Owners send ten heartbeats a second.
const OWNER_TIMEOUT_MS: u64 = 1_000;

/// What an aggregator last said about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Claimed {
    #[default]
    Nothing,
    NotOwner,
    /// It owns the pool under this epoch.
    Owner(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Aggregator {
    claimed: Claimed,
    last_message_ms: u64,
    cursor_sent_at_ms: Option<u64>,
}

impl Aggregator {
    fn owner_epoch(&self) -> Option<u64> {
        match self.claimed {
            Claimed::Owner(epoch) => Some(epoch),
            Claimed::Nothing | Claimed::NotOwner => None,
        }
    }
}

/// The aggregators to which a follower has streams.
#[derive(Debug, Default)]
pub(super) struct Aggregators(BTreeMap<FrameSource, Aggregator>);

impl Aggregators {
    pub(super) fn add(&mut self, now_ms: u64, source: FrameSource) {
        self.0.insert(source, Aggregator { last_message_ms: now_ms, ..Aggregator::default() });
    }

    pub(super) fn remove(&mut self, source: FrameSource) {
        self.0.remove(&source);
    }

    pub(super) fn contains(&self, source: FrameSource) -> bool {
        self.0.contains_key(&source)
    }

    /// Returns the epoch under which an aggregator owns the pool, if it reports that it owns it.
    pub(super) fn owner_epoch(&self, source: FrameSource) -> Option<u64> {
        self.0.get(&source)?.owner_epoch()
    }

    /// Returns the aggregator that owns the pool under the highest epoch, if it sent a message recently.
    pub(super) fn owner(&self, now_ms: u64) -> Option<(FrameSource, u64)> {
        let is_alive =
            |aggregator: &&Aggregator| now_ms.saturating_sub(aggregator.last_message_ms) < OWNER_TIMEOUT_MS;
        let all = self.0.iter().filter(|(_, aggregator)| is_alive(aggregator));
        let owners = all.filter_map(|(source, aggregator)| Some((*source, aggregator.owner_epoch()?)));
        owners.max_by_key(|(source, epoch)| (*epoch, *source))
    }

    /// Treats the last `late_ms` until `now_ms` as if they had not passed, when the silence of aggregators is measured.
    pub(super) fn excuse(&mut self, now_ms: u64, late_ms: u64) {
        for aggregator in self.0.values_mut() {
            aggregator.last_message_ms = aggregator.last_message_ms.saturating_add(late_ms).min(now_ms);
        }
    }

    /// Returns the owner that the follower hears, as it reports it.
    pub(super) fn heard_owner(&self, now_ms: u64) -> HeardOwner {
        self.owner(now_ms).map_or(HeardOwner::Nobody, |(_, epoch)| HeardOwner::Epoch(epoch))
    }

    /// Returns the aggregators that reported that they do not own the pool.
    pub(super) fn standbys(&self) -> impl Iterator<Item = FrameSource> {
        let is_standby = |aggregator: &Aggregator| aggregator.claimed == Claimed::NotOwner;
        self.0.iter().filter(move |(_, aggregator)| is_standby(aggregator)).map(|(source, _)| *source)
    }

    /// Records a message of an aggregator.
    pub(super) fn record_message(&mut self, now_ms: u64, source: FrameSource, message: &FromAggregator) {
        let Some(aggregator) = self.0.get_mut(&source) else { return };
        aggregator.last_message_ms = now_ms;
        match message {
            FromAggregator::Frame(
                Frame::Heartbeat { epoch, .. }
                | Frame::Delta { epoch, .. }
                | Frame::EpochChange { epoch, .. }
                | Frame::SnapshotBegin { version: Version { epoch, .. }, .. },
            ) => aggregator.claimed = Claimed::Owner(*epoch),
            FromAggregator::Frame(_) => {}
            FromAggregator::NotOwner { .. } | FromAggregator::FetchRequest { .. } => {
                aggregator.claimed = Claimed::NotOwner;
            }
        }
    }

    /// Returns whether another cursor may ask the aggregator for missing frames.
    pub(super) fn may_send_cursor(&self, now_ms: u64, source: FrameSource) -> bool {
        let cursor_sent_at_ms = self.0.get(&source).and_then(|aggregator| aggregator.cursor_sent_at_ms);
        cursor_sent_at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= CURSOR_INTERVAL_MS)
    }

    pub(super) fn record_cursor(&mut self, now_ms: u64, source: FrameSource) {
        if let Some(aggregator) = self.0.get_mut(&source) {
            aggregator.cursor_sent_at_ms = Some(now_ms);
        }
    }

    /// Lets the next cursor be sent at once.
    pub(super) fn reset_cursor_limit(&mut self, source: FrameSource) {
        if let Some(aggregator) = self.0.get_mut(&source) {
            aggregator.cursor_sent_at_ms = None;
        }
    }
}
