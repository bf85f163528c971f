//! Follows a pool over streams to all its aggregators: the owner sends frames, the others report that they
//! are not the owner.

use std::collections::BTreeMap;

use signalbox_types::Version;

use super::follower_messages::{Cursor, FollowerEffect, FollowerEvent, FromAggregator, FromFollower};
use super::frame::Frame;
use super::journaled_replica::JournaledReplica;
use super::state_replica::{ApplyOutcome, FrameSource};

/// The minimum time between two cursors to the same aggregator that ask it for missing frames, in
/// milliseconds.
const CURSOR_INTERVAL_MS: u64 = 200;

/// An owner that stays silent this long counts as gone, in milliseconds. Owners send ten heartbeats a second.
const OWNER_TIMEOUT_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug, Default)]
struct Aggregator {
    /// The epoch under which the aggregator owns the pool, if it reports that it owns it.
    owner_epoch: Option<u64>,
    last_message_ms: u64,
    cursor_sent_at_ms: Option<u64>,
}

/// Whether a fetch has delivered everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchProgress {
    InProgress,
    Complete,
}

/// Follows a pool: a [`JournaledReplica`] and the aggregators from which it receives frames.
#[derive(Debug)]
pub struct Follower {
    replica: JournaledReplica,
    aggregators: BTreeMap<FrameSource, Aggregator>,
    highest_epoch: u64,
    /// The owner's clock at its last heartbeat, and this process's clock when the heartbeat arrived, in
    /// milliseconds.
    owner_clock_ms: (u64, u64),
}

impl Follower {
    /// Creates a follower that starts with the state of `replica`.
    pub fn new(replica: JournaledReplica) -> Self {
        Self { replica, aggregators: BTreeMap::new(), highest_epoch: 0, owner_clock_ms: (0, 0) }
    }

    /// Returns the replica.
    pub fn replica(&self) -> &JournaledReplica {
        &self.replica
    }

    /// Applies a frame that another follower sends in reply to a fetch. A fetch completes with a heartbeat.
    pub(crate) fn apply_fetched(&mut self, now_ms: u64, source: FrameSource, frame: Frame) -> FetchProgress {
        let owner_clock_ms = match &frame {
            Frame::Heartbeat { now_ms: owner_ms, .. } => Some(*owner_ms),
            _ => None,
        };
        // A frame that does not match is ignored: another follower may send one that does.
        let outcome = self.replica.apply(source, frame);
        match owner_clock_ms {
            Some(owner_ms) if outcome == ApplyOutcome::Applied => self.owner_clock_ms = (owner_ms, now_ms),
            Some(_) => {}
            None => return FetchProgress::InProgress,
        }
        FetchProgress::Complete
    }

    /// Discards the partial history that a follower has sent in an incomplete fetch.
    pub(crate) fn cancel_fetch(&mut self, source: FrameSource) {
        self.replica.discard_partial_snapshot(source);
    }

    /// Replaces the replica and returns the one before.
    pub(crate) fn replace_replica(&mut self, replica: JournaledReplica) -> JournaledReplica {
        std::mem::replace(&mut self.replica, replica)
    }

    /// Returns the highest known epoch.
    pub fn epoch(&self) -> u64 {
        self.highest_epoch.max(self.replica.cursor().map_or(0, |version| version.epoch))
    }

    /// Sets the owner's clock to `pool_ms` at `now_ms`. Used when this process was the owner until now.
    pub(crate) fn set_owner_clock(&mut self, pool_ms: u64, now_ms: u64) {
        self.owner_clock_ms = (pool_ms, now_ms);
    }

    /// Returns the epoch under which an aggregator owns the pool, if it reports that it owns it.
    pub(crate) fn owner_epoch(&self, source: FrameSource) -> Option<u64> {
        self.aggregators.get(&source)?.owner_epoch
    }

    /// Records an event on behalf of an owner at `version`, which applies no frames. Returns the cursor to
    /// send, if there is one.
    pub(crate) fn observe_as_owner(
        &mut self,
        now_ms: u64,
        source: FrameSource,
        event: &FollowerEvent,
        version: Version,
    ) -> Option<FollowerEffect> {
        match event {
            FollowerEvent::Connected => self.add_aggregator(now_ms, source),
            FollowerEvent::Disconnected => {
                self.aggregators.remove(&source);
                return None;
            }
            FollowerEvent::Received(message) => {
                self.observe(now_ms, source, message);
                if !matches!(message, FromAggregator::NotOwner { .. }) {
                    return None;
                }
            }
        }
        let cursor = Cursor { version: Some(version), epoch: self.epoch().max(version.epoch) };
        Some(FollowerEffect::Send(source, FromFollower::Cursor(cursor)))
    }

    fn add_aggregator(&mut self, now_ms: u64, source: FrameSource) {
        self.aggregators.insert(source, Aggregator { last_message_ms: now_ms, ..Aggregator::default() });
    }

    /// Records that a process knows `epoch`.
    pub(crate) fn observe_epoch(&mut self, epoch: u64) {
        self.highest_epoch = self.highest_epoch.max(epoch);
    }

    /// Returns the owner's clock at `now_ms` of this process's clock, estimated from the last heartbeat.
    pub fn owner_now_ms(&self, now_ms: u64) -> u64 {
        let (owner_ms, at_ms) = self.owner_clock_ms;
        owner_ms + now_ms.saturating_sub(at_ms)
    }

    /// Returns the aggregator that owns the pool under the highest epoch, if it sent a message recently.
    pub fn owner(&self, now_ms: u64) -> Option<(FrameSource, u64)> {
        let is_alive =
            |aggregator: &&Aggregator| now_ms.saturating_sub(aggregator.last_message_ms) < OWNER_TIMEOUT_MS;
        let all = self.aggregators.iter().filter(|(_, aggregator)| is_alive(aggregator));
        let owners = all.filter_map(|(source, aggregator)| Some((*source, aggregator.owner_epoch?)));
        owners.max_by_key(|(source, epoch)| (*epoch, *source))
    }

    /// Handles an event on the stream `source` at `now_ms`.
    pub fn handle(&mut self, now_ms: u64, source: FrameSource, event: FollowerEvent) -> Vec<FollowerEffect> {
        match event {
            FollowerEvent::Connected => {
                self.add_aggregator(now_ms, source);
                vec![self.send_cursor(now_ms, source)]
            }
            FollowerEvent::Disconnected => {
                self.aggregators.remove(&source);
                self.replica.discard_partial_snapshot(source);
                Vec::new()
            }
            FollowerEvent::Received(message) => {
                self.observe(now_ms, source, &message);
                match message {
                    FromAggregator::Frame(frame) => self.apply_frame(now_ms, source, frame),
                    FromAggregator::NotOwner { .. } => vec![self.send_cursor(now_ms, source)],
                    FromAggregator::FetchRequest { after } => self.answer_fetch(now_ms, source, after),
                }
            }
        }
    }

    /// Records whether the aggregator owns the pool, without applying the message.
    pub(crate) fn observe(&mut self, now_ms: u64, source: FrameSource, message: &FromAggregator) {
        let Some(aggregator) = self.aggregators.get_mut(&source) else { return };
        aggregator.last_message_ms = now_ms;
        let epoch = match message {
            FromAggregator::Frame(Frame::Heartbeat { epoch, now_ms: owner_ms, .. }) => {
                if *epoch >= self.highest_epoch {
                    self.owner_clock_ms = (*owner_ms, now_ms);
                }
                aggregator.owner_epoch = Some(*epoch);
                *epoch
            }
            FromAggregator::Frame(Frame::EpochChange { epoch, .. }) => {
                aggregator.owner_epoch = Some(*epoch);
                *epoch
            }
            FromAggregator::Frame(Frame::SnapshotBegin { version, .. }) => {
                aggregator.owner_epoch = Some(version.epoch);
                version.epoch
            }
            FromAggregator::Frame(_) => 0,
            FromAggregator::NotOwner { epoch } => {
                aggregator.owner_epoch = None;
                *epoch
            }
            FromAggregator::FetchRequest { .. } => {
                aggregator.owner_epoch = None;
                0
            }
        };
        self.highest_epoch = self.highest_epoch.max(epoch);
    }

    fn apply_frame(&mut self, now_ms: u64, source: FrameSource, frame: Frame) -> Vec<FollowerEffect> {
        let is_snapshot_part = matches!(frame, Frame::SnapshotBegin { .. } | Frame::SnapshotEntry(_));
        match self.replica.apply(source, frame) {
            ApplyOutcome::Applied if is_snapshot_part => Vec::new(),
            ApplyOutcome::Applied => vec![FollowerEffect::Advanced],
            ApplyOutcome::Reset => {
                self.reset_cursor_limit(source);
                vec![FollowerEffect::SnapshotInstalled]
            }
            ApplyOutcome::Gap(gap) => {
                let mut effects = vec![FollowerEffect::Gap(gap)];
                effects
                    .extend(self.may_send_cursor(now_ms, source).then(|| self.send_cursor(now_ms, source)));
                effects
            }
            // The cursor tells an earlier owner about the higher epoch.
            ApplyOutcome::Stale if self.is_outranked(source) && self.may_send_cursor(now_ms, source) => {
                vec![self.send_cursor(now_ms, source)]
            }
            ApplyOutcome::Stale => Vec::new(),
        }
    }

    fn is_outranked(&self, source: FrameSource) -> bool {
        let owner_epoch = self.aggregators.get(&source).and_then(|aggregator| aggregator.owner_epoch);
        owner_epoch.is_some_and(|epoch| epoch < self.epoch())
    }

    fn may_send_cursor(&self, now_ms: u64, source: FrameSource) -> bool {
        let cursor_sent_at_ms =
            self.aggregators.get(&source).and_then(|aggregator| aggregator.cursor_sent_at_ms);
        cursor_sent_at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= CURSOR_INTERVAL_MS)
    }

    fn reset_cursor_limit(&mut self, source: FrameSource) {
        if let Some(aggregator) = self.aggregators.get_mut(&source) {
            aggregator.cursor_sent_at_ms = None;
        }
    }

    fn send_cursor(&mut self, now_ms: u64, source: FrameSource) -> FollowerEffect {
        if let Some(aggregator) = self.aggregators.get_mut(&source) {
            aggregator.cursor_sent_at_ms = Some(now_ms);
        }
        let cursor = Cursor { version: self.replica.cursor(), epoch: self.epoch() };
        FollowerEffect::Send(source, FromFollower::Cursor(cursor))
    }

    /// Returns the frames after `after`, followed by a heartbeat like the owner's: it verifies the whole
    /// state and carries the owner's clock.
    fn answer_fetch(&self, now_ms: u64, source: FrameSource, after: Option<Version>) -> Vec<FollowerEffect> {
        let Version { epoch, seq } = self.replica.cursor().unwrap_or_default();
        let digest = self.replica.state_replica().pool_state().digest();
        let heartbeat = Frame::Heartbeat { epoch, seq, now_ms: self.owner_now_ms(now_ms), digest };
        let frames = self.replica.frames_after(after).into_iter().chain([heartbeat]);
        frames.map(|frame| FollowerEffect::Send(source, FromFollower::FetchReply(frame))).collect()
    }
}
