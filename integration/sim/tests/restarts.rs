//! Checks what pods and restarted processes leave behind, over several seeds of everything else.

mod common;

use signalbox_sim::{Counter, FaultKind, Invariant, Node, Plan, World};

use crate::common::{next_owner, owner, run, running_world, seq_of, world_of};

const SEEDS: std::ops::Range<u64> = 0..8;

/// Returns a pod at the owner: whether it is draining, and its requests in flight. `None` if it is gone.
fn pod_at_owner(world: &World, name: &str) -> Option<(bool, u32)> {
    let (at, _) = owner(world);
    let (_, role) = world.roles().find(|(node, _)| *node == Node::Aggregator(at))?;
    let mut members = role.pool_state().endpoints();
    let member = members.find(|member| member.spec.name == name)?;
    Some((member.spec.is_draining, role.pool_state().loads().total(member.key).requests))
}

#[test]
fn draining_pod_finishes_its_requests_and_goes() {
    for seed in SEEDS {
        let mut world = world_of(&Plan { heals_at_ms: 20_000, ..Plan::without_faults(seed) });
        world.inject(FaultKind::DrainPod(0), 10_000);
        // All aggregators, and with them all replicas, have been told.
        run(&mut world, 5_450);
        let Some((true, mut requests)) = pod_at_owner(&world, "pod-0") else {
            panic!("pod-0 is not draining at seed {seed}")
        };
        assert!(requests > 0, "pod-0 has no requests at seed {seed}");
        let gone = (5_450..11_000).step_by(10).find(|now_ms| {
            run(&mut world, *now_ms);
            let Some((is_draining, now)) = pod_at_owner(&world, "pod-0") else { return true };
            assert!(is_draining && now <= requests, "{now} after {requests} requests at seed {seed}");
            requests = now;
            false
        });
        assert!(gone.is_some(), "pod-0 did not go at seed {seed}");
        assert_eq!(0, requests, "{}: seed {seed}", Invariant::DrainingKeepsBookings);
        assert_eq!(1, world.counters().get(Counter::PodDrained), "seed {seed}");
        run(&mut world, 20_000);
        assert!(matches!(pod_at_owner(&world, "pod-0"), Some((false, _))), "seed {seed}");
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

#[test]
fn aggregators_that_started_with_nothing_inherit_from_replicas_that_connect_late() {
    for seed in SEEDS {
        let mut world = running_world(seed);
        let (at, epoch) = owner(&world);
        let seq_before = seq_of(&world, at);
        (0..3).for_each(|at| world.inject(FaultKind::Kill(Node::Aggregator(at)), 500));
        for (aggregator, replica) in (0..3).flat_map(|at| (0..3).map(move |replica| (at, replica))) {
            let (aggregator, replica) = (Node::Aggregator(aggregator), Node::Replica(replica));
            world.inject(FaultKind::Cut(aggregator, replica), 6_000);
            world.inject(FaultKind::Cut(replica, aggregator), 6_000);
        }
        let (now_ms, _) = next_owner(&mut world, epoch, 5_000);
        assert!(now_ms < 11_000, "no aggregator started with nothing at seed {seed}");
        let cold = owner(&world);
        assert!(seq_of(&world, cold.0) < seq_before / 2, "seed {seed}");
        run(&mut world, 15_000);
        let (next, later) = owner(&world);
        let seq_after = seq_of(&world, next);
        assert!(later > cold.1 && seq_after + 20 >= seq_before, "{seq_after} of {seq_before} at seed {seed}");
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

/// With more aggregators, another one would take over.
#[test]
fn owner_that_was_frozen_expires_nobody_who_is_connected() {
    for seed in SEEDS {
        let mut world = world_of(&Plan { aggregators: 1, heals_at_ms: 20_000, ..Plan::without_faults(seed) });
        let before = world.counters();
        world.inject(FaultKind::Pause(Node::Aggregator(0)), 1_950);
        run(&mut world, 10_000);
        let after = world.counters();
        for counter in [Counter::OriginRenewal, Counter::CollectorClosed] {
            assert_eq!(before.get(counter), after.get(counter), "{counter:?} at seed {seed}");
        }
        run(&mut world, 20_000);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

#[test]
fn rolling_restart_settles() {
    for seed in SEEDS {
        let mut world = world_of(&Plan { heals_at_ms: 30_000, ..Plan::without_faults(seed) });
        for (step, at) in (0..3).enumerate() {
            world.inject(FaultKind::Drain(at), 1_000);
            run(&mut world, 5_000 + 4_000 * (step as u64 + 1));
        }
        for at in 0..2 {
            world.inject(FaultKind::Kill(Node::Replica(at)), 200);
            world.inject(FaultKind::Kill(Node::Collector(at)), 200);
        }
        run(&mut world, 30_000);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

#[test]
fn restarted_aggregators_fetch_the_history_from_replicas() {
    for seed in SEEDS {
        let mut world = running_world(seed);
        let (at, epoch) = owner(&world);
        let seq_before = seq_of(&world, at);
        (0..3).for_each(|at| world.inject(FaultKind::Kill(Node::Aggregator(at)), 500));
        let (now_ms, _) = next_owner(&mut world, epoch, 5_000);
        run(&mut world, now_ms + 2_000);
        let (next, _) = owner(&world);
        let seq_after = seq_of(&world, next);
        assert!(seq_after + 20 >= seq_before, "{seq_after} of {seq_before} remain at seed {seed}");
    }
}
