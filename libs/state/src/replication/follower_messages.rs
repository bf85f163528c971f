//! The messages between aggregators and followers.

use std::cmp::Reverse;

use signalbox_types::Version;

use super::frame::Frame;
use super::state_replica::{FrameSource, Gap};

/// A message from an aggregator to a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAggregator {
    /// A part of the state. The sender owns the pool, or did so when it sent the frame.
    Frame(Frame),
    /// The sender does not own the pool. It is sent as often as heartbeats, and answered with a cursor.
    NotOwner {
        /// The highest epoch that the sender knows.
        epoch: u64,
    },
    /// The sender is taking over the pool and requests what the follower holds beyond a version.
    FetchRequest {
        /// The version that the sender holds.
        after: Option<Version>,
    },
}

impl FromAggregator {
    /// Returns the highest epoch in this message; `None` if it has none.
    pub(crate) fn highest_epoch(&self) -> Option<u64> {
        match self {
            Self::Frame(frame) => frame.highest_epoch(),
            Self::NotOwner { epoch } => Some(*epoch),
            Self::FetchRequest { after } => after.map(|version| version.epoch),
        }
    }
}

/// A message from a follower to an aggregator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromFollower {
    /// The version that the follower holds.
    Cursor(Cursor),
    /// The follower has installed the owner's snapshot of this version, and needs what comes after it.
    Installed(Version),
    /// A frame in reply to a fetch request.
    FetchReply(Frame),
}

/// The owner that a follower hears: the one with the highest epoch of those that sent a message within the
/// last second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeardOwner {
    /// The follower does not say, because it is of an older release.
    #[default]
    Unknown,
    /// It hears no owner.
    Nobody,
    /// It hears the owner of this epoch. An owner hears itself.
    Epoch(u64),
}

/// The position of a follower in a pool's history, and the owner that it hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The version that the follower holds. `None`: it holds nothing, or its state has diverged, so that only
    /// a snapshot helps.
    pub version: Option<Version>,
    /// The highest epoch that the follower knows.
    pub epoch: u64,
    /// The owner that the follower hears.
    pub heard: HeardOwner,
    /// The epoch in which the state that the follower holds began, if it is provisional; 0 if it is final.
    pub provisional_since: u64,
    /// The version at which the follower's state diverged. An older snapshot would take it back. `None`: its state has not
    /// diverged, or it does not say, because it is of an older release.
    pub diverged_at: Option<Version>,
}

/// What a process holds of the pool's history, and offers to a new owner. The highest offer is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offer {
    /// The epoch in which a provisional state began; 0 if the state is final. The lowest one is the highest offer.
    pub(crate) provisional_since: Reverse<u64>,
    pub(crate) version: Version,
}

impl Offer {
    pub(crate) const fn new(provisional_since: u64, version: Version) -> Self {
        Self { provisional_since: Reverse(provisional_since), version }
    }
}

impl Cursor {
    /// Returns what the follower offers to a new owner.
    pub(crate) fn offer(&self) -> Option<Offer> {
        self.version.map(|version| Offer::new(self.provisional_since, version))
    }

    /// Returns the highest epoch in this cursor.
    pub(crate) fn highest_epoch(&self) -> u64 {
        let heard = match self.heard {
            HeardOwner::Epoch(epoch) => epoch,
            HeardOwner::Unknown | HeardOwner::Nobody => 0,
        };
        let held = self.version.max(self.diverged_at);
        held.map_or(0, |version| version.epoch).max(self.epoch).max(heard)
    }
}

/// An event on a follower's stream to an aggregator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowerEvent {
    /// The stream was opened.
    Connected,
    /// The stream has ended.
    Disconnected,
    /// A message arrived.
    Received(FromAggregator),
}

/// What a follower must do after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowerEffect {
    /// Send this message on the stream.
    Send(FrameSource, FromFollower),
    /// The replica advanced, or a heartbeat confirmed it.
    Advanced,
    /// A snapshot replaced the replica's state.
    SnapshotInstalled,
    /// A frame could not be applied.
    Gap(Gap),
    /// A message was ignored, because it names this epoch, which cannot be genuine.
    EpochRefused(u64),
}
