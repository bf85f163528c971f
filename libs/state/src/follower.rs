//! Follower a pool over streams to all its aggregators: the one that owns it sends frames, the others say that they do not.

use std::collections::BTreeMap;

use signalbox_types::Version;

use crate::frame::Frame;
use crate::journaled_replica::JournaledReplica;
use crate::state_replica::{ApplyOutcome, FrameSource, Gap};

/// An owner is asked again for what is missing at most so often.
const ASK_AGAIN_MS: u64 = 200;

/// An owner that says nothing for so long is none: it beats ten times a second.
const SILENCE_MS: u64 = 1_000;

/// What an aggregator says to a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAggregator {
    /// Part of the state; it owns the pool, or did.
    Frame(Frame),
    /// It does not own the pool. Said as often as an owner beats, and answered with a cursor.
    NotOwner {
        /// The highest epoch that it knows.
        epoch: u64,
    },
    /// It is about to own the pool, and asks for what the follower holds beyond this.
    FetchRequest {
        /// What it holds itself.
        after: Option<Version>,
    },
}

/// What a follower says to an aggregator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromFollower {
    /// Where it stands.
    Cursor(Cursor),
    /// Something that it was asked for.
    Offered(Frame),
}

/// Where a follower stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// What it holds; `None`: nothing, or nothing that can be built on, so that only a snapshot helps.
    pub version: Option<Version>,
    /// The highest epoch that it knows.
    pub epoch: u64,
}

/// What a follower hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowerEvent {
    /// A stream to an aggregator is open.
    Connected,
    /// It is over.
    Disconnected,
    /// Something came on it.
    Said(FromAggregator),
}

/// What a follower has to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowerEffect {
    /// Say this.
    Tell(FrameSource, FromFollower),
    /// What is held moved on, or is confirmed.
    Moved,
    /// A snapshot took the place of what was held.
    Replaced,
    /// A frame could not be taken.
    Missed(Gap),
}

#[derive(Clone, Copy, Debug, Default)]
struct Aggregator {
    /// The epoch under which it owns the pool, as it says.
    owns: Option<u64>,
    heard_at_ms: u64,
    told_at_ms: Option<u64>,
}

/// Whether more of an offer is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offering {
    GoesOn,
    Ended,
}

/// A [`JournaledReplica`] and the aggregators that it hears.
#[derive(Debug)]
pub struct Follower {
    follower: JournaledReplica,
    aggregators: BTreeMap<FrameSource, Aggregator>,
    highest: u64,
    /// The owner's clock at its last beat, and when that came.
    beat_ms: (u64, u64),
}

impl Follower {
    /// Follows with what `follower` holds.
    pub fn new(follower: JournaledReplica) -> Self {
        Self { follower, aggregators: BTreeMap::new(), highest: 0, beat_ms: (0, 0) }
    }

    /// What is held.
    pub fn follower(&self) -> &JournaledReplica {
        &self.follower
    }

    /// Takes what is offered at `now_ms` by one who follows this aggregator; `Ended` with the beat that ends an offer.
    pub(crate) fn take_offered(&mut self, now_ms: u64, source: FrameSource, frame: Frame) -> Offering {
        let beat_ms = match &frame {
            Frame::Heartbeat { now_ms: owner_ms, .. } => Some(*owner_ms),
            _ => None,
        };
        // What does not fit is not needed: the offer of another may.
        let outcome = self.follower.apply(source, frame);
        match beat_ms {
            Some(owner_ms) if outcome == ApplyOutcome::Applied => self.beat_ms = (owner_ms, now_ms),
            Some(_) => {}
            None => return Offering::GoesOn,
        }
        Offering::Ended
    }

    /// Forgets what a follower has offered by halves.
    pub(crate) fn offered_no_more(&mut self, source: FrameSource) {
        self.follower.disconnected(source);
    }

    /// Puts `follower` in the place of what is held, which is returned.
    pub(crate) fn replace(&mut self, follower: JournaledReplica) -> JournaledReplica {
        std::mem::replace(&mut self.follower, follower)
    }

    /// The highest epoch that is known.
    pub fn epoch(&self) -> u64 {
        self.highest.max(self.follower.cursor().map_or(0, |version| version.epoch))
    }

    /// The owner until now was this process: its clock was at `pool_ms` at `now_ms`.
    pub(crate) fn was_owner(&mut self, pool_ms: u64, now_ms: u64) {
        self.beat_ms = (pool_ms, now_ms);
    }

    /// The epoch under which an aggregator owns the pool, as it says.
    pub(crate) fn owned_under(&self, source: FrameSource) -> Option<u64> {
        self.aggregators.get(&source)?.owns
    }

    /// Takes notice of what was heard, on behalf of an owner that is at `version`; says what to say.
    pub(crate) fn overhear(
        &mut self,
        now_ms: u64,
        source: FrameSource,
        heard: &FollowerEvent,
        version: Version,
    ) -> Option<FollowerEffect> {
        match heard {
            FollowerEvent::Connected => self.connected(now_ms, source),
            FollowerEvent::Disconnected => {
                self.aggregators.remove(&source);
                return None;
            }
            FollowerEvent::Said(said) => {
                self.note(now_ms, source, said);
                if !matches!(said, FromAggregator::NotOwner { .. }) {
                    return None;
                }
            }
        }
        let cursor = Cursor { version: Some(version), epoch: self.epoch().max(version.epoch) };
        Some(FollowerEffect::Tell(source, FromFollower::Cursor(cursor)))
    }

    fn connected(&mut self, now_ms: u64, source: FrameSource) {
        self.aggregators.insert(source, Aggregator { heard_at_ms: now_ms, ..Aggregator::default() });
    }

    /// Somebody knows of `epoch`.
    pub(crate) fn heard_of(&mut self, epoch: u64) {
        self.highest = self.highest.max(epoch);
    }

    /// The owner's clock by its last beat, at `now_ms` of this process's.
    pub fn owners_now_ms(&self, now_ms: u64) -> u64 {
        let (owner_ms, at_ms) = self.beat_ms;
        owner_ms + now_ms.saturating_sub(at_ms)
    }

    /// The aggregator that owns the pool under the highest epoch, if it has been heard lately.
    pub fn owner(&self, now_ms: u64) -> Option<(FrameSource, u64)> {
        let living = |aggregator: &&Aggregator| now_ms.saturating_sub(aggregator.heard_at_ms) < SILENCE_MS;
        let all = self.aggregators.iter().filter(|(_, aggregator)| living(aggregator));
        let owners = all.filter_map(|(source, aggregator)| Some((*source, aggregator.owns?)));
        owners.max_by_key(|(source, epoch)| (*epoch, *source))
    }

    /// Takes what was heard on the stream `source` at `now_ms`.
    pub fn hear(&mut self, now_ms: u64, source: FrameSource, heard: FollowerEvent) -> Vec<FollowerEffect> {
        match heard {
            FollowerEvent::Connected => {
                self.connected(now_ms, source);
                vec![self.cursor(now_ms, source)]
            }
            FollowerEvent::Disconnected => {
                self.aggregators.remove(&source);
                self.follower.disconnected(source);
                Vec::new()
            }
            FollowerEvent::Said(said) => {
                self.note(now_ms, source, &said);
                match said {
                    FromAggregator::Frame(frame) => self.take(now_ms, source, frame),
                    FromAggregator::NotOwner { .. } => vec![self.cursor(now_ms, source)],
                    FromAggregator::FetchRequest { after } => self.offer(now_ms, source, after),
                }
            }
        }
    }

    /// Remembers who says to own the pool, but takes nothing.
    pub(crate) fn note(&mut self, now_ms: u64, source: FrameSource, said: &FromAggregator) {
        let Some(aggregator) = self.aggregators.get_mut(&source) else { return };
        aggregator.heard_at_ms = now_ms;
        let epoch = match said {
            FromAggregator::Frame(Frame::Heartbeat { epoch, now_ms: owner_ms, .. }) => {
                if *epoch >= self.highest {
                    self.beat_ms = (*owner_ms, now_ms);
                }
                aggregator.owns = Some(*epoch);
                *epoch
            }
            FromAggregator::Frame(Frame::EpochChange { epoch, .. }) => {
                aggregator.owns = Some(*epoch);
                *epoch
            }
            FromAggregator::Frame(Frame::SnapshotBegin { version, .. }) => {
                aggregator.owns = Some(version.epoch);
                version.epoch
            }
            FromAggregator::Frame(_) => 0,
            FromAggregator::NotOwner { epoch } => {
                aggregator.owns = None;
                *epoch
            }
            FromAggregator::FetchRequest { .. } => {
                aggregator.owns = None;
                0
            }
        };
        self.highest = self.highest.max(epoch);
    }

    fn take(&mut self, now_ms: u64, source: FrameSource, frame: Frame) -> Vec<FollowerEffect> {
        let shows_nothing = matches!(frame, Frame::SnapshotBegin { .. } | Frame::SnapshotEntry(_));
        match self.follower.apply(source, frame) {
            ApplyOutcome::Applied if shows_nothing => Vec::new(),
            ApplyOutcome::Applied => vec![FollowerEffect::Moved],
            ApplyOutcome::Reset => {
                self.forget_asking(source);
                vec![FollowerEffect::Replaced]
            }
            ApplyOutcome::Gap(gap) => {
                let mut todo = vec![FollowerEffect::Missed(gap)];
                todo.extend(self.may_ask(now_ms, source).then(|| self.cursor(now_ms, source)));
                todo
            }
            // An owner that was deposed and does not know is told of the epoch.
            ApplyOutcome::Stale if self.is_outranked(source) && self.may_ask(now_ms, source) => {
                vec![self.cursor(now_ms, source)]
            }
            ApplyOutcome::Stale => Vec::new(),
        }
    }

    fn is_outranked(&self, source: FrameSource) -> bool {
        let owns = self.aggregators.get(&source).and_then(|aggregator| aggregator.owns);
        owns.is_some_and(|epoch| epoch < self.epoch())
    }

    fn may_ask(&self, now_ms: u64, source: FrameSource) -> bool {
        let told_at_ms = self.aggregators.get(&source).and_then(|aggregator| aggregator.told_at_ms);
        told_at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= ASK_AGAIN_MS)
    }

    fn forget_asking(&mut self, source: FrameSource) {
        if let Some(aggregator) = self.aggregators.get_mut(&source) {
            aggregator.told_at_ms = None;
        }
    }

    fn cursor(&mut self, now_ms: u64, source: FrameSource) -> FollowerEffect {
        if let Some(aggregator) = self.aggregators.get_mut(&source) {
            aggregator.told_at_ms = Some(now_ms);
        }
        let cursor = Cursor { version: self.follower.cursor(), epoch: self.epoch() };
        FollowerEffect::Tell(source, FromFollower::Cursor(cursor))
    }

    /// What is held beyond `after`, and a beat as the owner would give it: it proves the whole, and tells the owner's clock.
    fn offer(&self, now_ms: u64, source: FrameSource, after: Option<Version>) -> Vec<FollowerEffect> {
        let Version { epoch, seq } = self.follower.cursor().unwrap_or_default();
        let digest = self.follower.replica().pool_state().digest();
        let beat = Frame::Heartbeat { epoch, seq, now_ms: self.owners_now_ms(now_ms), digest };
        let offered = self.follower.offer(after).into_iter().chain([beat]);
        offered.map(|frame| FollowerEffect::Tell(source, FromFollower::Offered(frame))).collect()
    }
}
