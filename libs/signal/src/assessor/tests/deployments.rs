//! Pools with roles, and with several Deployments.

use super::world::{SPEED, World, pod};
use crate::group::{Group, Role};
use crate::observation::{Pod, PodSpeed};
use crate::signal::{GroupSignal, Signal};

fn of<'a>(world: &'a World, group: &Group) -> &'a GroupSignal {
    world.signal.groups.iter().find(|signal| signal.group == *group).expect("the group is known")
}

fn deployment(name: &str) -> Group {
    Group { role: Role::Both, deployment: name.into() }
}

#[test]
fn roles_are_sized_by_their_own_load() {
    let mut world = World::new(0);
    let (prefill, decode) = (Group::of_role(Role::Prefill), Group::of_role(Role::Decode));
    world.pods = vec![
        Pod { group: prefill.clone(), ..pod(1) },
        Pod { group: decode.clone(), kv_used_tokens: Some(450_000), ..pod(2) },
    ];
    world.run(200, 32);
    assert_eq!((8, 2), (of(&world, &prefill).desired, of(&world, &decode).desired));
    assert_eq!(0, of(&world, &decode).demand.prefill);
}

#[test]
fn cheapest_deployment_grows() {
    let mut world = World::new(0);
    let (cheap, dear) = (deployment("l4"), deployment("h100"));
    let fast = PodSpeed { prefill_tokens_per_second: 16_000.0, ..SPEED };
    world.pods = vec![
        Pod { group: cheap.clone(), cost: 1.0, ..pod(1) },
        Pod { group: dear.clone(), cost: 4.0, speed: Some(fast), ..pod(2) },
    ];
    world.run(150, 32);
    // The dear one keeps its pod until cheap ones serve.
    assert_eq!((8, 1), (of(&world, &cheap).desired, of(&world, &dear).desired));
    for key in 3..10 {
        world.pods.push(Pod { group: cheap.clone(), cost: 1.0, ..pod(key) });
    }
    world.run(400, 32);
    assert_eq!((8, 0), (of(&world, &cheap).desired, of(&world, &dear).desired));
}

#[test]
fn deployment_that_gets_no_more_pods_leaves_them_to_the_next() {
    let mut world = World::new(0);
    let (cheap, dear) = (deployment("l4"), deployment("h100"));
    world.pods = vec![
        Pod { group: cheap.clone(), cost: 1.0, ..pod(1) },
        Pod { group: dear.clone(), cost: 4.0, ..pod(2) },
    ];
    world.run(150, 32);
    assert_eq!(1, of(&world, &dear).desired);
    world.run(200, 32);
    assert_eq!(7, of(&world, &dear).desired);
}

fn groups(world: &World) -> Vec<Group> {
    world.signal.groups.iter().map(|signal| signal.group.clone()).collect()
}

#[test]
fn pods_that_get_labels_leave_no_group_behind() {
    for labelled in [deployment("l4"), Group::of_role(Role::Decode)] {
        let mut world = World::new(2);
        world.run(120, 8);
        let (before, unlabelled) = (world.signal.clone(), world.pods.clone());
        world.pods.iter_mut().for_each(|pod| pod.group = labelled.clone());
        world.run(200, 8);
        assert_eq!(2, groups(&world).len(), "pods may come back");
        world.run(101, 8);
        assert_eq!(vec![labelled.clone()], groups(&world));
        // The next owner finds the old signal.
        let mut later = World { pods: world.pods.clone(), ..World::new(0) };
        later.assessor.inherit(&before);
        later.run(302, 8);
        assert_eq!(vec![labelled], groups(&later));
        world.pods = unlabelled;
        world.run(1, 8);
        assert!(groups(&world).contains(&Group::default()));
    }
}

#[test]
fn deployment_that_is_deleted_is_asked_a_few_times_and_one_that_is_scaled_to_zero_stays() {
    let mut world = World::new(0);
    let (cheap, dear) = (deployment("l4"), deployment("h100"));
    let dear_pods: Vec<_> = (1..=4).map(|key| Pod { group: dear.clone(), cost: 4.0, ..pod(key) }).collect();
    world.pods = dear_pods.clone();
    world.pods.push(Pod { group: cheap.clone(), ..pod(9) });
    world.run(120, 8);
    world.pods = dear_pods;
    world.run(600, 8);
    assert_eq!(vec![dear.clone(), cheap.clone()], groups(&world), "it is asked again");
    world.run(1_800, 8);
    assert_eq!(vec![dear.clone()], groups(&world));
    world.pods = (1..=7).map(|key| Pod { group: cheap.clone(), ..pod(key) }).collect();
    world.run(20_000, 8);
    assert_eq!(0, of(&world, &dear).desired);
}

#[test]
fn signal_has_no_more_groups_than_it_can_carry() {
    let mut world = World::new(0);
    for round in 0..3 {
        for key in 0..50 {
            world.pods =
                vec![Pod { group: deployment(&format!("{round}-{key}")), ..pod(1_000 * round + key) }];
            world.run(1, 1);
        }
        assert!(groups(&world).len() <= Signal::MAX_GROUPS);
        assert!(groups(&world).contains(&world.pods[0].group), "those with pods come first");
    }
    let mut later = World::new(1);
    for at in 0..70 {
        let group = GroupSignal { group: deployment(&at.to_string()), desired: 1, ..GroupSignal::default() };
        later.assessor.inherit(&Signal { groups: vec![group], ..Signal::default() });
    }
    later.run(1, 1);
    assert_eq!(Signal::MAX_GROUPS, groups(&later).len());
}
