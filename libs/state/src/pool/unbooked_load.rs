//! Estimates the load that bypasses the replicas.

use signalbox_types::Gauges;

/// The latest samples of one endpoint's unbooked load.
///
/// A sample is max(0, requests at the endpoint − requests booked when the report was handled). Running
/// requests that the engine does not report are left out: the sample is then a lower bound. The minimum of
/// the last three samples counts: bookings end a few milliseconds before or after scrapes show it, and such
/// a moment is not unbooked load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnbookedLoad {
    samples: [u32; 3],
    sampled_this_tick: bool,
}

impl UnbookedLoad {
    /// Starts with the value that an earlier owner found.
    pub(crate) fn starting_at(unbooked_requests: u32) -> Self {
        Self { samples: [unbooked_requests; 3], sampled_this_tick: false }
    }

    /// Adds a sample and returns the unbooked load.
    pub(crate) fn sample(&mut self, at_endpoint: Gauges, booked: u32) -> u32 {
        self.samples.rotate_left(1);
        self.samples[2] = sample_of(at_endpoint, booked);
        self.sampled_this_tick = true;
        self.samples.into_iter().min().unwrap_or(0)
    }

    /// Returns whether another sample would change nothing, however often it is taken.
    pub(crate) fn is_settled(&self, at_endpoint: Gauges, booked: u32) -> bool {
        self.samples == [sample_of(at_endpoint, booked); 3] && !self.sampled_this_tick
    }

    /// Returns whether no sample was taken since the last tick. Collectors report only changes, but an
    /// unchanged value is a sample too.
    pub(crate) fn take_is_due(&mut self) -> bool {
        !std::mem::take(&mut self.sampled_this_tick)
    }
}

fn sample_of(at_endpoint: Gauges, booked: u32) -> u32 {
    let Gauges { waiting, running, kv_used_ppm: _ } = at_endpoint;
    waiting.saturating_add(running.unwrap_or(0)).saturating_sub(booked)
}
