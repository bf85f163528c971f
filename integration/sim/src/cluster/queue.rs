//! The events to come and the only source of randomness.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_event_queue::EventQueue;

use crate::cluster::event::Event;

/// The event queue with the simulated time, and the random numbers.
#[derive(Debug)]
pub(crate) struct Queue {
    events: EventQueue<Event>,
    pub(crate) rng: SmallRng,
}

impl Queue {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed ^ 0x5167_6e61_6c62_6f78);
        Self { events: EventQueue::default(), rng }
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.events.now_us()
    }

    /// Schedules an event at `at_us`, or now when that time has passed.
    pub(crate) fn schedule_at_us(&mut self, at_us: u64, event: Event) {
        self.events.push(at_us, event);
    }

    pub(crate) fn schedule_after_us(&mut self, us: u64, event: Event) {
        self.events.push(self.now_us() + us, event);
    }

    /// Removes the next event that is due by `until_us` and advances the time to it; without one, to
    /// `until_us`.
    pub(crate) fn pop_until(&mut self, until_us: u64) -> Option<Event> {
        self.events.pop_until(until_us)
    }
}
