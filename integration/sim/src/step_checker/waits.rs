//! Checks how the waits of requests end.

use std::collections::BTreeMap;

use signalbox_flow::{Backlog, FlowKey, FlowSettings, Saturation};

use super::{ProcessId, StepChecker};
use crate::invariants::Invariant;

/// How long a request may wait at a replica from which none goes, although the pool has room, in milliseconds.
const IDLE_MS: u64 = 2_000;

/// By how much a sum of saturations may be off.
const ROUNDING: f64 = 1e-9;

/// Where a request is that had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    OnItsWay,
}

/// The requests that wait at all replicas, and what these reported of them.
#[derive(Debug, Default)]
pub(super) struct Waits {
    open: BTreeMap<(ProcessId, u64), Stage>,
    /// The highest number up to which each replica has used grants for each flow.
    released: BTreeMap<(ProcessId, FlowKey), u64>,
}

impl Waits {
    pub(super) fn forget(&mut self, process: ProcessId) {
        self.open.retain(|(of, _), _| *of != process);
        self.released.retain(|(of, _), _| *of != process);
    }
}

/// The places that a replica has granted by itself at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnGrants {
    /// Whether it heard an owner, which knew what waits.
    pub(crate) has_owner: bool,
    /// The saturation of its share of the pool before; `None` if there are no endpoints.
    pub(crate) saturation: Option<Saturation>,
    /// How many there are.
    pub(crate) count: usize,
    /// The tokens of the smallest request that waited.
    pub(crate) least_tokens: u64,
}

/// How far the requests that wait at a replica have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// For how long the pool has had room and no request has gone, in milliseconds.
    pub(crate) idle_ms: u64,
    /// How long the oldest request has waited, in milliseconds.
    pub(crate) oldest_wait_ms: u64,
}

impl StepChecker {
    /// Checks that a request which begins to wait is new.
    pub(crate) fn check_wait(&mut self, process: ProcessId, number: u64) {
        self.change_stage(process, number, (None, Some(Stage::Waiting)));
    }

    /// Checks that a request waits which is granted a place.
    pub(crate) fn check_grant(&mut self, process: ProcessId, number: u64) {
        self.change_stage(process, number, (Some(Stage::Waiting), Some(Stage::OnItsWay)));
    }

    /// Checks that a request waits which is dropped.
    pub(crate) fn check_drop(&mut self, process: ProcessId, number: u64) {
        self.change_stage(process, number, (Some(Stage::Waiting), None));
    }

    /// Checks that a request is on its way which arrives at an endpoint or is refused.
    pub(crate) fn check_departure(&mut self, process: ProcessId, number: u64) {
        self.change_stage(process, number, (Some(Stage::OnItsWay), None));
    }

    /// Checks that a request waits, or is on its way, whose client goes away.
    pub(crate) fn check_client_gone(&mut self, process: ProcessId, number: u64) {
        if self.waits.open.remove(&(process, number)).is_none() {
            self.fail(Invariant::WaitsEndOnce, || format!("request {number} at {process:?} has gone before"));
        }
    }

    fn change_stage(&mut self, process: ProcessId, number: u64, (from, to): (Option<Stage>, Option<Stage>)) {
        let key = (process, number);
        let before = match to {
            Some(stage) => self.waits.open.insert(key, stage),
            None => self.waits.open.remove(&key),
        };
        if before != from {
            self.fail(Invariant::WaitsEndOnce, || {
                format!("request {number} at {process:?} becomes {to:?}, but it was {before:?}")
            });
        }
    }

    /// Checks what a replica reports of the requests that wait there.
    pub(crate) fn check_backlogs(&mut self, process: ProcessId, backlogs: &[(FlowKey, Backlog)]) {
        let reported: u64 = backlogs.iter().map(|(_, backlog)| backlog.usage.requests).sum();
        let known = self.waits.open.range((process, 0)..=(process, u64::MAX)).count() as u64;
        if reported != known {
            self.fail(Invariant::WaitsEndOnce, || {
                format!("{process:?} reports {reported} requests that wait, but there are {known}")
            });
        }
        for (flow, backlog) in backlogs {
            let before = self.waits.released.insert((process, flow.clone()), backlog.released).unwrap_or(0);
            if backlog.released < before {
                self.fail(Invariant::GrantsAreUsedOnce, || {
                    format!("{flow:?} at {process:?} goes back from {before} to {}", backlog.released)
                });
            }
        }
    }

    /// Checks places that a replica has granted by itself.
    pub(crate) fn check_own_grants(&mut self, process: ProcessId, grants: OwnGrants) {
        let OwnGrants { has_owner, saturation, count, least_tokens } = grants;
        if count == 0 {
            return;
        }
        let before_last = saturation.map_or(f64::INFINITY, |saturation| {
            saturation.value + (count - 1) as f64 * saturation.added_by(least_tokens)
        });
        // The granter adds one request after the other, and rounds each sum.
        if has_owner || before_last >= 1.0 + ROUNDING {
            self.fail(Invariant::OwnGrantsAreBounded, || format!("{process:?} granted {grants:?}"));
        }
    }

    /// Checks that the requests go that wait at a replica.
    pub(crate) fn check_progress(&mut self, process: ProcessId, settings: &FlowSettings, progress: Progress) {
        let ttls = settings.request_ttl_ms.zip(settings.no_endpoint_ttl_ms);
        let longest_ms = ttls.map_or(u64::MAX, |(place_ms, endpoint_ms)| place_ms + endpoint_ms);
        if progress.idle_ms >= IDLE_MS || progress.oldest_wait_ms >= longest_ms {
            self.fail(Invariant::NoStarvation, || format!("requests wait at {process:?}: {progress:?}"));
        }
    }
}
