//! Properties of the simulation: no request or booking is lost, and runs are reproducible.

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_modelsim::ModelConfig;
use signalbox_types::Load;
use signalbox_workload::generate::{Burst, SharedPrefix, burst, shared_prefix};

use super::{Kill, KillTarget, RunConfig, RunResult, run};
use crate::policy::{Algorithm, BenchPolicy, Visibility, compared_policies};
use crate::routing::{Profile, Workload};

fn workload(seed: u64, profile: Profile) -> Workload {
    let mut rng = SmallRng::seed_from_u64(seed);
    let items = match profile {
        Profile::Burst => burst(&Burst { bursts: 6, ..Burst::default() }, &mut rng),
        _ => shared_prefix(&SharedPrefix { groups: 20, ..SharedPrefix::default() }, &mut rng),
    };
    Workload::new(profile, 4, &items).unwrap()
}

fn simulate(workload: &Workload, policy: &BenchPolicy, replicas: usize, speed: f64, seed: u64) -> RunResult {
    let Workload { requests, pods, .. } = workload;
    run(RunConfig { requests, speed, pods, policy, replicas, kills: &[], seed })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn requests_respect_the_bounds_and_leave_no_booking(
        seed in any::<u64>(),
        which in 0..7_usize,
        replicas in 1..5_usize,
        speed in 0.5..20.0_f64,
        bursty in any::<bool>(),
    ) {
        let profile = if bursty { Profile::Burst } else { Profile::SharedPrefix };
        let workload = workload(seed, profile);
        let run_result = simulate(&workload, &compared_policies()[which], replicas, speed, seed);
        prop_assert_eq!(run_result.finished, workload.requests.len());
        prop_assert_eq!(run_result.remaining_load, Load::ZERO);
        for ((served, request), bound) in run_result.served.iter().zip(&workload.requests).zip(&workload.lower_bounds) {
            prop_assert!(served.ttft_us >= bound.ttft_us && served.cached_tokens <= bound.cached_tokens);
            prop_assert!(served.e2e_us >= served.ttft_us && served.cached_tokens < request.prompt.tokens);
        }
    }

    #[test]
    fn kills_lose_no_request_and_leave_no_booking(seed in any::<u64>(), at_percent in 5..90_u64, kills_owner in any::<bool>()) {
        let workload = workload(seed, Profile::SharedPrefix);
        let signalbox = compared_policies().pop().unwrap();
        let Workload { requests, pods, .. } = &workload;
        let target = if kills_owner { KillTarget::Owner } else { KillTarget::Replica(1) };
        let duration_us = requests.last().unwrap().at_us / 2;
        let kill = Kill { at_us: duration_us * at_percent / 100, target, restarts_after_us: 2_000_000 };
        let run_result = run(RunConfig { requests, speed: 2.0, pods, policy: &signalbox, replicas: 3, kills: &[kill], seed });
        prop_assert_eq!(run_result.finished, requests.len());
        prop_assert_eq!(run_result.remaining_load, Load::ZERO);
    }

    #[test]
    fn same_seed_gives_the_same_run(seed in any::<u64>(), which in 0..7_usize, replicas in 1..5_usize) {
        let workload = workload(seed, Profile::SharedPrefix);
        let repeat = || simulate(&workload, &compared_policies()[which], replicas, 8.0, seed);
        prop_assert_eq!(repeat(), repeat());
    }
}

#[test]
fn lone_request_takes_as_long_as_its_lower_bound() {
    let mut workload = workload(1, Profile::SharedPrefix);
    workload.requests.truncate(1);
    let run_result = simulate(&workload, &compared_policies()[0], 1, 1.0, 1);
    // Each pass is rounded up to a whole microsecond.
    let over_us = run_result.served[0].ttft_us - workload.lower_bounds[0].ttft_us;
    assert!(over_us <= 4, "{over_us}");
}

#[test]
fn weighted_round_robin_gives_each_pod_its_share() {
    let workload = workload(1, Profile::SharedPrefix);
    let algorithm = Algorithm::WeightedRoundRobin(vec![3.0, 1.0, 1.0, 0.0]);
    let policy = BenchPolicy { name: "weighted".to_owned(), visibility: Visibility::Own, algorithm };
    let run_result = simulate(&workload, &policy, 1, 1.0, 1);
    let count = |pod| run_result.served.iter().filter(|served| served.pod == pod).count();
    assert_eq!([60, 20, 20, 0], [count(0), count(1), count(2), count(3)]);
}

#[test]
fn replicas_with_shared_state_hit_the_cache_more_often() {
    let workload = workload(3, Profile::SharedPrefix);
    let policies = compared_policies();
    let cached = |name: &str| {
        let policy = policies.iter().find(|policy| policy.name == name).unwrap();
        let run_result = simulate(&workload, policy, 4, 2.0, 3);
        run_result.served.iter().map(|served| u64::from(served.cached_tokens)).sum::<u64>()
    };
    assert!(cached("signalbox") > cached("go-default"));
}

#[test]
fn pods_are_sorted_by_key() {
    let models =
        [ModelConfig::default(), ModelConfig { prefill_tokens_per_second: 1, ..ModelConfig::default() }];
    let (pods, spec) = super::pods::create_pods(&models);
    assert_eq!((2, 2), (pods.len(), spec.endpoints.len()));
    assert!(pods.is_sorted_by_key(|pod| pod.key));
}
