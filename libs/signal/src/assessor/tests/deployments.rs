//! Pools with roles, and with several Deployments.

use super::world::{SPEED, World, pod};
use crate::group::{Group, Role};
use crate::observation::{Pod, PodSpeed};
use crate::signal::GroupSignal;

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
    assert_eq!((7, 2), (of(&world, &prefill).desired, of(&world, &decode).desired));
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
    assert_eq!((7, 1), (of(&world, &cheap).desired, of(&world, &dear).desired));
    for key in 3..9 {
        world.pods.push(Pod { group: cheap.clone(), cost: 1.0, ..pod(key) });
    }
    world.run(400, 32);
    assert_eq!((7, 0), (of(&world, &cheap).desired, of(&world, &dear).desired));
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
    assert_eq!(6, of(&world, &dear).desired);
}
