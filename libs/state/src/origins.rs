//! The replicas that feed a pool: who lives, and how far each has been heard.

use std::collections::{BTreeMap, VecDeque};

use signalbox_types::Origin;

/// Placements of one origin that may wait for their whole chain at once: an owner that inherits little knows few anchors.
const ASKED_AT_MOST: usize = 1_024;

/// A chain that was asked for has so long to come: longer than a stream lives that carries nothing. On the next one it is asked for again.
const CHAIN_WITHIN_MS: u64 = 3_000;

/// Given-up origins that are remembered, so that they are told so.
const EXPIRED_REMEMBERED: usize = 4_096;

/// How far one replica has been heard.
#[derive(Debug, Default)]
pub(crate) struct OriginProgress {
    at_ms: u64,
    seq: Option<u64>,
    highest: u64,
    /// Placements whose chains were asked for, and when.
    asked: BTreeMap<u64, u64>,
}

impl OriginProgress {
    /// Whether a batch with this `seq` is newer than all before.
    pub(crate) fn is_news(&mut self, seq: u64) -> bool {
        let news = Some(seq) > self.seq;
        self.seq = self.seq.max(Some(seq));
        news
    }

    /// Whether the placement `number` has not been folded yet.
    pub(crate) fn is_open(&self, number: u64) -> bool {
        number > self.highest || self.asked.contains_key(&number)
    }

    /// The placement `number` is folded, or never will be.
    pub(crate) fn close(&mut self, number: u64) {
        self.asked.remove(&number);
        self.highest = self.highest.max(number);
    }

    /// The anchor of the placement `number` is not known, and its chain is asked for. One that comes again is asked for again: the
    /// replica has not heard the question.
    pub(crate) fn ask(&mut self, now_ms: u64, number: u64) {
        self.highest = self.highest.max(number);
        self.asked.insert(number, now_ms);
        if self.asked.len() > ASKED_AT_MOST {
            self.asked.pop_first();
        }
    }

    /// Waits no longer for what was asked for long ago; says how much that is.
    pub(crate) fn give_up(&mut self, now_ms: u64) -> usize {
        let before = self.asked.len();
        self.asked.retain(|_, asked_at_ms| now_ms.saturating_sub(*asked_at_ms) < CHAIN_WITHIN_MS);
        before - self.asked.len()
    }

    /// The number up to which nothing is open.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.asked.first_key_value().map_or(self.highest, |(first, _)| first - 1)
    }
}

/// The replicas that feed a pool.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    living: BTreeMap<Origin, OriginProgress>,
    expired: VecDeque<Origin>,
}

impl Origins {
    /// Those of which an owner before knew, each with the number up to which its placements are folded. Each has its whole time to be
    /// heard: what it said to the owner before is not known here.
    pub(crate) fn inherited(now_ms: u64, origins: impl Iterator<Item = (Origin, u64)>) -> Self {
        let heard = |highest| OriginProgress { at_ms: now_ms, highest, ..OriginProgress::default() };
        let living = origins.map(|(origin, acknowledged)| (origin, heard(acknowledged))).collect();
        Self { living, expired: VecDeque::new() }
    }

    /// A batch of `origin` came; `None` when it was given up.
    pub(crate) fn hear(&mut self, now_ms: u64, origin: Origin) -> Option<&mut OriginProgress> {
        if !self.living.contains_key(&origin) && self.expired.contains(&origin) {
            return None;
        }
        let heard = self.living.entry(origin).or_default();
        heard.at_ms = now_ms;
        Some(heard)
    }

    /// How far `origin` has been heard.
    pub(crate) fn heard(&mut self, origin: Origin) -> Option<&mut OriginProgress> {
        self.living.get_mut(&origin)
    }

    /// Gives up those that have not been heard for `ttl_ms` and says which.
    pub(crate) fn expire(&mut self, now_ms: u64, ttl_ms: u64) -> Vec<Origin> {
        let silent = self.living.iter().filter(|(_, heard)| now_ms.saturating_sub(heard.at_ms) >= ttl_ms);
        let silent: Vec<_> = silent.map(|(origin, _)| *origin).collect();
        for origin in &silent {
            self.living.remove(origin);
            self.expired.push_back(*origin);
        }
        let surplus = self.expired.len().saturating_sub(EXPIRED_REMEMBERED);
        self.expired.drain(..surplus);
        silent
    }
}
