//! Checks the guarantees for single faults, over several seeds of everything else.

mod common;

use signalbox_sim::{Counter, Counters, FaultKind, Invariant, Node, Plan, World};

use crate::common::{next_owner, owner, run, running_world, seq_of, world_of};

const SEEDS: std::ops::Range<u64> = 0..8;

/// Runs until `until_ms` and asserts that the same aggregator owns the pool all the time, alone.
fn assert_owner_stays(world: &mut World, before: (usize, u64), until_ms: u64, seed: u64) {
    for now_ms in (5_000..=until_ms).step_by(50) {
        run(world, now_ms);
        assert_eq!(before, owner(world), "{}: at seed {seed}", Invariant::HeardOwnerStays);
    }
}

/// Asserts that no snapshot was sent between two moments.
fn assert_no_snapshots(before: &Counters, after: &Counters, invariant: Invariant, seed: u64) {
    for counter in [Counter::SnapshotSent, Counter::ReplicaSnapshot, Counter::StandbySnapshot] {
        let more = after.get(counter) - before.get(counter);
        assert_eq!(0, more, "{invariant}: {counter:?} at seed {seed}");
    }
}

/// Asserts that all followers continued with an epoch change, without a snapshot.
fn assert_epoch_changed(before: &Counters, after: &Counters, followers: u64, seed: u64) {
    assert_no_snapshots(before, after, Invariant::TakeoverWithoutSnapshots, seed);
    let epoch_changes = after.get(Counter::EpochChange) - before.get(Counter::EpochChange);
    let invariant = Invariant::TakeoverWithoutSnapshots;
    assert_eq!(followers, epoch_changes, "{invariant}: epoch changes at seed {seed}");
}

/// Takes the owner away and asserts that a standby owns the pool within `within_ms`, without snapshots.
/// Returns the former owner and the world two seconds later. `followers` have a stream to the standby.
fn assert_taken_over_early(
    fault: fn(Node) -> FaultKind,
    within_ms: u64,
    followers: u64,
    seed: u64,
) -> (usize, World) {
    let mut world = running_world(seed);
    let ((at, epoch), before) = (owner(&world), world.counters());
    world.inject(fault(Node::Aggregator(at)), 10_000);
    let (now_ms, vacant_since_ms) = next_owner(&mut world, epoch, 5_000);
    assert_eq!(None, vacant_since_ms, "the lease has ended at seed {seed}");
    let elapsed_ms = now_ms - 5_000;
    assert!(elapsed_ms <= within_ms, "{}: {elapsed_ms} ms at seed {seed}", Invariant::TakeoverIsFast);
    run(&mut world, now_ms + 2_000);
    assert_epoch_changed(&before, &world.counters(), followers, seed);
    (at, world)
}

#[test]
fn standby_replaces_a_killed_owner_within_a_second_and_without_snapshots() {
    for seed in SEEDS {
        // The other standby and three replicas.
        assert_taken_over_early(FaultKind::Kill, 1_000, 4, seed);
    }
}

#[test]
fn standby_replaces_an_owner_whose_machine_is_lost_within_three_seconds() {
    for seed in SEEDS {
        // The stream of the former owner is still open.
        assert_taken_over_early(FaultKind::LoseMachine, 3_000, 5, seed);
    }
}

#[test]
fn owner_that_resumes_follows_the_standby_that_replaced_it() {
    for seed in SEEDS {
        let (at, mut world) = assert_taken_over_early(FaultKind::Pause, 3_000, 5, seed);
        run(&mut world, 20_000);
        let (remaining, _) = owner(&world);
        assert_ne!(at, remaining, "{}: at seed {seed}", Invariant::OneOwner);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

#[test]
fn standby_takes_over_after_the_lease_when_no_follower_can_tell_that_the_owner_is_gone() {
    for seed in SEEDS {
        let plan = Plan { heals_at_ms: 60_000, aggregators: 2, replicas: 0, ..Plan::without_faults(seed) };
        let mut world = world_of(&plan);
        let (at, epoch) = owner(&world);
        world.inject(FaultKind::Kill(Node::Aggregator(at)), 20_000);
        let (now_ms, vacant_since_ms) = next_owner(&mut world, epoch, 5_000);
        let vacant_since_ms =
            vacant_since_ms.expect("the lease ends before another aggregator owns the pool");
        let elapsed_ms = now_ms - vacant_since_ms;
        assert!(elapsed_ms <= 3_000, "{}: {elapsed_ms} ms at seed {seed}", Invariant::TakeoverIsFast);
    }
}

#[test]
fn partition_between_the_owner_and_standbys_does_not_change_the_owner() {
    for (seed, standbys_cut) in SEEDS.zip([1, 2].into_iter().cycle()) {
        let mut world = running_world(seed);
        let before = owner(&world);
        let standbys = (0..3).filter(|at| *at != before.0).take(standbys_cut);
        for standby in standbys {
            let (owner, standby) = (Node::Aggregator(before.0), Node::Aggregator(standby));
            world.inject(FaultKind::Cut(owner, standby), 10_000);
            world.inject(FaultKind::Cut(standby, owner), 10_000);
        }
        assert_owner_stays(&mut world, before, 20_000, seed);
    }
}

#[test]
fn owner_that_one_replica_hears_stays() {
    for seed in SEEDS {
        let mut world = running_world(seed);
        let before = owner(&world);
        let aggregators = (0..3).map(Node::Aggregator);
        for other in aggregators.chain([Node::Replica(0), Node::Replica(1)]) {
            if other != Node::Aggregator(before.0) {
                world.inject(FaultKind::Cut(Node::Aggregator(before.0), other), 10_000);
                world.inject(FaultKind::Cut(other, Node::Aggregator(before.0)), 10_000);
            }
        }
        assert_owner_stays(&mut world, before, 20_000, seed);
    }
}

#[test]
fn partition_of_two_aggregators_without_replicas_does_not_change_the_owner() {
    for seed in SEEDS {
        let plan = Plan { heals_at_ms: 60_000, aggregators: 2, replicas: 0, ..Plan::without_faults(seed) };
        let mut world = world_of(&plan);
        let before = owner(&world);
        for (from, to) in [(0, 1), (1, 0)] {
            world.inject(FaultKind::Cut(Node::Aggregator(from), Node::Aggregator(to)), 10_000);
        }
        assert_owner_stays(&mut world, before, 20_000, seed);
    }
}

#[test]
fn draining_owner_hands_over_at_once_and_loses_nothing() {
    for seed in SEEDS {
        let mut world = running_world(seed);
        let ((at, epoch), before) = (owner(&world), world.counters());
        let seq_before = seq_of(&world, at);
        world.inject(FaultKind::Drain(at), 20_000);
        let (now_ms, _) = next_owner(&mut world, epoch, 5_000);
        assert!(now_ms <= 6_500, "{}: {now_ms} ms at seed {seed}", Invariant::TakeoverIsFast);
        let (next, _) = owner(&world);
        let seq_after = seq_of(&world, next);
        let invariant = Invariant::DrainLosesNothing;
        assert!(seq_after >= seq_before, "{invariant}: {seq_after} of {seq_before} at seed {seed}");
        run(&mut world, now_ms + 2_000);
        assert_no_snapshots(&before, &world.counters(), invariant, seed);
    }
}

#[test]
fn owner_fails_back_to_the_preferred_aggregator_without_snapshots() {
    for seed in SEEDS {
        let plan = Plan { heals_at_ms: 60_000, failback_after_ms: 4_000, ..Plan::without_faults(seed) };
        let mut world = world_of(&plan);
        run(&mut world, 8_000);
        let (first, _) = owner(&world);
        world.inject(FaultKind::Kill(Node::Aggregator(first)), 4_000);
        run(&mut world, 13_500);
        let ((second, epoch), before) = (owner(&world), world.counters());
        assert_ne!(first, second, "no aggregator took over at seed {seed}");
        let (now_ms, _) = next_owner(&mut world, epoch, 13_500);
        run(&mut world, now_ms + 2_000);
        assert_eq!(first, owner(&world).0, "the pool did not fail back at seed {seed}");
        assert_epoch_changed(&before, &world.counters(), 5, seed);
    }
}

#[test]
fn owner_stays_while_the_coordinator_is_down() {
    for seed in SEEDS {
        let mut world = running_world(seed);
        let before = owner(&world);
        world.inject(FaultKind::CoordinatorDown, 15_000);
        run(&mut world, 28_000);
        assert_eq!(before, owner(&world), "seed {seed}");
    }
}

#[test]
fn earlier_owner_follows_the_later_one_after_a_partition() {
    for seed in SEEDS {
        let mut world = running_world(seed);
        let (at, epoch) = owner(&world);
        let isolated = vec![Node::Aggregator(at), Node::Replica(0), Node::Collector(0)];
        world.inject(FaultKind::Partition(isolated), 10_000);
        run(&mut world, 14_000);
        assert_eq!(2, world.owners().len(), "expected a second owner at seed {seed}");
        run(&mut world, 19_000);
        let (remaining, later) = owner(&world);
        assert!(remaining != at && later > epoch, "{}: at seed {seed}", Invariant::OneOwner);
        let head = seq_of(&world, remaining);
        assert!(head.abs_diff(seq_of(&world, at)) < 200, "the earlier owner is behind at seed {seed}");
    }
}
