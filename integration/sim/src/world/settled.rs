//! Checks the invariants that hold once everything has healed and the processes had time to settle.

use std::collections::BTreeMap;

use signalbox_state::{Circuit, PoolState};
use signalbox_types::{EndpointKey, Generation, Load, Origin};

use crate::invariants::{Invariant, Violation};
use crate::plan::Node;
use crate::processes::Process;
use crate::processes::replica::Replica;
use crate::world::World;
use crate::world::neighbours::is_fresh;

/// How long the processes have to settle after a lease has expired.
const SETTLES_WITHIN_MS: u64 = 7_000;

/// How long the processes have to settle after the last request has ended.
const SETTLES_AFTER_REQUESTS_MS: u64 = 3_000;

/// How often the checks are repeated. At any one moment something may be in progress, but not at all of them.
const ATTEMPTS: u64 = 60;
const ATTEMPT_INTERVAL_MS: u64 = 47;

/// How long the circuits have to close: an open one may wait half a minute for its next probe.
const CIRCUITS_CLOSE_WITHIN_MS: u64 = 60_000;
const CIRCUITS_INTERVAL_MS: usize = 250;

type Check = fn(&World) -> Result<(), Violation>;

impl World {
    /// Lets the healed cluster settle and checks it, then ends all requests and checks it again.
    ///
    /// # Errors
    /// The first violated invariant.
    pub fn settle(&mut self) -> Result<(), Violation> {
        let settles_at_ms =
            self.cluster.plan.heals_at_ms + self.cluster.plan.lease_ttl_ms + SETTLES_WITHIN_MS;
        self.run_until(settles_at_ms)?;
        let settled_ms = self.wait_for(
            &[
                check_state_converges,
                check_one_collector_per_endpoint,
                check_loads_match_gauges,
                check_endpoints_are_fresh,
                check_gone_followers_are_forgotten,
            ],
            settles_at_ms,
        )?;
        let cluster = &mut self.cluster;
        for process in self.processes.values_mut() {
            if let Process::Replica(replica) = process {
                replica.end_all_requests(cluster);
            }
        }
        self.run_until(settled_ms + SETTLES_AFTER_REQUESTS_MS)?;
        self.wait_for(
            &[
                check_state_converges,
                check_one_collector_per_endpoint,
                check_loads_match_gauges,
                check_no_leaked_bookings,
                check_queues_empty,
                check_overlays_are_empty,
            ],
            settled_ms + SETTLES_AFTER_REQUESTS_MS,
        )?;
        self.wait_for_circuits(settled_ms)
    }

    /// Waits until replicas have probed the endpoints whose circuits are not closed.
    fn wait_for_circuits(&mut self, settled_ms: u64) -> Result<(), Violation> {
        let ends_ms = settled_ms + CIRCUITS_CLOSE_WITHIN_MS;
        for at_ms in (self.cluster.queue.now_us() / 1_000..ends_ms).step_by(CIRCUITS_INTERVAL_MS) {
            if check_circuits_close(self).is_ok() {
                return Ok(());
            }
            self.run_until(at_ms)?;
        }
        check_circuits_close(self)
    }

    /// Runs until all `checks` pass at one moment and returns that moment; fails after the last attempt.
    fn wait_for(&mut self, checks: &[Check], from_ms: u64) -> Result<u64, Violation> {
        let mut outcome = Ok(());
        for attempt in 0..ATTEMPTS {
            let at_ms = from_ms + attempt * ATTEMPT_INTERVAL_MS;
            self.run_until(at_ms)?;
            outcome = checks.iter().try_for_each(|check| check(self));
            if outcome.is_ok() {
                return Ok(at_ms);
            }
        }
        outcome.map(|()| from_ms)
    }

    pub(super) fn replicas(&self) -> impl Iterator<Item = (Node, &Replica)> {
        self.processes.iter().filter_map(|(node, process)| match process {
            Process::Replica(replica) => Some((*node, &**replica)),
            Process::Aggregator(_) | Process::Collector(_) => None,
        })
    }
}

fn violation(invariant: Invariant, observed: String) -> Result<(), Violation> {
    Err(Violation { invariant, observed })
}

fn check_state_converges(world: &World) -> Result<(), Violation> {
    let roles = world.roles().map(|(node, role)| (node, role.version(), role.pool_state()));
    let replicas = world.replicas().map(|(node, replica)| {
        let follower = replica.follower.replica();
        (node, follower.cursor(), follower.state_replica().pool_state())
    });
    let states: Vec<_> = roles.chain(replicas).collect();
    let Some((owner, version, pool_state)) =
        world.owners().first().and_then(|(owner, _)| states.iter().find(|(node, ..)| node == owner)).copied()
    else {
        return violation(Invariant::StateConverges, "no aggregator owns the pool".to_owned());
    };
    for (node, at, state) in &states {
        if *at != version || state.digest() != pool_state.digest() {
            let observed = format!("{owner} is at {version:?}, {node} is at {at:?}");
            return violation(Invariant::StateConverges, observed);
        }
        let parts = [
            ("endpoints", state.endpoints().eq(pool_state.endpoints())),
            ("acknowledgements", state.acknowledgements().eq(pool_state.acknowledgements())),
            ("loads", loads(state).eq(loads(pool_state))),
            ("provisional_since", state.provisional_since() == pool_state.provisional_since()),
            ("signal", state.signal() == pool_state.signal()),
        ];
        if let Some((part, _)) = parts.iter().find(|(_, is_same)| !is_same) {
            let observed = format!("{owner} and {node} have the same digest but differ in {part}");
            return violation(Invariant::StateConverges, observed);
        }
        if let Some(endpoint) = wrong_total(state) {
            let observed = format!("{node} has another total at {endpoint} than the sum of the loads there");
            return violation(Invariant::StateConverges, observed);
        }
    }
    Ok(())
}

fn check_queues_empty(world: &World) -> Result<(), Violation> {
    let waits = |(node, replica): (Node, &Replica)| {
        let flows = replica.follower.replica().state_replica().pool_state().flows();
        let (known, requests) = (flows.highest_waiting(), replica.gate.held());
        let revocable: usize = flows.origins().map(|(_, of)| of.revocable().len()).sum();
        (requests > 0 || known.is_some() || revocable > 0).then(|| {
            format!(
                "{requests} wait at {node}, which knows of {known:?} and of {revocable} classes to revoke"
            )
        })
    };
    match world.replicas().find_map(waits) {
        Some(observed) => violation(Invariant::QueuesEmpty, observed),
        None => Ok(()),
    }
}

/// Returns the loads at each endpoint of a state.
fn loads(state: &PoolState) -> impl Iterator<Item = (EndpointKey, Vec<(Origin, Load)>)> {
    state.endpoints().map(|endpoint_state| (endpoint_state.key, state.loads().at(endpoint_state.key)))
}

/// Returns an endpoint of a state whose total load is not the sum of the loads there.
fn wrong_total(state: &PoolState) -> Option<EndpointKey> {
    let is_wrong = |(endpoint, loads): &(EndpointKey, Vec<(Origin, Load)>)| {
        let sum = loads.iter().fold(Load::ZERO, |sum, (_, load)| sum + *load);
        state.loads().total(*endpoint) != sum
    };
    loads(state).find(is_wrong).map(|(endpoint, _)| endpoint)
}

fn check_gone_followers_are_forgotten(world: &World) -> Result<(), Violation> {
    let mut followers =
        world.roles().flat_map(|(node, role)| role.followers().map(move |stream| (node, stream)));
    match followers.find(|(_, stream)| !world.cluster.network.is_served(*stream)) {
        Some((node, stream)) => {
            let observed = format!("{node} remembers the follower of stream {stream}, which has ended");
            violation(Invariant::GoneFollowersAreForgotten, observed)
        }
        None => Ok(()),
    }
}

/// Returns the state of the owner.
fn owner_state(world: &World) -> Option<&PoolState> {
    let (owner, _) = world.owners().first().copied()?;
    world.roles().find(|(node, _)| *node == owner).map(|(_, role)| role.pool_state())
}

fn check_endpoints_are_fresh(world: &World) -> Result<(), Violation> {
    let keys = world.cluster.pods.keys();
    match keys.iter().find(|key| !owner_state(world).is_some_and(|state| is_fresh(state, **key))) {
        Some(key) => violation(Invariant::EndpointsAreFresh, format!("{key} is not fresh")),
        None => Ok(()),
    }
}

fn check_circuits_close(world: &World) -> Result<(), Violation> {
    let mut members = owner_state(world).into_iter().flat_map(PoolState::endpoints);
    match members.find(|member| member.assessment.circuit != Circuit::Closed) {
        Some(member) => {
            let observed = format!("that of {} is {:?}", member.key, member.assessment.circuit);
            violation(Invariant::CircuitsClose, observed)
        }
        None => Ok(()),
    }
}

fn check_one_collector_per_endpoint(world: &World) -> Result<(), Violation> {
    let mut collectors: BTreeMap<EndpointKey, Vec<(Node, Generation)>> = BTreeMap::new();
    for (node, process) in &world.processes {
        if let Process::Collector(collector) = process {
            for (key, generation) in collector.assigned_endpoints() {
                collectors.entry(key).or_default().push((*node, generation));
            }
        }
    }
    let keys = world.cluster.pods.keys();
    let has_one_each =
        collectors.values().all(|of| of.len() == 1) && keys.iter().all(|key| collectors.contains_key(key));
    if has_one_each && collectors.len() == keys.len() {
        return Ok(());
    }
    violation(
        Invariant::OneCollectorPerEndpoint,
        format!("the pool has {keys:?}; collectors scrape {collectors:?}"),
    )
}

fn check_loads_match_gauges(world: &World) -> Result<(), Violation> {
    let mut gauges: BTreeMap<(EndpointKey, Origin), Load> = BTreeMap::new();
    for (_, replica) in world.replicas() {
        let whole = replica.bookings.loads().into_iter();
        gauges.extend(whole.map(|(endpoint, load)| ((endpoint, replica.origin), load)));
    }
    for (node, role) in world.roles() {
        let members = role.pool_state().endpoints();
        let loads: BTreeMap<_, _> = members
            .flat_map(|member| {
                let loads = role.pool_state().loads().at(member.key).into_iter();
                loads.map(|(origin, load)| ((member.key, origin), load))
            })
            .collect();
        if loads != gauges {
            return violation(
                Invariant::LoadsMatchGauges,
                format!("{node} has {loads:?}, replicas have {gauges:?}"),
            );
        }
    }
    Ok(())
}

fn check_no_leaked_bookings(world: &World) -> Result<(), Violation> {
    let replica = world.replicas().find(|(_, replica)| !replica.bookings.loads().is_empty());
    let aggregator = world.roles().find(|(_, role)| role.pool_state().loads().origins().next().is_some());
    match replica.map(|(node, _)| node).or(aggregator.map(|(node, _)| node)) {
        Some(node) => violation(Invariant::NoLeakedBookings, format!("{node} still has bookings")),
        None => Ok(()),
    }
}

fn check_overlays_are_empty(world: &World) -> Result<(), Violation> {
    match world.replicas().find(|(_, replica)| !replica.overlay.is_empty()) {
        Some((node, replica)) => {
            let observed = format!("{node} has {} unacknowledged placements", replica.overlay.len());
            violation(Invariant::OverlaysAreEmpty, observed)
        }
        None => Ok(()),
    }
}
