//! Checks that a process or pod that misbehaves does not disturb the others, over several seeds of everything else.

use signalbox_sim::{
    Counter, FEW_MESSAGES, Fault, FaultKind, Invariant, Node, Plan, Refusal, SlowNodes, Tracing, Work, World,
};

const SEEDS: std::ops::Range<u64> = 0..2;

/// Runs a plan with these faults, `(at_ms, for_ms, kind)`, to its end, and returns the world.
fn run(plan: &Plan, faults: impl IntoIterator<Item = (u64, u64, FaultKind)>) -> World {
    let faults = faults.into_iter().map(|(at_ms, for_ms, kind)| Fault { at_ms, for_ms, kind }).collect();
    let plan = Plan { faults, ..plan.clone() };
    let mut world = World::new(&plan, Tracing::Off);
    let outcome = world.run_until(plan.heals_at_ms).and_then(|()| world.settle());
    outcome.unwrap_or_else(|violation| panic!("{violation} at seed {}", plan.seed));
    world
}

fn plan(seed: u64, heals_at_ms: u64) -> Plan {
    Plan { heals_at_ms, ..Plan::without_faults(seed) }
}

fn assert_happened(world: &World, counter: Counter, at_least: u64) {
    let count = world.counters().get(counter);
    assert!(count >= at_least, "{counter:?} occurred {count} times, expected {at_least}");
}

fn assert_never(world: &World, counter: Counter) {
    assert_eq!(0, world.counters().get(counter), "{counter:?}");
}

#[test]
fn replica_that_poses_as_another_loses_its_stream_and_the_other_keeps_everything() {
    for seed in SEEDS {
        let forged = (0..10).map(|at| (5_000 + 300 * at, 0, FaultKind::Impersonate(0, 1)));
        let world = run(&plan(seed, 12_000), forged);
        assert_happened(&world, Counter::FeedbackForged, 5);
        assert_happened(&world, Counter::FeedbackRefused, world.counters().get(Counter::FeedbackForged));
        assert_never(&world, Counter::OriginRenewal);
    }
}

#[test]
fn chains_that_are_requested_all_at_once_all_arrive() {
    for seed in SEEDS {
        let faults = [2_000, 16_000].map(|at_ms| (at_ms, 2_000, FaultKind::LoseAnchors));
        let world = run(&plan(seed, 30_000), faults);
        assert_happened(&world, Counter::ChainRequest, 500);
    }
}

#[test]
fn followers_that_freeze_in_a_snapshot_do_not_keep_others_from_theirs() {
    for seed in SEEDS {
        let freeze = |at| (5_000, 25_000, FaultKind::Freeze(Node::Replica(at)));
        let restart = |at| (6_000, 100, FaultKind::Kill(Node::Replica(at)));
        let faults = (0..4).map(freeze).chain((4..7).map(restart));
        let world = run(&Plan { replicas: 7, ..plan(seed, 32_000) }, faults);
        assert_happened(&world, Counter::FrozenInSnapshot, 4);
        assert_happened(&world, Counter::FollowerDropped, 4);
        assert_happened(&world, Counter::HeardWhileWaiting, 30);
    }
}

#[test]
fn lasting_divergence_gets_snapshots_at_growing_intervals() {
    for seed in SEEDS {
        let world = run(&plan(seed, 30_000), [(4_000, 20_000, FaultKind::Diverge(0))]);
        assert_happened(&world, Counter::Divergence, 4);
        let snapshots = world.counters().get(Counter::ReplicaSnapshot);
        assert!((6..=16).contains(&snapshots), "{}: {snapshots}", Invariant::SnapshotsAreSpaced);
    }
}

#[test]
fn replica_that_gives_up_exits_and_leaves_no_load() {
    for seed in SEEDS {
        let world = run(&plan(seed, 32_000), [(3_000, 26_000, FaultKind::GiveUp(0))]);
        assert_happened(&world, Counter::ReplicaGaveUp, 1);
        assert_never(&world, Counter::OriginRenewal);
    }
}

#[test]
fn load_of_a_replica_that_is_gone_leaves_the_pool() {
    for seed in SEEDS {
        run(&plan(seed, 32_000), [(3_000, 0, FaultKind::LoseMachine(Node::Replica(0)))]);
    }
}

#[test]
fn endpoint_whose_scraper_crashes_again_and_again_is_stale_and_then_fresh_again() {
    for seed in SEEDS {
        // Whichever collector has been assigned the pod.
        let faults = [0, 1].map(|collector| (8_000, 8_000, FaultKind::CrashScraper(collector, 0)));
        let world = run(&plan(seed, 20_000), faults);
        assert_happened(&world, Counter::ScraperCrash, 10);
    }
}

#[test]
fn pod_that_fails_gets_one_probe_at_a_time_and_requests_again_when_it_has_recovered() {
    for seed in SEEDS {
        let world = run(&plan(seed, 25_000), [(5_000, 10_000, FaultKind::FailRequests(0))]);
        assert_happened(&world, Counter::CircuitOpened, 1);
        assert_happened(&world, Counter::Probe, 3);
        assert_happened(&world, Counter::CircuitClosed, 1);
        let (named, probes) =
            (world.counters().get(Counter::ProberNamed), world.counters().get(Counter::Probe));
        assert!(probes <= named, "{}: {probes} probes of {named}", Invariant::OneProbeAtATime);
    }
}

#[test]
fn owner_expires_nobody_whose_messages_wait_for_it() {
    for seed in SEEDS {
        let mut world = World::new(&plan(seed, 35_000), Tracing::Off);
        let run = |world: &mut World, until_ms| {
            world.run_until(until_ms).unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
        };
        run(&mut world, 5_000);
        let [(owner, _)] = world.owners()[..] else { panic!("expected one owner at seed {seed}") };
        let before = world.counters().get(Counter::ContentOvertaken);
        world.set_work(Work { slow: SlowNodes::One(owner), slow_factor: 1_000, ..Work::quick() });
        run(&mut world, 15_000);
        assert_happened(&world, Counter::ContentOvertaken, before + 50);
        world.set_work(Work::quick());
        run(&mut world, 35_000);
        assert_never(&world, Counter::OriginRenewal);
        assert_never(&world, Counter::CollectorClosed);
        world.settle().unwrap_or_else(|violation| panic!("{violation} at seed {seed}"));
    }
}

/// The most attempts in ten seconds of one replica that is always refused: after 25, 50, 100, 200 and 400 ms, then every
/// 500 ms. Half of these delays is drawn at random, so that replicas do not come together.
const MAX_REFUSED_IN_TEN_SECONDS: u64 = 24;

#[test]
fn aggregator_that_refuses_its_followers_is_not_rushed_by_them() {
    let replicas = 32;
    for (seed, refusal) in [Refusal::AtOnce, Refusal::AfterMessage].into_iter().enumerate() {
        let plan = Plan { aggregators: 1, replicas, request_every_ms: 1_000, ..plan(seed as u64, 18_000) };
        let world = run(&plan, [(5_000, 10_000, FaultKind::RefuseFollowers(0, refusal))]);
        let refused = world.counters().get(Counter::FollowerRefused);
        let most = replicas as u64 * MAX_REFUSED_IN_TEN_SECONDS;
        let name = Invariant::ReconnectsAreSpaced;
        assert!((most / 4..=most).contains(&refused), "{name}: {refused} in ten seconds, {refusal:?}");
    }
}

#[test]
fn replica_that_floods_a_slow_owner_keeps_nobody_from_its_turn() {
    for seed in SEEDS {
        let floods = (0..20).map(|at| (5_000 + 200 * at, 0, FaultKind::Flood(0)));
        let slow = Work { slow: SlowNodes::All, slow_factor: 40, ..Work::quick() };
        let plan = Plan { message_limits: FEW_MESSAGES, replicas: 6, work: slow, ..plan(seed, 14_000) };
        let world = run(&plan, floods);
        assert_happened(&world, Counter::FeedbackFlooded, 2_000);
        assert_happened(&world, Counter::MessageWaited, 500);
    }
}
