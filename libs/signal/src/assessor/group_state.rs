//! What an assessor remembers of one group.

use crate::startup::StartupMeter;
use crate::steadied::Steadied;

/// For how long a Deployment must owe a replica, in milliseconds and in start-ups, before it counts as full.
const OWED_MS: u64 = 180_000;
const OWED_STARTUPS: u64 = 3;

/// For how long a Deployment counts as full, in milliseconds. Then it is asked again.
const FULL_MS: u64 = 600_000;

/// What an assessor remembers of one group.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) steadied: Steadied,
    pub(super) startup: StartupMeter,
    /// How many replicas it had when it got no more, and since when.
    full: Option<(u32, u64)>,
}

impl GroupState {
    pub(super) fn new(desired: u32, is_inherited: bool) -> Self {
        Self { steadied: Steadied::new(desired, is_inherited), startup: StartupMeter::default(), full: None }
    }

    /// Returns the most replicas that the group is known to get at `now_ms`; `None` if it was not refused more lately.
    pub(super) fn limit(&mut self, now_ms: u64, serving: u32) -> Option<u32> {
        let owed_ms = self.startup.awaited_ms(now_ms);
        if owed_ms > OWED_MS.max(OWED_STARTUPS * self.startup.p90_ms()) && self.full.is_none() {
            self.full = Some((serving, now_ms));
        }
        self.full = self.full.filter(|(_, since)| now_ms.saturating_sub(*since) < FULL_MS);
        self.full.map(|(limit, _)| limit.max(serving))
    }
}
