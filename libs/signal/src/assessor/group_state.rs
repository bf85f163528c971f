//! What an assessor remembers of one group.

use crate::startup::StartupMeter;
use crate::steadied::Steadied;

/// For how long a Deployment must owe a replica, in milliseconds and in start-ups, before it counts as full.
const OWED_MS: u64 = 180_000;
const OWED_STARTUPS: u64 = 3;

/// For how long a Deployment counts as full, in milliseconds. Then it is asked again.
const FULL_MS: u64 = 600_000;

/// For how long pods without the label of a Deployment must be gone before their group is forgotten, in milliseconds: they have
/// got that label by now.
const UNLABELLED_MS: u64 = 300_000;

/// How often a Deployment must be asked for pods in vain, while it has none, before it is forgotten: it is deleted, or has
/// another name.
const ASKED_IN_VAIN: u32 = 3;

/// What an assessor remembers of one group.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) steadied: Steadied,
    pub(super) startup: StartupMeter,
    /// How many replicas it had when it got no more, and since when.
    full: Option<(u32, u64)>,
    /// Since when it has had no pod, whatever their state; `None` if it has one.
    absent_since_ms: Option<u64>,
    /// How often it was asked for pods in vain since then.
    asked_in_vain: u32,
}

impl GroupState {
    pub(super) fn new(desired: u32, is_inherited: bool) -> Self {
        Self {
            steadied: Steadied::new(desired, is_inherited),
            startup: StartupMeter::default(),
            full: None,
            absent_since_ms: None,
            asked_in_vain: 0,
        }
    }

    /// Records whether the group has a pod.
    pub(super) fn record_pods(&mut self, now_ms: u64, has_pods: bool) {
        if has_pods {
            (self.absent_since_ms, self.asked_in_vain) = (None, 0);
        } else {
            self.absent_since_ms.get_or_insert(now_ms);
        }
    }

    /// Returns whether the pods of the group will not come back. A Deployment without pods may only be scaled to zero.
    pub(super) fn is_gone(&self, now_ms: u64, is_unlabelled: bool) -> bool {
        let is_long = |since_ms: u64| now_ms.saturating_sub(since_ms) >= UNLABELLED_MS;
        self.asked_in_vain >= ASKED_IN_VAIN || (is_unlabelled && self.absent_since_ms.is_some_and(is_long))
    }

    /// Returns the most replicas that the group is known to get at `now_ms`; `None` if it was not refused more lately.
    pub(super) fn limit(&mut self, now_ms: u64, serving: u32) -> Option<u32> {
        let owed_ms = self.startup.awaited_ms(now_ms);
        if owed_ms > OWED_MS.max(OWED_STARTUPS * self.startup.p90_ms()) && self.full.is_none() {
            self.full = Some((serving, now_ms));
            self.asked_in_vain += u32::from(self.absent_since_ms.is_some());
        }
        self.full = self.full.filter(|(_, since)| now_ms.saturating_sub(*since) < FULL_MS);
        self.full.map(|(limit, _)| limit.max(serving))
    }
}
