//! Pools of which nobody knows how fast their pods are.

use super::world::{World, pod};
use crate::group::{Group, Role};
use crate::metric::Metric;
use crate::observation::{Pod, PodState};
use crate::reading::Unavailable;
use crate::signal::{GroupSignal, Queue, Reason};

const WAITING: Queue = Queue { requests: 1_725, tokens: 400_000, oldest_ms: 60_000 };

/// For how long an overload lasts before a pod is asked for, in seconds; in the first of them, it begins.
const DUE_S: u64 = 11;

fn unmeasured(key: u64) -> Pod {
    Pod { speed: None, ..pod(key) }
}

fn world(pods: u64) -> World {
    let mut world = World::new(0);
    world.pods = (1..=pods).map(unmeasured).collect();
    world.run(400, 20);
    assert_eq!((pods as u32, Reason::Unmeasured), (world.desired(), reason(&world)));
    world
}

fn reason(world: &World) -> Reason {
    world.signal.groups[0].reason
}

fn of<'a>(world: &'a World, group: &Group) -> &'a GroupSignal {
    world.signal.groups.iter().find(|signal| signal.group == *group).expect("the group is known")
}

#[test]
fn pod_is_added_while_requests_wait() {
    let mut world = world(1);
    world.queue = WAITING;
    world.run(DUE_S - 1, 20);
    assert_eq!(1, world.desired(), "a queue of some seconds is no overload");
    world.run(1, 20);
    assert_eq!((2, Reason::Unmeasured), (world.desired(), reason(&world)));
}

#[test]
fn pod_is_added_while_pods_are_full() {
    let mut world = world(2);
    world.pods[0].saturation = 1.0;
    world.run(60, 20);
    assert_eq!(2, world.desired(), "the other has room");
    world.pods[1].saturation = 1.0;
    world.run(DUE_S, 20);
    assert_eq!(3, world.desired());
}

#[test]
fn overload_that_stops_now_and_then_adds_nothing() {
    let mut world = world(1);
    for _ in 0..20 {
        world.queue = WAITING;
        world.run(DUE_S - 1, 20);
        world.queue = Queue::default();
        world.run(1, 20);
    }
    assert_eq!(1, world.desired());
}

/// However long a pod boots, it is not asked for twice, nor given up while requests wait.
#[test]
fn next_pod_is_asked_for_when_the_last_one_serves() {
    let mut world = world(1);
    world.queue = WAITING;
    for second in 0..1_200 {
        world.run(1, 20);
        assert!(world.desired() <= 2 && (second < DUE_S || world.desired() == 2), "{second}");
    }
    world.pods.push(Pod { state: PodState::Warming, ..unmeasured(2) });
    world.run(DUE_S - 1, 20);
    assert_eq!(2, world.desired(), "what the new pod can do shows only now");
    world.run(1, 20);
    assert_eq!(3, world.desired());
    world.queue = Queue::default();
    world.run(700, 20);
    assert_eq!(2, world.desired(), "as many as there are");
}

#[test]
fn failed_pods_do_not_keep_others_from_being_added_and_are_not_added_without_end() {
    let mut world = world(1);
    world.queue = WAITING;
    world.run(DUE_S, 20);
    for key in 2..20 {
        world.pods.push(Pod { state: PodState::Failed, ..unmeasured(key) });
        world.run(60, 20);
        assert_eq!(3, world.desired(), "one for the overload, and one in place of the failed ones");
    }
}

#[test]
fn partial_knowledge_adds_pods_and_removes_none() {
    let mut world = world(1);
    world.pods.push(unmeasured(2));
    world.run(10, 20);
    world.pods[1].state = PodState::Stale;
    world.queue = WAITING;
    world.run(DUE_S, 20);
    assert_eq!(3, world.desired());
    world.queue = Queue::default();
    world.run(900, 20);
    assert_eq!((3, Reason::HeldPartial), (world.desired(), reason(&world)));
}

#[test]
fn empty_pool_waits_for_its_first_pod() {
    let mut world = World::new(0);
    world.queue = WAITING;
    world.run(300, 20);
    assert_eq!(1, world.desired());
}

#[test]
fn pods_that_all_restart_are_not_given_up_while_requests_wait() {
    let mut world = world(3);
    world.pods.clear();
    world.queue = WAITING;
    world.run(1_200, 20);
    assert_eq!(3, world.desired());
}

#[test]
fn queue_adds_pods_of_the_role_that_is_fuller() {
    let mut world = World::new(0);
    let (prefill, decode) = (Group::of_role(Role::Prefill), Group::of_role(Role::Decode));
    world.pods = vec![
        Pod { group: prefill.clone(), saturation: 0.3, ..unmeasured(1) },
        Pod { group: decode.clone(), saturation: 0.9, ..unmeasured(2) },
    ];
    world.queue = WAITING;
    world.run(60, 20);
    assert_eq!((1, 2), (of(&world, &prefill).desired, of(&world, &decode).desired));
}

#[test]
fn cheapest_deployment_that_gets_pods_grows() {
    let mut world = World::new(0);
    let group = |name: &str| Group { role: Role::Both, deployment: name.into() };
    let (cheap, dear) = (group("l4"), group("h100"));
    world.pods = vec![
        Pod { group: dear.clone(), cost: 4.0, ..unmeasured(1) },
        Pod { group: cheap.clone(), ..unmeasured(2) },
    ];
    world.queue = WAITING;
    world.run(DUE_S, 20);
    assert_eq!((2, 1), (of(&world, &cheap).desired, of(&world, &dear).desired));
    world.run(170, 20);
    assert_eq!(1, of(&world, &dear).desired);
    world.run(30, 20);
    assert_eq!(2, of(&world, &dear).desired, "the cheap one got no pod for three minutes");
}

#[test]
fn measured_speed_decides_once_it_is_known() {
    let mut world = world(1);
    world.queue = WAITING;
    world.run(DUE_S, 20);
    world.pods = vec![pod(1), pod(2)];
    world.queue = Queue::default();
    world.run(120, 40);
    assert!(world.desired() >= 5 && reason(&world) != Reason::Unmeasured, "{:?}", world.signal.groups);
}

#[test]
fn what_is_not_measured_is_no_number_and_arrivals_are_one() {
    let mut world = world(2);
    world.queue = WAITING;
    world.run(60, 20);
    let read = |world: &World, metric| world.signal.read(world.now_s * 1_000, metric, |_| true);
    for metric in [Metric::DemandReplicas, Metric::PrefillBacklog, Metric::KvDemandReplicas] {
        assert_eq!(Err(Unavailable::NotMeasured(metric)), read(&world, metric));
    }
    assert_eq!(Ok(20_000_000), read(&world, Metric::PrefillDemand));
    world.pods = vec![Pod { kv_used_tokens: None, ..pod(1) }];
    world.run(2, 20);
    let kv = Metric::KvDemandReplicas;
    assert!(read(&world, Metric::DemandReplicas).is_ok());
    assert_eq!(Err(Unavailable::NotMeasured(kv)), read(&world, kv), "the engine does not tell");
    world.pods = vec![pod(1)];
    world.run(2, 20);
    assert!(read(&world, kv).is_ok());
}
