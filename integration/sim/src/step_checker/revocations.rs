//! Checks which requests in flight are revoked.

use std::collections::BTreeMap;

use signalbox_flow::{PeerRevocable, RevocableClass};
use signalbox_state::PoolState;
use signalbox_types::Origin;

use super::{ProcessId, StepChecker};
use crate::invariants::Invariant;

/// How far a request in flight has come that can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    /// Its response has not begun.
    Awaited,
    /// It is to be revoked, unless its response begins first.
    Ordered,
    /// It was revoked.
    Revoked,
}

/// The requests that can be revoked at all replicas, and how many were.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    flights: BTreeMap<(ProcessId, u64), Flight>,
    /// For how many requests of each class each replica has followed orders.
    followed: BTreeMap<(ProcessId, RevocableClass), u64>,
}

impl Revocations {
    pub(super) fn forget(&mut self, process: ProcessId) {
        self.flights.retain(|(of, _), _| *of != process);
        self.followed.retain(|(of, _), _| *of != process);
    }
}

/// Returns what can be revoked of each class at each origin.
pub(super) fn revocable_of(pool_state: &PoolState) -> BTreeMap<(Origin, RevocableClass), PeerRevocable> {
    let origins = pool_state.flows().origins();
    let classes =
        origins.flat_map(|(origin, flows)| flows.revocable().map(move |(class, of)| ((origin, class), of)));
    classes.collect()
}

impl StepChecker {
    /// Checks an owner's change of what can be revoked, or is to be.
    pub(super) fn check_revocable_change(
        &mut self,
        (process, pool_state): (ProcessId, &PoolState),
        origin: Origin,
        class: RevocableClass,
        revocable: PeerRevocable,
    ) {
        let Some(record) = self.owners.get_mut(&process) else { return };
        let before = record.revocable.insert((origin, class), revocable).unwrap_or_default();
        if revocable == PeerRevocable::default() {
            return;
        }
        let most = before.ordered.max(revocable.revoked + revocable.requests);
        let is_ordered = revocable.ordered > before.ordered.max(revocable.revoked);
        let has_cause = || waits_above(pool_state, class.priority);
        if revocable.ordered > most || revocable.ordered < before.ordered || (is_ordered && !has_cause()) {
            self.fail(Invariant::RevocationsFitWhatWaits, || {
                format!("{process:?} changes {class:?} of {origin} from {before:?} to {revocable:?}")
            });
        }
    }

    /// Records that a request was sent that can be revoked.
    pub(crate) fn record_revocable(&mut self, process: ProcessId, number: u64) {
        self.revocations.flights.insert((process, number), Flight::Awaited);
    }

    /// Checks that a request was not revoked whose response begins, or which ends.
    pub(crate) fn check_response(&mut self, process: ProcessId, number: u64) {
        if self.revocations.flights.remove(&(process, number)) == Some(Flight::Revoked) {
            self.fail(Invariant::RevokedIsNotServed, || {
                format!("request {number} at {process:?} is served although it was revoked")
            });
        }
    }

    /// Checks that a request can be revoked for which an order is followed. Its class is to be revoked up to `up_to`.
    pub(crate) fn check_order(
        &mut self,
        process: ProcessId,
        (number, class, up_to): (u64, RevocableClass, u64),
    ) {
        self.change_flight((process, number), (Flight::Awaited, Flight::Ordered));
        let followed = self.revocations.followed.entry((process, class)).or_default();
        *followed += 1;
        let followed = *followed;
        if followed > up_to {
            self.fail(Invariant::RevocationsFitWhatWaits, || {
                format!("{process:?} revokes {followed} of {class:?}, but {up_to} are ordered")
            });
        }
    }

    /// Checks that a request was to be revoked which is.
    pub(crate) fn check_revocation(&mut self, process: ProcessId, number: u64) {
        self.change_flight((process, number), (Flight::Ordered, Flight::Revoked));
    }

    fn change_flight(&mut self, (process, number): (ProcessId, u64), (from, to): (Flight, Flight)) {
        let before = self.revocations.flights.insert((process, number), to);
        if before != Some(from) {
            self.fail(Invariant::RevokedIsNotServed, || {
                format!("request {number} at {process:?} becomes {to:?}, but it was {before:?}")
            });
        }
    }
}

/// Returns whether a request of a higher priority waits for a grant.
fn waits_above(pool_state: &PoolState, priority: i32) -> bool {
    let backlogs = pool_state.flows().origins().flat_map(|(_, flows)| flows.backlogs());
    backlogs.into_iter().any(|(flow, backlog)| flow.priority > priority && backlog.ungranted() > 0)
}
