//! What is promised of single faults, over many seeds of everything else.

use signalbox_sim::{Blow, Counters, Happening, Invariant, Node, Plan, Tracing, World};

const SEEDS: std::ops::Range<u64> = 0..8;

/// A site that has been at work for five seconds.
fn at_work(seed: u64) -> World {
    world_of(&Plan { heals_at_ms: 60_000, ..Plan::calm(seed) })
}

fn world_of(plan: &Plan) -> World {
    let mut world = World::new(plan, Tracing::Off);
    run(&mut world, 5_000);
    world
}

fn run(world: &mut World, until_ms: u64) {
    world.run_until(until_ms).unwrap_or_else(|violation| panic!("{violation}"));
}

fn owner(world: &World) -> (usize, u64) {
    match world.owners()[..] {
        [(Node::Aggregator(at), epoch)] => (at, epoch),
        ref owners => panic!("{owners:?} own the pool"),
    }
}

fn seq_of(world: &World, at: usize) -> u64 {
    let role = world.seats().find(|(node, _)| *node == Node::Aggregator(at));
    role.and_then(|(_, role)| role.version()).expect("it lives and holds something").seq
}

/// When an owner under an epoch above `epoch` is there, and since when the pool had none at the coordinator.
fn next_owner(world: &mut World, epoch: u64, from_ms: u64) -> (u64, Option<u64>) {
    let mut vacant_since_ms = None;
    for now_ms in (from_ms..from_ms + 10_000).step_by(5) {
        run(world, now_ms);
        vacant_since_ms = world.vacant_since_ms().or(vacant_since_ms);
        if world.owners().iter().any(|(_, found)| *found > epoch) {
            return (now_ms, vacant_since_ms);
        }
    }
    panic!("{}: nobody took over", Invariant::FailoverIsFast)
}

/// Those that were followers before a change of owner follow the next one without a snapshot.
fn assert_turned(before: &Counters, after: &Counters, followers: u64, seed: u64) {
    for what in [Happening::SnapshotGiven, Happening::ReplicaReplaced, Happening::StandbyReplaced] {
        let more = after.of(what) - before.of(what);
        assert_eq!(0, more, "{}: {what:?} at seed {seed}", Invariant::TurnSuffices);
    }
    let turns = after.of(Happening::Turn) - before.of(Happening::Turn);
    assert_eq!(followers, turns, "{}: turns at seed {seed}", Invariant::TurnSuffices);
}

#[test]
fn a_standby_takes_over_in_time_and_without_snapshots() {
    for seed in SEEDS {
        let mut world = at_work(seed);
        let ((at, epoch), before) = (owner(&world), world.counters());
        world.strike(Blow::Kill(Node::Aggregator(at)), 20_000);
        let (now_ms, vacant_since_ms) = next_owner(&mut world, epoch, 5_000);
        let vacant_since_ms = vacant_since_ms.expect("the lease ends before another has the pool");
        let took_ms = now_ms - vacant_since_ms;
        assert!(took_ms <= 3_000, "{}: {took_ms} ms at seed {seed}", Invariant::FailoverIsFast);
        run(&mut world, now_ms + 2_000);
        // The other standby, and three replicas.
        assert_turned(&before, &world.counters(), 4, seed);
    }
}

#[test]
fn an_owner_that_drains_hands_over_at_once_and_leaves_everything() {
    for seed in SEEDS {
        let mut world = at_work(seed);
        let ((at, epoch), before) = (owner(&world), world.counters());
        let held = seq_of(&world, at);
        world.strike(Blow::Drain(at), 20_000);
        let (now_ms, _) = next_owner(&mut world, epoch, 5_000);
        assert!(now_ms <= 6_500, "{}: {now_ms} ms at seed {seed}", Invariant::FailoverIsFast);
        let (next, _) = owner(&world);
        let left = seq_of(&world, next);
        assert!(left >= held, "{}: {left} of {held} at seed {seed}", Invariant::DrainLosesNothing);
        run(&mut world, now_ms + 2_000);
        let after = world.counters();
        for what in [Happening::SnapshotGiven, Happening::ReplicaReplaced, Happening::StandbyReplaced] {
            let more = after.of(what) - before.of(what);
            assert_eq!(0, more, "{}: {what:?} at seed {seed}", Invariant::DrainLosesNothing);
        }
    }
}

#[test]
fn an_owner_leaves_the_pool_to_one_that_is_back_and_comes_first_without_snapshots() {
    for seed in SEEDS {
        let plan = Plan { heals_at_ms: 60_000, give_back_after_ms: 4_000, ..Plan::calm(seed) };
        let mut world = world_of(&plan);
        run(&mut world, 8_000);
        let (first, _) = owner(&world);
        world.strike(Blow::Kill(Node::Aggregator(first)), 4_000);
        run(&mut world, 13_500);
        let ((second, epoch), before) = (owner(&world), world.counters());
        assert_ne!(first, second, "nobody took over at seed {seed}");
        let (now_ms, _) = next_owner(&mut world, epoch, 13_500);
        run(&mut world, now_ms + 2_000);
        assert_eq!(first, owner(&world).0, "it did not come back at seed {seed}");
        assert_turned(&before, &world.counters(), 5, seed);
    }
}

#[test]
fn while_the_coordinator_is_away_the_owner_stays() {
    for seed in SEEDS {
        let mut world = at_work(seed);
        let before = owner(&world);
        world.strike(Blow::CoordinatorAway, 15_000);
        run(&mut world, 28_000);
        assert_eq!(before, owner(&world), "seed {seed}");
    }
}

#[test]
fn of_two_owners_the_later_one_is_left_and_the_other_follows_it() {
    for seed in SEEDS {
        let mut world = at_work(seed);
        let (at, epoch) = owner(&world);
        let apart = vec![Node::Aggregator(at), Node::Replica(0), Node::Collector(0)];
        world.strike(Blow::Split(apart), 10_000);
        run(&mut world, 14_000);
        assert_eq!(2, world.owners().len(), "a second owner is elected at seed {seed}");
        run(&mut world, 19_000);
        let (left, later) = owner(&world);
        assert!(left != at && later > epoch, "{}: at seed {seed}", Invariant::DeposedStepsDown);
        let head = seq_of(&world, left);
        assert!(head.abs_diff(seq_of(&world, at)) < 200, "the one before follows at seed {seed}");
    }
}

#[test]
fn aggregators_that_are_all_started_anew_inherit_from_the_replicas() {
    for seed in SEEDS {
        let mut world = at_work(seed);
        let (at, epoch) = owner(&world);
        let held = seq_of(&world, at);
        (0..3).for_each(|at| world.strike(Blow::Kill(Node::Aggregator(at)), 500));
        let (now_ms, _) = next_owner(&mut world, epoch, 5_000);
        run(&mut world, now_ms + 2_000);
        let (next, _) = owner(&world);
        let left = seq_of(&world, next);
        assert!(left + 20 >= held, "{left} of {held} are left at seed {seed}");
    }
}

#[test]
fn one_after_the_other_all_can_be_started_anew() {
    for seed in SEEDS {
        let mut world = world_of(&Plan { heals_at_ms: 30_000, ..Plan::calm(seed) });
        for (turn, at) in (0..3).enumerate() {
            world.strike(Blow::Drain(at), 1_000);
            run(&mut world, 5_000 + 4_000 * (turn as u64 + 1));
        }
        for at in 0..2 {
            world.strike(Blow::Kill(Node::Replica(at)), 200);
            world.strike(Blow::Kill(Node::Collector(at)), 200);
        }
        run(&mut world, 30_000);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}
