//! Follows a pool over streams to all its aggregators: the owner sends frames, the others report that they
//! are not the owner.

mod aggregators;

use signalbox_types::{KnownEpoch, Version};

use self::aggregators::Aggregators;
use super::follower_messages::{
    Cursor, FollowerEffect, FollowerEvent, FromAggregator, FromFollower, HeardOwner,
};
use super::frame::Frame;
use super::journal::JournalBounds;
use super::journaled_replica::JournaledReplica;
use super::lateness::Lateness;
use super::state_replica::{ApplyOutcome, FrameSource};

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
    aggregators: Aggregators,
    /// The owner that this follower heard after the last event.
    heard_owner: HeardOwner,
    known_epoch: KnownEpoch,
    lateness: Lateness,
    /// The owner's clock at its last heartbeat, and this process's clock when the heartbeat arrived, in
    /// milliseconds.
    owner_clock_ms: (u64, u64),
}

impl Follower {
    /// Creates a follower that starts with the state of `replica`.
    pub fn new(replica: JournaledReplica) -> Self {
        Self {
            replica,
            aggregators: Aggregators::default(),
            heard_owner: HeardOwner::Nobody,
            known_epoch: KnownEpoch::default(),
            lateness: Lateness::default(),
            owner_clock_ms: (0, 0),
        }
    }

    /// Returns the replica.
    pub fn replica(&self) -> &JournaledReplica {
        &self.replica
    }

    /// Changes how much history is kept.
    pub fn set_history(&mut self, bounds: JournalBounds) {
        self.replica.set_bounds(bounds);
    }

    /// Applies a frame that another follower sends in reply to a fetch. A fetch completes with a heartbeat.
    pub(crate) fn apply_fetched(&mut self, now_ms: u64, source: FrameSource, frame: Frame) -> FetchProgress {
        let owner_clock_ms = match &frame {
            Frame::Heartbeat { now_ms: owner_ms, .. } => Some(*owner_ms),
            _ => None,
        };
        // A frame that does not match is ignored: another follower may send one that does.
        self.replica.record_time(now_ms);
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

    /// Returns the replica of a process that stops following.
    pub(crate) fn into_replica(self) -> JournaledReplica {
        self.replica
    }

    /// Returns the highest known epoch.
    pub fn epoch(&self) -> u64 {
        self.known_epoch.highest().max(self.replica.cursor().map_or(0, |version| version.epoch))
    }

    /// Sets the owner's clock to `pool_ms` at `now_ms`. Used when this process was the owner until now.
    pub(crate) fn set_owner_clock(&mut self, pool_ms: u64, now_ms: u64) {
        self.owner_clock_ms = (pool_ms, now_ms);
    }

    /// Returns the epoch under which an aggregator owns the pool, if it reports that it owns it.
    pub(crate) fn owner_epoch(&self, source: FrameSource) -> Option<u64> {
        self.aggregators.owner_epoch(source)
    }

    /// Records an event on behalf of an owner at `version`, which applies no frames, whose state is `provisional_since` this epoch, or final. Returns the cursor to
    /// send, if there is one.
    pub(crate) fn observe_as_owner(
        &mut self,
        now_ms: u64,
        source: FrameSource,
        event: &FollowerEvent,
        version: Version,
        provisional_since: u64,
    ) -> Option<FollowerEffect> {
        match event {
            FollowerEvent::Connected => self.aggregators.add(now_ms, source),
            FollowerEvent::Disconnected => {
                self.aggregators.remove(source);
                return None;
            }
            FollowerEvent::Received(message) => {
                if !self.observe(now_ms, source, message) {
                    return None;
                }
                if !matches!(message, FromAggregator::NotOwner { .. }) {
                    return None;
                }
            }
        }
        let heard = HeardOwner::Epoch(version.epoch);
        let epoch = self.epoch().max(version.epoch);
        let cursor = Cursor { version: Some(version), epoch, heard, provisional_since, diverged_at: None };
        Some(FollowerEffect::Send(source, FromFollower::Cursor(cursor)))
    }

    /// Returns how many epochs were ignored, because they cannot be genuine.
    pub fn refused_epochs(&self) -> u64 {
        self.known_epoch.refused()
    }

    /// Returns the epoch that was ignored last; 0 if none was.
    pub(crate) fn last_refused_epoch(&self) -> u64 {
        self.known_epoch.last_refused()
    }

    /// Records that a process knows `epoch`. Returns whether it can be genuine.
    pub(crate) fn hear_epoch(&mut self, epoch: u64) -> bool {
        self.known_epoch.hear(epoch)
    }

    /// Records that the coordinator has granted `epoch`.
    pub(crate) fn confirm_epoch(&mut self, epoch: u64) {
        self.known_epoch.confirm(epoch);
    }

    /// Returns the owner's clock at `now_ms` of this process's clock, estimated from the last heartbeat.
    pub fn owner_now_ms(&self, now_ms: u64) -> u64 {
        let (owner_ms, at_ms) = self.owner_clock_ms;
        owner_ms.saturating_add(now_ms.saturating_sub(at_ms))
    }

    /// Returns the aggregator that owns the pool under the highest epoch, if it sent a message recently.
    pub fn owner(&self, now_ms: u64) -> Option<(FrameSource, u64)> {
        self.aggregators.owner(now_ms)
    }

    /// Records that this process runs at `now_ms`, even if nothing arrives.
    pub fn record_time(&mut self, now_ms: u64) {
        self.lateness.restart(now_ms);
    }

    /// Handles an event on the stream `source` at `now_ms`.
    pub fn handle(&mut self, now_ms: u64, source: FrameSource, event: FollowerEvent) -> Vec<FollowerEffect> {
        // An owner that says so itself is not lost: the next cursors, which are due anyway, are early enough.
        let is_known = matches!(&event, FollowerEvent::Received(FromAggregator::NotOwner { .. }))
            && self.aggregators.owner_epoch(source).is_some();
        // All aggregators send something ten times a second: if nothing was handled for longer, messages of the owner may
        // wait behind this one.
        let late_ms = self.lateness.more(now_ms);
        self.lateness.restart(now_ms);
        self.excuse(now_ms, late_ms);
        self.replica.record_time(now_ms);
        let mut effects = self.handle_event(now_ms, source, event);
        let heard = self.aggregators.heard_owner(now_ms);
        if std::mem::replace(&mut self.heard_owner, heard) != heard && !is_known {
            self.report_owner(now_ms, &mut effects);
        }
        effects
    }

    /// Counts `late_ms` of the aggregators' silence until `now_ms` as this process's own.
    pub(crate) fn excuse(&mut self, now_ms: u64, late_ms: u64) {
        self.aggregators.excuse(now_ms, late_ms);
    }

    /// Tells all standbys which owner this follower hears.
    fn report_owner(&mut self, now_ms: u64, effects: &mut Vec<FollowerEffect>) {
        let told = |effect: &FollowerEffect| match effect {
            FollowerEffect::Send(to, FromFollower::Cursor(_)) => Some(*to),
            _ => None,
        };
        let told: Vec<_> = effects.iter().filter_map(told).collect();
        let standbys: Vec<_> = self.aggregators.standbys().filter(|to| !told.contains(to)).collect();
        effects.extend(standbys.into_iter().map(|standby| self.send_cursor(now_ms, standby)));
    }

    fn handle_event(
        &mut self,
        now_ms: u64,
        source: FrameSource,
        event: FollowerEvent,
    ) -> Vec<FollowerEffect> {
        match event {
            FollowerEvent::Connected => {
                self.aggregators.add(now_ms, source);
                vec![self.send_cursor(now_ms, source)]
            }
            FollowerEvent::Disconnected => {
                self.aggregators.remove(source);
                self.replica.discard_partial_snapshot(source);
                Vec::new()
            }
            FollowerEvent::Received(message) => {
                if !self.observe(now_ms, source, &message) {
                    return vec![FollowerEffect::EpochRefused(self.known_epoch.last_refused())];
                }
                match message {
                    FromAggregator::Frame(frame) => self.apply_frame(now_ms, source, frame),
                    FromAggregator::NotOwner { .. } => vec![self.send_cursor(now_ms, source)],
                    FromAggregator::FetchRequest { after } => self.answer_fetch(now_ms, source, after),
                }
            }
        }
    }

    /// Records whether the aggregator owns the pool, without applying the message. Returns whether the message
    /// counts: not if it names an epoch that cannot be genuine.
    fn observe(&mut self, now_ms: u64, source: FrameSource, message: &FromAggregator) -> bool {
        if message.highest_epoch().is_some_and(|epoch| !self.known_epoch.hear(epoch)) {
            return false;
        }
        if self.aggregators.contains(source) {
            self.aggregators.record_message(now_ms, source, message);
            if let FromAggregator::Frame(Frame::Heartbeat { epoch, now_ms: owner_ms, .. }) = message
                && *epoch >= self.known_epoch.highest()
            {
                self.owner_clock_ms = (*owner_ms, now_ms);
            }
        }
        true
    }

    fn apply_frame(&mut self, now_ms: u64, source: FrameSource, frame: Frame) -> Vec<FollowerEffect> {
        let is_snapshot_part = matches!(frame, Frame::SnapshotBegin { .. } | Frame::SnapshotEntry(_));
        match self.replica.apply(source, frame) {
            ApplyOutcome::Applied if is_snapshot_part => Vec::new(),
            ApplyOutcome::Applied => vec![FollowerEffect::Advanced],
            ApplyOutcome::Reset => {
                self.aggregators.reset_cursor_limit(source);
                let installed = self.replica.cursor().map(FromFollower::Installed);
                let installed = installed.map(|message| FollowerEffect::Send(source, message));
                [FollowerEffect::SnapshotInstalled].into_iter().chain(installed).collect()
            }
            ApplyOutcome::Gap(gap) => {
                let mut effects = vec![FollowerEffect::Gap(gap)];
                effects.extend(
                    self.aggregators
                        .may_send_cursor(now_ms, source)
                        .then(|| self.send_cursor(now_ms, source)),
                );
                effects
            }
            // The cursor tells an earlier owner about the higher epoch.
            ApplyOutcome::Stale
                if self.is_outranked(source) && self.aggregators.may_send_cursor(now_ms, source) =>
            {
                vec![self.send_cursor(now_ms, source)]
            }
            ApplyOutcome::Stale => Vec::new(),
        }
    }

    fn is_outranked(&self, source: FrameSource) -> bool {
        self.aggregators.owner_epoch(source).is_some_and(|epoch| epoch < self.epoch())
    }

    fn send_cursor(&mut self, now_ms: u64, source: FrameSource) -> FollowerEffect {
        self.aggregators.record_cursor(now_ms, source);
        let heard = self.aggregators.heard_owner(now_ms);
        let held = self.replica.state_replica();
        let cursor = Cursor {
            version: held.cursor(),
            epoch: self.epoch(),
            heard,
            provisional_since: held.pool_state().provisional_since(),
            diverged_at: held.diverged_at(),
        };
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
