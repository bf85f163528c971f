//! Each way in which autoscalers of model servers are known to fail.

use super::world::{World, pod, replica};
use crate::assessor::SignalAssessor;
use crate::metric::Metric;
use crate::observation::{PodSpeed, PodState, ServedCounts};
use crate::reading::Unavailable;
use crate::settings::SignalSettings;
use crate::signal::{Certainty, Queue, Reason};

/// Series of pods and replicas that are gone must not keep the number up.
#[test]
fn dead_series_do_not_ratchet() {
    let mut world = World::new(4);
    world.pods.iter_mut().for_each(|pod| pod.prefill_in_flight = 20_000);
    world.replicas = vec![replica(1), replica(2)];
    world.run(120, 24);
    let before = world.desired();
    world.replicas.truncate(1);
    world.set_pods(4);
    world.run(700, 4);
    assert!(before >= 4 && world.desired() == 1, "{before} {}", world.desired());
}

/// While asked-for pods boot, demand stays as it is, and so does the number.
#[test]
fn booting_pods_are_not_asked_for_again() {
    let mut world = World::new(1);
    world.run(120, 4);
    world.run(90, 32);
    let asked = world.desired();
    // Prompts pile up at the one pod, for as long as the others boot.
    for second in 1..180 {
        world.pods[0].prefill_in_flight = 24_000 * second;
        world.run(1, 32);
    }
    assert!((7..=8).contains(&asked), "{asked}");
    assert!(world.desired() <= asked + 1, "{asked} {}", world.desired());
}

/// One pod fewer must be able to carry the load before it is given up.
#[test]
fn fewer_pods_are_desired_only_if_they_can_carry_the_load() {
    let mut world = World::new(2);
    // Two pods at half of their capacity: one would be full.
    world.run(900, 8);
    assert_eq!(2, world.desired());
    world.run(900, 3);
    assert_eq!(1, world.desired());
}

/// What a pod shows in its first minute says nothing about its capacity.
#[test]
fn cold_starts_do_not_poison_the_capacity() {
    let mut world = World::new(4);
    world.run(400, 20);
    let before = world.desired();
    let cold = PodSpeed { prefill_tokens_per_second: 50.0, decode_token_s: 1.0, decode_interference_s: 0.1 };
    for key in 5..20 {
        world.pods.push(crate::Pod { speed: Some(cold), ..pod(key) });
    }
    world.run(59, 20);
    assert_eq!(before, world.desired());
}

/// A restart of all pods keeps what is known of their speed.
#[test]
fn capacity_is_remembered_while_no_pod_is_warm() {
    let mut world = World::new(2);
    world.run(120, 8);
    world.pods = vec![crate::Pod { speed: None, state: PodState::Warming, ..pod(9) }];
    world.run(60, 32);
    assert!(world.desired() >= 5, "{:?}", world.signal.groups);
}

/// A pod that never serves neither stops the signal nor counts as capacity.
#[test]
fn one_bad_pod_blocks_nothing() {
    let mut world = World::new(3);
    world.run(120, 8);
    world.pods.push(crate::Pod { state: PodState::Failed, speed: None, ..pod(4) });
    world.run(120, 40);
    assert_eq!(Certainty::Complete, world.signal.certainty);
    world.pods.pop();
    let without = World::new(3).run(240, 40).groups[0].desired;
    assert!(without >= 6);
    assert_eq!(without + 1, world.desired(), "it is asked for in place of the failed one");
}

/// No traffic is a number like any other, and a number that is not known is an error.
#[test]
fn no_traffic_is_neither_skipped_nor_mistaken_for_ignorance() {
    let mut world = World::new(3);
    world.run(120, 20);
    world.run(400, 0);
    assert_eq!((1, Reason::Minimum), (world.desired(), world.signal.groups[0].reason));
    assert!(world.signal.is_active);
    world.run(600, 0);
    assert_eq!((0, Reason::Idle), (world.desired(), world.signal.groups[0].reason));
    assert!(!world.signal.is_active);
    world.replicas.clear();
    world.run(1, 0);
    let read = world.signal.read(world.now_s * 1_000, Metric::DesiredReplicas, |_| true);
    assert!(matches!(read, Err(Unavailable::Insufficient { .. })), "{read:?}");
}

/// The same requests through one or eight EPP replicas are the same demand, and gauges of the pool count once.
#[test]
fn number_of_replicas_changes_nothing() {
    let (mut one, mut eight) = (World::new(2), World::new(2));
    eight.replicas = (1..=8).map(replica).collect();
    for requests in [4, 40, 12] {
        one.run(200, requests);
        eight.run(200, requests);
        assert_eq!(one.signal, eight.signal);
    }
}

/// What a replica counted before its owner knew it is not demand of now, nor is what it counts again from zero.
#[test]
fn counters_that_jump_or_restart_are_no_demand() {
    let mut world = World::new(2);
    world.run(120, 8);
    let before = world.desired();
    let mut old = replica(2);
    old.arrivals.as_mut().unwrap().prefill_tokens = 1 << 40;
    world.replicas.push(old);
    world.run(10, 8);
    world.replicas[0].arrivals = Some(Default::default());
    world.run(60, 8);
    assert_eq!(before, world.desired());
}

/// Demand that is refused is demand.
#[test]
fn shedding_hides_no_demand() {
    let mut world = World::new(1);
    world.run(120, 4);
    for _ in 0..60 {
        world.run(1, 32);
        let arrivals = world.replicas[0].arrivals.as_mut().unwrap();
        arrivals.refused += 26;
    }
    assert!(world.desired() >= 5, "{}", world.desired());
    assert!(world.signal.shed_milli > 500, "{}", world.signal.shed_milli);
}

/// While a part of the pods or a replica is not heard, the number rises but does not fall.
#[test]
fn partial_knowledge_never_lowers_the_number() {
    let mut world = World::new(6);
    world.run(400, 40);
    let before = world.desired();
    world.pods[0].state = PodState::Stale;
    world.run(900, 1);
    assert_eq!((before, Reason::HeldPartial), (world.desired(), world.signal.groups[0].reason));
    world.pods[0].state = PodState::Ready;
    world.replicas.push(crate::EppReplica { is_heard: false, ..replica(2) });
    world.run(900, 1);
    assert_eq!((before, Certainty::Partial), (world.desired(), world.signal.certainty));
    world.replicas.pop();
    world.run(400, 1);
    assert_eq!(1, world.desired());
}

/// A new owner goes on from what was published last, and lowers it only by what it has seen itself.
#[test]
fn change_of_owner_makes_no_dip() {
    let mut world = World::new(6);
    world.run(400, 40);
    let last = world.signal.clone();
    let mut successor = World::new(6);
    successor.replicas = world.replicas.clone();
    successor.assessor.inherit(&last);
    for _ in 0..290 {
        successor.run(1, 2);
        assert_eq!(world.desired(), successor.desired());
    }
    assert_eq!(Reason::HeldTakeover, successor.signal.groups[0].reason);
    successor.run(60, 2);
    assert_eq!(1, successor.desired());
}

/// Without any history, what serves is what is wanted, until more is known.
#[test]
fn first_owner_removes_nothing_at_once() {
    let mut world = World::new(2);
    world.run(5, 0);
    world.set_pods(5);
    world.run(100, 0);
    assert_eq!(5, world.desired());
}

/// A request that waits for the first pod wakes a pool whatever else is not known.
#[test]
fn waiting_request_wakes_an_empty_pool() {
    let mut world = World::new(0);
    world.run(700, 0);
    assert_eq!((0, false), (world.desired(), world.signal.awaits_first_pod));
    world.queue = Queue { requests: 1, tokens: 1_000, oldest_ms: 10 };
    world.run(1, 0);
    assert_eq!((1, true, true), (world.desired(), world.signal.awaits_first_pod, world.signal.is_active));
}

/// A pool goes to zero only on evidence from all replicas for the whole time.
#[test]
fn zero_needs_all_replicas() {
    let mut world = World::new(1);
    world.replicas = vec![replica(1), replica(2)];
    world.run(500, 0);
    world.replicas[1].is_heard = false;
    world.run(1, 0);
    world.replicas[1].is_heard = true;
    world.run(590, 0);
    assert_eq!(1, world.desired());
    world.run(20, 0);
    assert_eq!(0, world.desired());
}

/// A replica that is not heard any more, and not known any more after a while, may still send requests. The pods count them.
#[test]
fn zero_needs_pods_that_serve_nothing() {
    let mut world = World::new(1);
    world.replicas = vec![replica(1), replica(2)];
    world.run(100, 1);
    world.replicas.pop();
    for _ in 0..20 {
        world.run(500, 0);
        world.pods[0].served.requests += 1;
    }
    world.run(590, 0);
    assert_eq!((1, true), (world.desired(), world.signal.is_active));
    world.pods[0].served.output_tokens += 1;
    world.run(590, 0);
    assert_eq!((1, true), (world.desired(), world.signal.is_active));
    // An engine that restarts has served nothing.
    world.pods[0].served = ServedCounts::default();
    world.run(20, 0);
    assert_eq!((0, false), (world.desired(), world.signal.is_active));
}

#[test]
fn zero_needs_all_pods() {
    let mut world = World::new(20);
    world.run(500, 0);
    world.pods[0].state = PodState::Stale;
    world.run(1, 0);
    assert_eq!(Certainty::Complete, world.signal.certainty);
    world.pods[0].state = PodState::Ready;
    world.run(590, 0);
    assert_eq!((1, true), (world.desired(), world.signal.is_active));
    world.run(20, 0);
    assert_eq!((0, false), (world.desired(), world.signal.is_active));
}

/// A backlog that stays although all pods are there shows that they can do less than was measured.
#[test]
fn backlog_that_stays_asks_for_more() {
    let mut world = World::new(2);
    world.run(300, 8);
    assert_eq!(2, world.desired());
    world.pods.iter_mut().for_each(|pod| pod.prefill_in_flight = 80_000);
    for _ in 0..240 {
        world.run(1, 8);
        if world.desired() > 2 {
            break;
        }
    }
    assert_eq!((3, Reason::Backlog), (world.desired(), world.signal.groups[0].reason));
}

#[test]
fn full_kv_caches_ask_for_more() {
    let mut world = World::new(2);
    world.run(100, 1);
    world.pods.iter_mut().for_each(|pod| pod.kv_used_tokens = Some(490_000));
    world.run(10, 1);
    assert_eq!((3, Reason::KvCache), (world.desired(), world.signal.groups[0].reason));
}

/// A pool that has been at zero for long is not woken because its owner changes.
#[test]
fn pool_at_zero_stays_there_when_its_owner_changes() {
    let mut world = World::new(0);
    world.run(700, 0);
    assert_eq!((0, false), (world.desired(), world.signal.is_active));
    let before = world.signal.clone();
    world.assessor = SignalAssessor::new(SignalSettings::default());
    world.assessor.inherit(&before);
    // The new owner has yet to hear of the replicas.
    let replicas = std::mem::take(&mut world.replicas);
    world.assess();
    assert_eq!((0, false), (world.desired(), world.signal.is_active));
    world.replicas = replicas;
    for _ in 0..120 {
        world.run(1, 0);
        assert_eq!((0, false), (world.desired(), world.signal.is_active));
    }
    world.run(1, 1);
    assert_eq!((1, true), (world.desired(), world.signal.is_active));
}

/// Caches that are full because prompts wait are no need of their own: with the replicas that the rate needs, they empty.
#[test]
fn caches_that_a_backlog_fills_ask_for_no_more() {
    let mut world = World::new(2);
    world.run(100, 8);
    let before = world.desired();
    for pod in &mut world.pods {
        (pod.kv_used_tokens, pod.prefill_in_flight) = (Some(490_000), 80_000);
    }
    world.run(10, 8);
    assert_eq!(before, world.desired());
    world.pods.iter_mut().for_each(|pod| pod.prefill_in_flight = 0);
    world.run(1, 8);
    assert_eq!(Reason::KvCache, world.signal.groups[0].reason);
}

/// An owner that begins while prompts wait asks for the caches that running requests fill.
#[test]
fn need_of_caches_is_known_to_an_owner_that_begins_during_a_backlog() {
    let mut world = World::new(2);
    for pod in &mut world.pods {
        (pod.kv_used_tokens, pod.prefill_in_flight) = (Some(490_000), 80_000);
    }
    world.run(1, 1);
    assert_eq!((3, Reason::KvCache), (world.desired(), world.signal.groups[0].reason));
}

/// A pool that is short of room in its caches, not of speed, asks for room for what waits, too, and again when that was not
/// enough. A queue that is being worked off asks for none.
#[test]
fn requests_that_wait_for_room_in_caches_ask_for_more() {
    let mut world = World::new(10);
    world.pods.iter_mut().for_each(|pod| pod.kv_used_tokens = Some(200_000));
    world.run(400, 8);
    world.pods.iter_mut().for_each(|pod| pod.kv_used_tokens = Some(400_000));
    for requests in (0..90).map(|second| 1_000 - 5 * second) {
        world.queue = Queue { requests, tokens: requests * 1_000, oldest_ms: 60_000 };
        world.run(1, 8);
        assert!(world.desired() <= 10, "{}", world.desired());
    }
    world.run(30, 8);
    assert_eq!((11, Reason::KvCache), (world.desired(), world.signal.groups[0].reason));
    world.pods.push(crate::Pod { kv_used_tokens: Some(400_000), ..pod(11) });
    world.run(32, 8);
    assert_eq!((12, Reason::KvCache), (world.desired(), world.signal.groups[0].reason));
}
