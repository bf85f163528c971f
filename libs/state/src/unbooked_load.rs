//! Load that reaches an endpoint past all replicas.

use signalbox_types::Gauges;

/// The latest samples of one endpoint's foreign load.
///
/// A sample is max(0, requests at the endpoint − requests booked when the reading was folded). The least of the last three
/// counts: bookings end some milliseconds before or after the readings show it, and such a moment is no foreign load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnbookedLoad {
    samples: [u32; 3],
    sampled_this_tick: bool,
}

impl UnbookedLoad {
    /// What an owner before found.
    pub(crate) fn inherited(unbooked_requests: u32) -> Self {
        Self { samples: [unbooked_requests; 3], sampled_this_tick: false }
    }

    /// Takes a sample and says how much load counts as foreign now.
    pub(crate) fn sample(&mut self, at_endpoint: Gauges, booked: u32) -> u32 {
        let Gauges { waiting, running, kv_used_ppm: _ } = at_endpoint;
        self.samples.rotate_left(1);
        self.samples[2] = waiting.saturating_add(running).saturating_sub(booked);
        self.sampled_this_tick = true;
        self.samples.into_iter().min().unwrap_or(0)
    }

    /// Whether a tick passed without a sample. Collectors report only what changed, but an unchanged reading is one too.
    pub(crate) fn is_due(&mut self) -> bool {
        !std::mem::take(&mut self.sampled_this_tick)
    }
}
