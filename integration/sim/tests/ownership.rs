//! Checks who owns the pool when an owner is stuck, outranked or without its lease, over several seeds of everything
//! else.

use signalbox_sim::{Counter, FaultKind, Invariant, Node, Plan, SlowNodes, Tracing, Work, World};

const SEEDS: std::ops::Range<u64> = 0..4;

/// Returns a cluster that has served requests for five seconds.
fn world_of(plan: &Plan) -> World {
    let mut world = World::new(&Plan { heals_at_ms: 60_000, ..plan.clone() }, Tracing::Off);
    run(&mut world, 5_000);
    world
}

fn run(world: &mut World, until_ms: u64) {
    world.run_until(until_ms).unwrap_or_else(|violation| panic!("{violation}"));
}

/// Returns the index and epoch of the only owner.
fn owner(world: &World) -> (usize, u64) {
    match world.owners()[..] {
        [(Node::Aggregator(at), epoch)] => (at, epoch),
        ref owners => panic!("expected one owner, but there are {owners:?}"),
    }
}

/// Cuts all links between a node and others for a while.
fn cut_off(world: &mut World, node: Node, others: impl IntoIterator<Item = Node>, for_ms: u64) {
    for other in others.into_iter().filter(|other| *other != node) {
        world.inject(FaultKind::Cut(node, other), for_ms);
        world.inject(FaultKind::Cut(other, node), for_ms);
    }
}

/// Runs until another aggregator owns the pool, and returns when, in milliseconds.
fn next_owner(world: &mut World, before: (usize, u64), until_ms: u64) -> u64 {
    let is_next = |(node, epoch): &(Node, u64)| *node != Node::Aggregator(before.0) && *epoch > before.1;
    let found = (5_000..until_ms).step_by(10).find(|now_ms| {
        run(world, *now_ms);
        world.owners().iter().any(is_next)
    });
    found.unwrap_or_else(|| panic!("{}: no aggregator took over", Invariant::TakeoverIsFast))
}

#[test]
fn standby_takes_over_from_an_owner_that_is_stuck_when_no_follower_can_tell() {
    for seed in SEEDS {
        let mut world = world_of(&Plan { aggregators: 2, replicas: 0, ..Plan::without_faults(seed) });
        let before = owner(&world);
        world.inject(FaultKind::Stall(Node::Aggregator(before.0)), 20_000);
        // The lease is renewed for another second, lasts six, and another aggregator has three to own the pool.
        let took_over_ms = next_owner(&mut world, before, 15_000);
        assert!(took_over_ms > 10_000, "the lease has not ended at seed {seed}: {took_over_ms} ms");
        run(&mut world, 29_000);
        assert_ne!(before, owner(&world), "{}: at seed {seed}", Invariant::OneOwner);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

#[test]
fn standby_replaces_an_owner_that_is_stuck_within_three_seconds() {
    for seed in SEEDS {
        let mut world = world_of(&Plan::without_faults(seed));
        let before = owner(&world);
        world.inject(FaultKind::Stall(Node::Aggregator(before.0)), 10_000);
        let took_over_ms = next_owner(&mut world, before, 8_000);
        run(&mut world, took_over_ms + 15_000);
        assert_ne!(before.0, owner(&world).0, "{}: at seed {seed}", Invariant::OneOwner);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

#[test]
fn short_stall_does_not_change_the_owner() {
    for seed in SEEDS {
        let mut world = world_of(&Plan { aggregators: 2, replicas: 0, ..Plan::without_faults(seed) });
        let before = owner(&world);
        world.inject(FaultKind::Stall(Node::Aggregator(before.0)), 3_000);
        run(&mut world, 20_000);
        assert_eq!(before, owner(&world), "{}: at seed {seed}", Invariant::HeardOwnerStays);
    }
}

#[test]
fn owner_that_loses_its_lease_goes_on_and_claims_the_pool_again() {
    for seed in SEEDS {
        let mut world = world_of(&Plan::without_faults(seed));
        let (before, counters) = (owner(&world), world.counters());
        world.inject(FaultKind::LoseLease(before.0), 0);
        for now_ms in (5_000..=12_000).step_by(50) {
            run(&mut world, now_ms);
            assert_eq!(before.0, owner(&world).0, "{}: at seed {seed}", Invariant::HeardOwnerStays);
        }
        assert!(owner(&world).1 > before.1, "it did not claim the pool again at seed {seed}");
        for counter in [Counter::StreamBroken, Counter::SnapshotSent, Counter::OriginRenewal] {
            assert_eq!(counters.get(counter), world.counters().get(counter), "{counter:?} at seed {seed}");
        }
    }
}

#[test]
fn owner_that_is_cut_off_from_the_coordinator_goes_on() {
    for seed in SEEDS {
        let mut world = world_of(&Plan::without_faults(seed));
        let before = owner(&world);
        cut_off(&mut world, Node::Aggregator(before.0), [Node::Coordinator], 15_000);
        run(&mut world, 18_000);
        assert!(world.vacant_since_ms().is_some(), "the lease has not ended at seed {seed}");
        for now_ms in (18_000..=26_000).step_by(50) {
            run(&mut world, now_ms);
            assert_eq!(before.0, owner(&world).0, "{}: at seed {seed}", Invariant::HeardOwnerStays);
        }
        assert!(world.vacant_since_ms().is_none(), "it did not claim the pool again at seed {seed}");
    }
}

#[test]
fn outranked_owner_that_is_cut_off_from_the_coordinator_and_the_standbys_steps_down_after_its_lease() {
    for seed in SEEDS {
        let mut world = world_of(&Plan::without_faults(seed));
        let before = owner(&world);
        // The replicas reach both owners, and tell the earlier one that there is a later one.
        let others = (0..3).map(Node::Aggregator).chain([Node::Coordinator]);
        cut_off(&mut world, Node::Aggregator(before.0), others, 30_000);
        let took_over_ms = next_owner(&mut world, before, 15_000);
        run(&mut world, took_over_ms + 6_000 + 1_000);
        assert_ne!(before.0, owner(&world).0, "{}: at seed {seed}", Invariant::OutrankedStepsDown);
        run(&mut world, 45_000);
        assert_ne!(before.0, owner(&world).0, "{}: at seed {seed}", Invariant::OneOwner);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

/// Checks that aggregators which all restart inherit from replicas, while processes take long for each part of what
/// they receive and send. Replicas hear heartbeats meanwhile.
fn check_late_inheritance(seed: u64, work: Work) {
    // Each entry of a snapshot takes long: those of flow control would make the offers come later than the test is about.
    let mut world = world_of(&Plan { flow_control: None, ..Plan::without_faults(seed) });
    let (at, epoch) = owner(&world);
    let role_of = |world: &World, node| {
        let role = world.roles().find(|(found, _)| *found == node);
        let role = role.expect("the aggregator runs").1;
        (role.version().expect("it has a state").seq, role.pool_state().provisional_since())
    };
    let (seq_before, since) = role_of(&world, Node::Aggregator(at));
    assert!(since > 0, "in its first minute, the state is provisional since the epoch in which it began");
    (0..3).for_each(|at| world.inject(FaultKind::Kill(Node::Aggregator(at)), 500));
    world.set_work(work);
    let has_inherited = |world: &World| {
        let mut next = world.owners().into_iter().filter(|(_, found)| *found > epoch);
        next.any(|(node, _)| {
            let (seq_after, since_after) = role_of(world, node);
            since_after == since && seq_after + 20 >= seq_before
        })
    };
    let inherited_ms = (5_000..40_000).step_by(10).find(|now_ms| {
        run(&mut world, *now_ms);
        has_inherited(&world)
    });
    let inherited_ms =
        inherited_ms.unwrap_or_else(|| panic!("{}: at seed {seed}", Invariant::EarlierStateIsInherited));
    assert!(inherited_ms > 5_500 + 3_000, "the offer was quick at seed {seed}: {inherited_ms} ms");
    world.set_work(Work::quick());
    run(&mut world, inherited_ms + 10_000);
    world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
}

#[test]
fn restarted_aggregators_inherit_from_replicas_that_take_seconds_to_offer_what_they_hold() {
    // 400 ms for each part.
    let slow = Work { slow: SlowNodes::Replicas, slow_factor: 80_000, event_us: 0, ..Work::quick() };
    SEEDS.for_each(|seed| check_late_inheritance(seed, slow));
}

#[test]
fn restarted_aggregators_inherit_from_replicas_while_all_processes_are_slow() {
    SEEDS.for_each(|seed| check_late_inheritance(seed, Work { part_us: 400_000, ..Work::quick() }));
}

/// The owner restarts at once, before and after the coordinator has returned to an older history: that one would grant it the
/// epoch of its earlier run once more.
#[test]
fn epoch_that_was_used_is_not_used_again_when_the_coordinator_has_an_older_history() {
    let mut owned_thrice = 0;
    for (seed, wait_ms) in SEEDS.flat_map(|seed| [0, 20, 300].map(|wait_ms| (seed, wait_ms))) {
        let mut world = world_of(&Plan { aggregators: 2, ..Plan::without_faults(seed) });
        let first = owner(&world);
        world.inject(FaultKind::Kill(Node::Aggregator(first.0)), 50);
        run(&mut world, 8_000);
        let second = owner(&world);
        assert!(second.1 > first.1, "no aggregator took over at seed {seed}");
        world.inject(FaultKind::RewindCoordinator, 0);
        run(&mut world, 8_000 + wait_ms);
        let third = owner(&world);
        owned_thrice += usize::from((first.0, second) == (second.0, third));
        world.inject(FaultKind::Kill(Node::Aggregator(third.0)), 50);
        run(&mut world, 20_000);
        assert!(owner(&world).1 > third.1, "{}: at seed {seed}, {wait_ms} ms", Invariant::OneWriter);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
    assert!(owned_thrice > 0, "the epoch was never granted to the same aggregator again");
}
