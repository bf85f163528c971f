//! Counts what happened in a run, so that tests can show that the run exercised it.

use std::fmt;
use std::ops::AddAssign;

use signalbox_state::Frame;

/// Something that runs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Events of any kind.
    Event,
    /// Changes created by owners.
    Change,
    /// Requests booked by replicas.
    Request,
    /// Requests that had to wait.
    Waited,
    /// Requests that waited and were granted a place.
    Granted,
    /// Those of them that a replica granted by itself.
    GrantedByReplica,
    /// Requests that waited for as long as they may.
    WaitExpired,
    /// Requests that waited, or were on their way from the queue, when their client left.
    WaiterLeft,
    /// Requests that could not wait.
    Refused,
    /// Requests in flight that were revoked.
    Revoked,
    /// Requests that were to be revoked when their response had just begun.
    RevokedTooLate,
    /// Aggregators that became the owner.
    Takeover,
    /// Claims that replaced an owner that still held its lease.
    EarlyClaim,
    /// Aggregators that stopped being the owner, or gave up a takeover.
    OwnershipLost,
    /// Times when two aggregators owned the pool at once.
    SplitBrain,
    /// Deltas sent to followers.
    Delta,
    /// Epoch changes sent to followers.
    EpochChange,
    /// Snapshots sent to followers.
    SnapshotSent,
    /// Snapshots that replaced a replica's state.
    ReplicaSnapshot,
    /// Snapshots that replaced a standby's state.
    StandbySnapshot,
    /// Frames that a follower could not apply.
    FrameGap,
    /// Invented epochs that a process ignored.
    EpochRefused,
    /// Replicas that were expired and took a new origin.
    OriginRenewal,
    /// Collectors that an owner expired or that connected again.
    CollectorClosed,
    /// Requests of owners for a whole chain.
    ChainRequest,
    /// Evictions by owners.
    Eviction,
    /// Assignments sent to collectors.
    Assignment,
    /// Restarts of model servers.
    PodRestart,
    /// Pods that left the pool after their last request.
    PodDrained,
    /// Requests booked by replicas that saw an endpoint drain.
    RequestWhileDraining,
    /// Lost messages.
    MessageLost,
    /// Messages that arrived twice.
    MessageDuplicated,
    /// Broken streams.
    StreamBroken,
    /// Backlogs of a process that became long.
    LongBacklog,
    /// Renewals of a lease that were withheld because the owner's actor was stuck.
    RenewalWithheld,
    /// Owners that knew of a later one and stepped down.
    OutrankedStepDown,
    /// Messages of an aggregator's mailbox that overtook messages with content.
    ContentOvertaken,
    /// Batches of feedback, or rests of them, that were too much work for one input.
    FeedbackCut,
    /// Inputs that changed the prefix index while a snapshot was being captured.
    ChangedDuringCapture,
    /// Batches of feedback that a replica sent in the name of another.
    FeedbackForged,
    /// Batches of feedback that an owner refused because of their origin.
    FeedbackRefused,
    /// Times when the pods lost most of their KV caches.
    AnchorsLost,
    /// Processes that froze while they were sent a snapshot.
    FrozenInSnapshot,
    /// Followers that were dropped because they took no messages.
    FollowerDropped,
    /// Heartbeats that were due while their follower waited for its changes.
    HeardWhileWaiting,
    /// Messages that waited for room in the queues of an aggregator's actor.
    MessageWaited,
    /// Batches of feedback that a replica sent without a pause.
    FeedbackFlooded,
    /// Streams of followers that an aggregator opened and then refused.
    FollowerRefused,
    /// Heartbeats by which a replica took its state for a wrong one.
    Divergence,
    /// Replicas that gave up and exited after their last request.
    ReplicaGaveUp,
    /// Crashes of the scraper of an endpoint.
    ScraperCrash,
    /// Circuits of endpoints that opened.
    CircuitOpened,
    /// Times when an owner named a replica to probe an endpoint.
    ProberNamed,
    /// Probes of endpoints.
    Probe,
    /// Circuits of endpoints that closed again.
    CircuitClosed,
}

impl Counter {
    /// All counters.
    pub const ALL: [Self; 55] = [
        Self::Event,
        Self::Change,
        Self::Request,
        Self::Waited,
        Self::Granted,
        Self::GrantedByReplica,
        Self::WaitExpired,
        Self::WaiterLeft,
        Self::Refused,
        Self::Revoked,
        Self::RevokedTooLate,
        Self::Takeover,
        Self::EarlyClaim,
        Self::OwnershipLost,
        Self::SplitBrain,
        Self::Delta,
        Self::EpochChange,
        Self::SnapshotSent,
        Self::ReplicaSnapshot,
        Self::StandbySnapshot,
        Self::FrameGap,
        Self::EpochRefused,
        Self::OriginRenewal,
        Self::CollectorClosed,
        Self::ChainRequest,
        Self::Eviction,
        Self::Assignment,
        Self::PodRestart,
        Self::PodDrained,
        Self::RequestWhileDraining,
        Self::MessageLost,
        Self::MessageDuplicated,
        Self::StreamBroken,
        Self::LongBacklog,
        Self::RenewalWithheld,
        Self::OutrankedStepDown,
        Self::ContentOvertaken,
        Self::FeedbackCut,
        Self::ChangedDuringCapture,
        Self::FeedbackForged,
        Self::FeedbackRefused,
        Self::AnchorsLost,
        Self::FrozenInSnapshot,
        Self::FollowerDropped,
        Self::HeardWhileWaiting,
        Self::MessageWaited,
        Self::FeedbackFlooded,
        Self::FollowerRefused,
        Self::Divergence,
        Self::ReplicaGaveUp,
        Self::ScraperCrash,
        Self::CircuitOpened,
        Self::ProberNamed,
        Self::Probe,
        Self::CircuitClosed,
    ];
}

/// The values of all counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Counter::ALL.len()])
    }
}

impl Counters {
    /// Returns the value of one counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    pub(crate) fn increment(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    pub(crate) fn add(&mut self, counter: Counter, count: u64) {
        self.0[counter as usize] += count;
    }

    /// Counts a frame that is sent to a follower, by its kind.
    pub(crate) fn count_frame(&mut self, frame: &Frame) {
        match frame {
            Frame::EpochChange { .. } => self.increment(Counter::EpochChange),
            Frame::Delta { .. } => self.increment(Counter::Delta),
            _ => {}
        }
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for counter in Counter::ALL {
            writeln!(f, "{:>12}  {counter:?}", self.get(counter))?;
        }
        Ok(())
    }
}
