//! Steadies the number of replicas of one group: up at once, down only after a while.

use std::collections::VecDeque;

use crate::signal::Reason;

/// The steps in which the past is remembered, in parts of the window.
const STEPS: u64 = 60;

/// What a group needs at one time, in replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// So many are needed.
    pub(crate) up: u32,
    /// So few must be enough before fewer are desired; not below `up`.
    pub(crate) down: u32,
    /// Why.
    pub(crate) reason: Reason,
}

/// The desired replicas of one group over time.
#[derive(Debug)]
pub(crate) struct Steadied {
    desired: u32,
    /// Whether `desired` is that of an earlier owner.
    is_inherited: bool,
    /// Since when everything that is needed is known.
    known_since_ms: Option<u64>,
    /// What was enough to go down, in descending order with the times, the oldest first: the front is the maximum.
    recent: VecDeque<(u64, u32)>,
}

impl Steadied {
    pub(crate) fn new(desired: u32, is_inherited: bool) -> Self {
        Self { desired, is_inherited, known_since_ms: None, recent: VecDeque::new() }
    }

    pub(crate) fn desired(&self) -> u32 {
        self.desired
    }

    /// Raises the number to at least `desired`.
    pub(crate) fn raise(&mut self, desired: u32) {
        self.desired = self.desired.max(desired);
    }

    /// Returns whether everything has been known for the whole window.
    pub(crate) fn is_settled(&self, now_ms: u64, window_ms: u64) -> bool {
        self.known_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= window_ms)
    }

    /// Sets the number at once, whatever was needed before.
    pub(crate) fn set(&mut self, desired: u32) {
        self.desired = desired;
        self.recent.clear();
    }

    /// Returns how many replicas are desired, and why. `may_fall` says that everything is known that is needed to say that
    /// fewer are enough; they must have been enough for the whole window before.
    pub(crate) fn step(
        &mut self,
        now_ms: u64,
        window_ms: u64,
        wanted: Wanted,
        may_fall: bool,
    ) -> (u32, Reason) {
        self.remember(now_ms, window_ms, wanted.down);
        if !may_fall {
            self.known_since_ms = None;
        } else if self.known_since_ms.is_none() {
            self.known_since_ms = Some(now_ms);
        }
        if wanted.up >= self.desired {
            self.is_inherited &= wanted.up == self.desired;
            self.desired = wanted.up;
            return (self.desired, wanted.reason);
        }
        let enough = self.recent.front().map_or(wanted.down, |(_, down)| *down);
        let is_settled = self.is_settled(now_ms, window_ms);
        if enough < self.desired && is_settled {
            self.desired = enough;
            self.is_inherited = false;
        }
        let reason = match may_fall {
            _ if self.desired == wanted.up => wanted.reason,
            false => Reason::HeldPartial,
            true if self.is_inherited && !is_settled => Reason::HeldTakeover,
            true => Reason::Stabilizing,
        };
        (self.desired, reason)
    }

    fn remember(&mut self, now_ms: u64, window_ms: u64, down: u32) {
        while self.recent.front().is_some_and(|(at_ms, _)| now_ms.saturating_sub(*at_ms) > window_ms) {
            self.recent.pop_front();
        }
        while self.recent.back().is_some_and(|(_, earlier)| *earlier <= down) {
            self.recent.pop_back();
        }
        let step_ms = window_ms / STEPS;
        let is_same_step = |at_ms: u64| now_ms.saturating_sub(at_ms) < step_ms;
        // A lower number so soon after a higher one is remembered with the next step.
        if !self.recent.back().is_some_and(|(at_ms, _)| is_same_step(*at_ms)) {
            self.recent.push_back((now_ms, down));
        }
    }
}
