//! Worlds of which tests ask who owns the pool.

use signalbox_sim::{Invariant, Node, Plan, Tracing, World};

/// Returns a cluster that has served requests for five seconds.
pub(crate) fn running_world(seed: u64) -> World {
    world_of(&Plan { heals_at_ms: 60_000, ..Plan::without_faults(seed) })
}

pub(crate) fn world_of(plan: &Plan) -> World {
    let mut world = World::new(plan, Tracing::Off);
    run(&mut world, 5_000);
    world
}

pub(crate) fn run(world: &mut World, until_ms: u64) {
    world.run_until(until_ms).unwrap_or_else(|violation| panic!("{violation}"));
}

/// Returns the index and epoch of the only owner.
pub(crate) fn owner(world: &World) -> (usize, u64) {
    match world.owners()[..] {
        [(Node::Aggregator(at), epoch)] => (at, epoch),
        ref owners => panic!("expected one owner, but there are {owners:?}"),
    }
}

pub(crate) fn seq_of(world: &World, at: usize) -> u64 {
    let role = world.roles().find(|(node, _)| *node == Node::Aggregator(at));
    role.and_then(|(_, role)| role.version()).expect("the aggregator runs and has a state").seq
}

/// Waits for an owner with an epoch above `epoch`. Returns when it was there, and since when the coordinator
/// had no owner.
pub(crate) fn next_owner(world: &mut World, epoch: u64, from_ms: u64) -> (u64, Option<u64>) {
    let mut vacant_since_ms = None;
    for now_ms in (from_ms..from_ms + 10_000).step_by(5) {
        run(world, now_ms);
        vacant_since_ms = world.vacant_since_ms().or(vacant_since_ms);
        if world.owners().iter().any(|(_, found)| *found > epoch) {
            return (now_ms, vacant_since_ms);
        }
    }
    panic!("{}: no aggregator took over", Invariant::TakeoverIsFast)
}
