//! What happened in a run, so that it is seen that it was worth running.

use std::fmt;
use std::ops::AddAssign;

use signalbox_state::Frame;

/// Something that happens in runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Anything at all.
    Event,
    /// A change was minted.
    Change,
    /// A request was placed.
    Request,
    /// An aggregator began to own the pool.
    Takeover,
    /// An aggregator stopped owning the pool, or being about to.
    Deposition,
    /// Two aggregators owned the pool at once.
    SplitBrain,
    /// A follower was given a delta.
    Delta,
    /// A follower was given a turn.
    Turn,
    /// A follower was given a snapshot.
    SnapshotGiven,
    /// A replica took a snapshot in the place of what it held.
    ReplicaReplaced,
    /// A standby did.
    StandbyReplaced,
    /// A frame could not be taken.
    Gap,
    /// A replica was given up and took a new origin.
    Rebirth,
    /// An owner asked for a whole chain.
    ChainAsked,
    /// An owner evicted.
    Eviction,
    /// A collector was told what to read.
    Assignment,
    /// A model server was started anew, and an owner heard.
    PodReborn,
    /// A message was lost.
    MessageLost,
    /// A message came twice.
    MessageRepeated,
    /// A stream broke.
    StreamBroken,
}

impl Happening {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Event,
        Self::Change,
        Self::Request,
        Self::Takeover,
        Self::Deposition,
        Self::SplitBrain,
        Self::Delta,
        Self::Turn,
        Self::SnapshotGiven,
        Self::ReplicaReplaced,
        Self::StandbyReplaced,
        Self::Gap,
        Self::Rebirth,
        Self::ChainAsked,
        Self::Eviction,
        Self::Assignment,
        Self::PodReborn,
        Self::MessageLost,
        Self::MessageRepeated,
        Self::StreamBroken,
    ];
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; Happening::ALL.len()]);

impl Counters {
    /// How often it happened.
    pub fn of(&self, what: Happening) -> u64 {
        self.0[what as usize]
    }

    pub(crate) fn count(&mut self, what: Happening) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: Happening, times: u64) {
        self.0[what as usize] += times;
    }

    pub(crate) fn framed(&mut self, frame: &Frame) {
        match frame {
            Frame::EpochChange { .. } => self.count(Happening::Turn),
            Frame::Delta { .. } => self.count(Happening::Delta),
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
        for what in Happening::ALL {
            writeln!(f, "{:>12}  {what:?}", self.of(what))?;
        }
        Ok(())
    }
}
