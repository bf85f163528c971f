//! What must be true when everything has healed and had time to settle.

use std::collections::BTreeMap;

use signalbox_types::{EndpointKey, Generation, Load, Origin};

use crate::invariants::{Invariant, Violation};
use crate::plan::Node;
use crate::replica::Replica;
use crate::site::Site;
use crate::world::{Process, World};

/// How long everything is left alone before it must be settled.
const SETTLES_WITHIN_MS: u64 = 9_000;

/// What must be settled may be in motion at any one moment, but not at all of so many.
const LOOKS: u64 = 60;
const BETWEEN_LOOKS_MS: u64 = 47;

type Check = fn(&World) -> Result<(), Violation>;

impl World {
    /// Everything has healed: lets it settle, ends all requests, and lets it settle again.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn settle(&mut self) -> Result<(), Violation> {
        let heals_at_ms = self.site.plan.heals_at_ms;
        self.run_until(heals_at_ms + SETTLES_WITHIN_MS)?;
        let settled_ms =
            self.hold_by(&[all_alike, one_reader, loads_are_gauges], heals_at_ms + SETTLES_WITHIN_MS)?;
        let site: &mut Site = &mut self.site;
        for process in self.processes.values_mut() {
            if let Process::Replica(replica) = process {
                replica.end_all(site);
            }
        }
        self.run_until(settled_ms + 3_000)?;
        self.hold_by(
            &[all_alike, one_reader, loads_are_gauges, nothing_is_booked, overlays_are_empty],
            settled_ms + 3_000,
        )?;
        Ok(())
    }

    /// Looks until all `checks` hold at one moment.
    fn hold_by(&mut self, checks: &[Check], from_ms: u64) -> Result<u64, Violation> {
        let mut outcome = Ok(());
        for look in 0..LOOKS {
            let at_ms = from_ms + look * BETWEEN_LOOKS_MS;
            self.run_until(at_ms)?;
            outcome = checks.iter().try_for_each(|check| check(self));
            if outcome.is_ok() {
                return Ok(at_ms);
            }
        }
        outcome.map(|()| from_ms)
    }

    fn replicas(&self) -> impl Iterator<Item = (Node, &Replica)> {
        self.processes.iter().filter_map(|(node, process)| match process {
            Process::Replica(replica) => Some((*node, &**replica)),
            Process::Aggregator(_) | Process::Collector(_) => None,
        })
    }
}

fn violated(invariant: Invariant, seen: String) -> Result<(), Violation> {
    Err(Violation { invariant, seen })
}

fn all_alike(world: &World) -> Result<(), Violation> {
    let seats = world.seats().map(|(node, role)| (node, role.version(), role.pool_state()));
    let replicas = world.replicas().map(|(node, replica)| {
        let follower = replica.following.follower();
        (node, follower.cursor(), follower.replica().pool_state())
    });
    let held: Vec<_> = seats.chain(replicas).collect();
    let Some((owner, version, pool_state)) =
        world.owners().first().and_then(|(owner, _)| held.iter().find(|(node, ..)| node == owner)).copied()
    else {
        return violated(Invariant::AllAlike, "nobody owns the pool".to_owned());
    };
    for (node, at, held) in &held {
        if *at != version || held.digest() != pool_state.digest() {
            return violated(Invariant::AllAlike, format!("{owner} is at {version:?}, {node} at {at:?}"));
        }
        let is_same = held.endpoints().eq(pool_state.endpoints())
            && held.acknowledgements().eq(pool_state.acknowledgements());
        if !is_same {
            return violated(Invariant::AllAlike, format!("{owner} and {node} have equal sums and differ"));
        }
    }
    Ok(())
}

fn one_reader(world: &World) -> Result<(), Violation> {
    let mut readers: BTreeMap<EndpointKey, Vec<(Node, Generation)>> = BTreeMap::new();
    for (node, process) in &world.processes {
        if let Process::Collector(collector) = process {
            collector
                .reads()
                .for_each(|(key, generation)| readers.entry(key).or_default().push((*node, generation)));
        }
    }
    let keys = world.site.pods.keys();
    let is_right =
        readers.values().all(|of| of.len() == 1) && keys.iter().all(|key| readers.contains_key(key));
    if is_right && readers.len() == keys.len() {
        return Ok(());
    }
    violated(Invariant::OneReader, format!("{keys:?} are read so: {readers:?}"))
}

fn loads_are_gauges(world: &World) -> Result<(), Violation> {
    let mut gauges: BTreeMap<(EndpointKey, Origin), Load> = BTreeMap::new();
    for (_, replica) in world.replicas() {
        let whole = replica.bookings.whole().into_iter();
        gauges.extend(whole.map(|(endpoint, load)| ((endpoint, replica.origin), load)));
    }
    for (node, role) in world.seats() {
        let members = role.pool_state().endpoints();
        let loads: BTreeMap<_, _> = members
            .flat_map(|member| member.loads.iter().map(|(origin, load)| ((member.key, *origin), *load)))
            .collect();
        if loads != gauges {
            return violated(
                Invariant::LoadsAreGauges,
                format!("{node} holds {loads:?}, replicas have {gauges:?}"),
            );
        }
    }
    Ok(())
}

fn nothing_is_booked(world: &World) -> Result<(), Violation> {
    let booked = world.replicas().find(|(_, replica)| !replica.bookings.whole().is_empty());
    let held =
        world.seats().find(|(_, role)| role.pool_state().endpoints().any(|member| !member.loads.is_empty()));
    match booked.map(|(node, _)| node).or(held.map(|(node, _)| node)) {
        Some(node) => violated(Invariant::NothingIsBooked, format!("{node} holds bookings")),
        None => Ok(()),
    }
}

fn overlays_are_empty(world: &World) -> Result<(), Violation> {
    match world.replicas().find(|(_, replica)| !replica.overlay.is_empty()) {
        Some((node, replica)) => {
            let seen = format!("{node} waits for the echo of {} placements", replica.overlay.len());
            violated(Invariant::OverlaysAreEmpty, seen)
        }
        None => Ok(()),
    }
}
