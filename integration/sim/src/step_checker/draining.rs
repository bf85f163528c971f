//! Checks that a draining endpoint gets no new requests, and keeps those that it has.

use std::collections::BTreeMap;

use signalbox_state::{Change, EndpointState, Pool, PoolState};
use signalbox_types::{EndpointKey, Load, Origin, Version};

use super::{ProcessId, StepChecker};
use crate::counters::{Counter, Counters};
use crate::invariants::Invariant;
use crate::plan::Node;

/// The loads at the endpoints of a pool, as an owner's changes add up.
#[derive(Debug, Default)]
pub(super) struct Loads(BTreeMap<(EndpointKey, Origin), Load>);

impl Loads {
    pub(super) fn of(pool_state: &PoolState) -> Self {
        let loads = pool_state.endpoints().flat_map(|member| {
            let loads = pool_state.loads().at(member.key).into_iter();
            loads.map(|(origin, load)| ((member.key, origin), load))
        });
        Self(loads.collect())
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::LoadChanged { endpoint, origin, load } if *load == Load::ZERO => {
                self.0.remove(&(*endpoint, *origin));
            }
            Change::LoadChanged { endpoint, origin, load } => {
                self.0.insert((*endpoint, *origin), *load);
            }
            Change::OriginExpired { origin } => self.0.retain(|(_, of), _| of != origin),
            Change::EndpointRemoved { endpoint } => self.0.retain(|(at, _), _| at != endpoint),
            _ => {}
        }
    }

    /// Returns the loads at an endpoint, by origin.
    fn at(&self, endpoint: EndpointKey) -> Vec<(Origin, Load)> {
        let range = (endpoint, Origin(0))..=(endpoint, Origin(u64::MAX));
        self.0.range(range).map(|((_, origin), load)| (*origin, *load)).collect()
    }
}

impl StepChecker {
    /// Records the endpoints that an aggregator is told of.
    pub(crate) fn record_spec(&mut self, process: ProcessId, endpoints: Vec<EndpointKey>) {
        self.specs.insert(process, endpoints.into_iter().collect());
    }

    /// Checks a request that a replica with this state books.
    pub(crate) fn check_booking(
        &mut self,
        counters: &mut Counters,
        node: Node,
        pool_state: &PoolState,
        endpoint: EndpointKey,
    ) {
        if pool_state.endpoints().any(|member| member.spec.is_draining) {
            counters.increment(Counter::RequestWhileDraining);
        }
        if pool_state.endpoint(endpoint).is_some_and(|member| member.spec.is_draining) {
            self.fail(Invariant::DrainingGetsNoRequests, || format!("{node} books one at {endpoint}"));
        }
    }

    /// Checks an endpoint that an owner removes.
    pub(super) fn check_removal(&mut self, process: ProcessId, endpoint: EndpointKey) {
        if self.specs.get(&process).is_some_and(|told| told.contains(&endpoint)) {
            self.fail(Invariant::DrainingKeepsBookings, || {
                format!("{process:?} removes {endpoint}, which is still in the pool")
            });
        }
    }

    /// Checks the loads at an owner's draining endpoints. `at` is the version up to which its changes were read.
    pub(super) fn check_draining_loads(&mut self, process: ProcessId, pool: &Pool, at: Version) {
        let Some(record) = self.owners.get_mut(&process) else { return };
        if at != pool.journal().head() {
            // The owner does not keep all changes any more.
            record.loads = Loads::of(pool.pool_state());
            return;
        }
        let loads = pool.pool_state().loads();
        let has_other_loads = |member: &&EndpointState| record.loads.at(member.key) != loads.at(member.key);
        let draining = pool.pool_state().endpoints().map(|member| &**member);
        let lost = draining.filter(|member| member.spec.is_draining).find(has_other_loads);
        if let Some(EndpointState { key, .. }) = lost {
            let (found, expected) = (loads.at(*key), record.loads.at(*key));
            let observed = format!("{process:?} has {found:?} at {key}, but its changes give {expected:?}");
            self.fail(Invariant::DrainingKeepsBookings, || observed);
        }
    }
}
