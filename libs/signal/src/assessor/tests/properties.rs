//! What holds whatever happens.

use proptest::prelude::*;

use super::world::{World, replica};
use crate::observation::PodState;

/// What happens in one step of ten seconds.
#[derive(Clone, Debug)]
struct Step {
    requests: u64,
    pods: u64,
    stale: usize,
    replicas: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..40_u64, 0..8_u64, 0..4_usize, 1..4_usize)
        .prop_map(|(requests, pods, stale, replicas)| Step { requests, pods, stale, replicas });
    prop::collection::vec(step, 1..40)
}

fn apply(world: &mut World, step: &Step) {
    world.set_pods(step.pods);
    world.pods.iter_mut().take(step.stale).for_each(|pod| pod.state = PodState::Stale);
    while world.replicas.len() < step.replicas {
        world.replicas.push(replica(100 + world.now_s + world.replicas.len() as u64));
    }
    world.replicas.truncate(step.replicas);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The number falls only when all is known, and only to what the load of the whole window before allowed.
    #[test]
    fn number_falls_only_on_full_knowledge(steps in steps()) {
        let mut world = World::new(1);
        for step in &steps {
            apply(&mut world, step);
            for _ in 0..10 {
                let before = world.desired();
                world.run(1, step.requests);
                let fell = world.desired() < before;
                prop_assert!(!fell || world.signal.certainty == crate::Certainty::Complete);
            }
        }
    }

    /// On a steady load the number never goes up again once it went down.
    #[test]
    fn steady_load_never_flaps(requests in 1..60_u64, pods in 1..10_u64) {
        let mut world = World::new(pods);
        let mut last = (0, false);
        for _ in 0..90 {
            world.run(20, requests);
            let desired = world.desired();
            prop_assert!(!(last.1 && desired > last.0), "{} after {}", desired, last.0);
            last = (desired, last.1 || (last.0 > desired));
            world.set_pods(desired.into());
        }
    }

    /// What is desired can carry the load.
    #[test]
    fn desired_pods_carry_the_load(requests in 1..80_u64) {
        let mut world = World::new(1);
        world.run(200, requests);
        prop_assert!(f64::from(world.desired()) * 8.0 >= requests as f64);
        prop_assert!(f64::from(world.desired()) <= requests as f64 / 8.0 / 0.75 + 2.0 + (requests as f64 / 8.0).sqrt());
    }
}
