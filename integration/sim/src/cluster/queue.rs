//! Orders events by time and holds the only source of randomness.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::cluster::event::Event;

/// An event with its time. The number orders events of the same time.
#[derive(Debug)]
struct Scheduled {
    at_us: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

/// The event queue and the simulated time.
#[derive(Debug)]
pub(crate) struct Queue {
    scheduled: BinaryHeap<Reverse<Scheduled>>,
    number: u64,
    now_us: u64,
    pub(crate) rng: SmallRng,
}

impl Queue {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed ^ 0x5167_6e61_6c62_6f78);
        Self { scheduled: BinaryHeap::new(), number: 0, now_us: 0, rng }
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Schedules an event at `at_us`, or now when that time has passed.
    pub(crate) fn schedule_at_us(&mut self, at_us: u64, event: Event) {
        self.number += 1;
        let scheduled = Scheduled { at_us: at_us.max(self.now_us), number: self.number, event };
        self.scheduled.push(Reverse(scheduled));
    }

    pub(crate) fn schedule_after_us(&mut self, us: u64, event: Event) {
        self.schedule_at_us(self.now_us + us, event);
    }

    /// Removes the next event that is due by `until_us` and advances the time to it; without one, to
    /// `until_us`.
    pub(crate) fn pop_until(&mut self, until_us: u64) -> Option<Event> {
        if self.scheduled.peek().is_none_or(|Reverse(next)| next.at_us > until_us) {
            self.now_us = until_us;
            return None;
        }
        let Reverse(next) = self.scheduled.pop()?;
        self.now_us = next.at_us;
        Some(next.event)
    }
}
