//! A follower of the pool's state: takes frames in whatever order they come, and is never wrong, only behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{Format, Version};
use thiserror::Error;

use crate::change::Change;
use crate::digest::Digest;
use crate::frame::{Entry, Frame, assemble};
use crate::picture::{Diverged, Picture};

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken; what is held moved on or is confirmed.
    Applied,
    /// It tells nothing new, or comes from an owner that is none any more. Nothing changed.
    Stale,
    /// Something before it is missing, or what is held is wrong; the owner has to be asked.
    Gap(Gap),
    /// A whole snapshot took the place of what was held.
    Reset,
}

/// Why a frame could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Gap {
    /// A frame is missing or out of order; what is held is right as far as it goes.
    #[error("a frame is missing")]
    Order,
    /// A snapshot did not arrive as it was sent.
    #[error("a snapshot did not arrive whole")]
    Snapshot,
    /// A change does not fit what is held.
    #[error("what is held is not what the owner holds")]
    Change(#[source] Diverged),
    /// The sums differ in these kinds.
    #[error("the state differs from the owner's in: {}", .0.join(", "))]
    Digest(Vec<&'static str>),
}

/// A stream on which frames come, numbered by whoever reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// From an aggregator that is followed.
    Aggregator(u64),
    /// From a follower of this aggregator, which offers what it holds.
    Follower(u64),
}

/// A snapshot that is arriving on a stream.
#[derive(Debug)]
enum Incoming {
    /// One of an owner that is none any more.
    Outdated,
    /// One that may take the place of what is held.
    Buffered(Buffer),
}

#[derive(Debug)]
struct Buffer {
    version: Version,
    format: Format,
    entries: Vec<Arc<Entry>>,
}

/// What is held, and whether it can be built on.
#[derive(Clone, Copy, Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Sound(Version),
    /// Better than nothing, but only a snapshot helps.
    Diverged(Version),
}

/// A follower of the pool's state.
#[derive(Debug, Default)]
pub struct Replica {
    held: Held,
    format: Format,
    picture: Picture,
    incoming: BTreeMap<Source, Incoming>,
}

/// How the epoch of a frame relates to the one that is held.
enum Epoch {
    Mine,
    Newer,
    Older,
    NothingHeld,
}

impl Replica {
    /// A follower that holds `picture`, which is at `version`.
    pub(crate) fn holding(version: Version, format: Format, picture: Picture) -> Self {
        Self { held: Held::Sound(version), format, picture, incoming: BTreeMap::new() }
    }

    /// What is held, for an owner to go on from.
    pub(crate) fn into_picture(self) -> Picture {
        self.picture
    }

    /// The version of what is held; `None` before the first snapshot.
    pub fn version(&self) -> Option<Version> {
        match self.held {
            Held::Nothing => None,
            Held::Sound(version) | Held::Diverged(version) => Some(version),
        }
    }

    /// The version that the owner can build on; `None` when only a snapshot helps.
    pub fn cursor(&self) -> Option<Version> {
        match self.held {
            Held::Nothing | Held::Diverged(_) => None,
            Held::Sound(version) => Some(version),
        }
    }

    /// By what the placements held are to be read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What is held; empty before the first snapshot.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Takes one frame that came from `source`. The table in docs/PROTOCOL.md has a row for each arm and a column for each epoch.
    pub fn apply(&mut self, source: Source, frame: Frame) -> Outcome {
        match frame {
            Frame::Init { version, format } => self.init(source, version, format),
            Frame::Entry(entry) => self.entry(source, entry),
            Frame::InitDone { version, count, digest } => self.init_done(source, version, count, &digest),
            Frame::Delta { epoch, from, to, changes } => self.delta(epoch, from, to, &changes),
            Frame::Turn { from, epoch } => self.turn(from, epoch),
            Frame::Beat { epoch, seq, digest, now_ms: _ } => self.beat(source, epoch, seq, &digest),
        }
    }

    /// The stream is over: what it left half sent will not be completed.
    pub fn disconnected(&mut self, source: Source) {
        self.incoming.remove(&source);
    }

    fn compare(&self, epoch: u64) -> Epoch {
        match self.version() {
            None => Epoch::NothingHeld,
            Some(held) if held.epoch == epoch => Epoch::Mine,
            Some(held) if held.epoch < epoch => Epoch::Newer,
            Some(_) => Epoch::Older,
        }
    }

    fn init(&mut self, source: Source, version: Version, format: Format) -> Outcome {
        if matches!(self.compare(version.epoch), Epoch::Older) {
            self.incoming.insert(source, Incoming::Outdated);
            return Outcome::Stale;
        }
        let buffer = Buffer { version, format, entries: Vec::new() };
        self.incoming.insert(source, Incoming::Buffered(buffer));
        Outcome::Applied
    }

    fn entry(&mut self, source: Source, entry: Arc<Entry>) -> Outcome {
        match self.incoming.get_mut(&source) {
            None => Outcome::Gap(Gap::Order),
            Some(Incoming::Outdated) => Outcome::Stale,
            Some(Incoming::Buffered(buffer)) => {
                buffer.entries.push(entry);
                Outcome::Applied
            }
        }
    }

    fn init_done(&mut self, source: Source, ended: Version, count: u64, digest: &Digest) -> Outcome {
        let Buffer { version, format, entries } = match self.incoming.remove(&source) {
            None => return Outcome::Gap(Gap::Order),
            Some(Incoming::Outdated) => return Outcome::Stale,
            Some(Incoming::Buffered(buffer)) => buffer,
        };
        if matches!(self.compare(version.epoch), Epoch::Older) {
            return Outcome::Stale;
        }
        if version != ended || entries.len() as u64 != count {
            return Outcome::Gap(Gap::Snapshot);
        }
        if self.is_behind(version) {
            return Outcome::Stale;
        }
        match assemble(entries) {
            Ok(picture) if picture.digest() == *digest => {
                (self.held, self.format, self.picture) = (Held::Sound(version), format, picture);
                Outcome::Reset
            }
            Ok(_) | Err(_) => Outcome::Gap(Gap::Snapshot),
        }
    }

    /// Whether a snapshot at `version` is older than what is held. What has diverged is older than any of its epoch.
    fn is_behind(&self, version: Version) -> bool {
        match self.held {
            Held::Nothing => false,
            Held::Sound(held) => version < held,
            Held::Diverged(held) => version.epoch < held.epoch,
        }
    }

    fn delta(&mut self, epoch: u64, from: u64, to: u64, changes: &[Arc<Change>]) -> Outcome {
        let held = match (self.compare(epoch), self.held) {
            (Epoch::Mine, Held::Sound(held)) => held,
            (Epoch::Older, _) => return Outcome::Stale,
            (Epoch::Mine | Epoch::Newer | Epoch::NothingHeld, _) => return Outcome::Gap(Gap::Order),
        };
        if to <= held.seq {
            return Outcome::Stale;
        }
        if from != held.seq || to - from != changes.len() as u64 {
            return Outcome::Gap(Gap::Order);
        }
        for (seq, change) in (from + 1..).zip(changes) {
            self.held = Held::Sound(Version { epoch, seq });
            if let Err(diverged) = self.picture.apply(seq, change) {
                return self.diverge(Gap::Change(diverged));
            }
        }
        Outcome::Applied
    }

    fn turn(&mut self, from: Version, epoch: u64) -> Outcome {
        match (self.compare(epoch), self.held) {
            (Epoch::Newer, Held::Sound(held)) if held == from => {
                self.held = Held::Sound(Version { epoch, seq: from.seq });
                Outcome::Applied
            }
            (Epoch::Mine | Epoch::Older, _) => Outcome::Stale,
            (Epoch::Newer | Epoch::NothingHeld, _) => Outcome::Gap(Gap::Order),
        }
    }

    fn beat(&mut self, source: Source, epoch: u64, seq: u64, digest: &Digest) -> Outcome {
        match (self.compare(epoch), self.held) {
            (Epoch::Older, _) => Outcome::Stale,
            (Epoch::NothingHeld, _) => {
                // An owner beats when it has sent all: a snapshot that is not whole by now will not be.
                self.incoming.remove(&source);
                Outcome::Gap(Gap::Order)
            }
            (Epoch::Newer, _) | (Epoch::Mine, Held::Diverged(_) | Held::Nothing) => Outcome::Gap(Gap::Order),
            (Epoch::Mine, Held::Sound(held)) if seq > held.seq => Outcome::Gap(Gap::Order),
            (Epoch::Mine, Held::Sound(held)) if seq < held.seq => Outcome::Stale,
            (Epoch::Mine, Held::Sound(_)) => {
                let differing = self.picture.digest().differing(digest);
                if differing.is_empty() { Outcome::Applied } else { self.diverge(Gap::Digest(differing)) }
            }
        }
    }

    fn diverge(&mut self, gap: Gap) -> Outcome {
        if let Held::Sound(version) = self.held {
            self.held = Held::Diverged(version);
        }
        Outcome::Gap(gap)
    }
}
