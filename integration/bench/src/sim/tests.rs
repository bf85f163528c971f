//! Properties of the simulation: no request or booking is lost, and runs are reproducible.

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_flow::FlowSettings;
use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::profiles::{self, Profile};
use signalbox_types::Load;
use signalbox_workload::arrivals::one_burst;
use signalbox_workload::generate::{SharedPrefix, shared_prefix};

use super::flow::{Control, FlowRun, Sender};
use super::{Kill, KillTarget, RunConfig, RunResult, run};
use crate::policies::{Algorithm, Contender, Visibility, contenders, signalbox};
use crate::routing::Workload;

/// How the requests of [`workload`] arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrivals {
    Poisson,
    OneBurst,
}

/// Returns the machines of [`workload`]. Their passes are short, so that prompts take several.
fn machines() -> Vec<&'static Profile> {
    vec![profiles::find("l40s-8b").unwrap(); 4]
}

/// Returns a workload that is small enough for a debug build.
fn workload(seed: u64, arrivals: Arrivals) -> Workload {
    let shape = SharedPrefix {
        groups: 20,
        prompts_per_group: 5,
        shared_tokens: 1_500,
        unique_tokens: 700,
        ..SharedPrefix::default()
    };
    let mut items = shared_prefix(&shape, &mut SmallRng::seed_from_u64(seed));
    if arrivals == Arrivals::OneBurst {
        one_burst(&mut items);
    }
    Workload::new(&machines(), &items).unwrap()
}

/// Returns all contenders, Signalbox last.
fn all_contenders() -> Vec<Contender> {
    contenders(&machines())
}

fn simulate(workload: &Workload, contender: &Contender, replicas: usize, speed: f64, seed: u64) -> RunResult {
    let Workload { requests, pods, .. } = workload;
    run(RunConfig { requests, speed, pods, contender, replicas, kills: &[], seed, flow: None })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn requests_respect_the_bounds_and_leave_no_booking(
        seed in any::<u64>(),
        which in 0..12_usize,
        replicas in 1..5_usize,
        speed in 0.5..20.0_f64,
        bursty in any::<bool>(),
    ) {
        let workload = workload(seed, if bursty { Arrivals::OneBurst } else { Arrivals::Poisson });
        let run_result = simulate(&workload, &all_contenders()[which], replicas, speed, seed);
        prop_assert_eq!(run_result.finished, workload.requests.len());
        prop_assert_eq!(run_result.remaining_load, Load::ZERO);
        for ((served, request), bound) in run_result.served.iter().zip(&workload.requests).zip(&workload.lower_bounds) {
            prop_assert!(
                served.ttft_us >= bound.ttft_us && served.cached_tokens <= bound.cached_tokens,
                "{served:?} {bound:?}"
            );
            prop_assert!(served.e2e_us >= served.ttft_us && served.cached_tokens < request.prompt.tokens);
        }
    }

    #[test]
    fn kills_lose_no_request_and_leave_no_booking(seed in any::<u64>(), at_percent in 5..90_u64, kills_owner in any::<bool>()) {
        let workload = workload(seed, Arrivals::Poisson);
        let signalbox = signalbox(Visibility::Pool);
        let Workload { requests, pods, .. } = &workload;
        let target = if kills_owner { KillTarget::Owner } else { KillTarget::Replica(1) };
        let duration_us = requests.last().unwrap().at_us / 2;
        let kill = Kill { at_us: duration_us * at_percent / 100, target, restarts_after_us: 2_000_000 };
        let run_result = run(RunConfig { requests, speed: 2.0, pods, contender: &signalbox, replicas: 3, kills: &[kill], seed, flow: None });
        prop_assert_eq!(run_result.finished, requests.len());
        prop_assert_eq!(run_result.remaining_load, Load::ZERO);
    }

    #[test]
    fn same_seed_gives_the_same_run(seed in any::<u64>(), which in 0..12_usize, replicas in 1..5_usize) {
        let workload = workload(seed, Arrivals::Poisson);
        let contenders = all_contenders();
        let repeat = || simulate(&workload, &contenders[which], replicas, 8.0, seed);
        prop_assert_eq!(repeat(), repeat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Also while the owner is gone. With Go, the bookings do not tell: each replica has an owner of its own.
    #[test]
    fn requests_that_wait_are_served_once_and_leave_no_booking(
        seed in any::<u64>(),
        is_go in any::<bool>(),
        replicas in 1..5_usize,
        kills_owner in any::<bool>(),
    ) {
        let Workload { requests, pods, .. } = workload(seed, Arrivals::OneBurst);
        let sender = |number: usize| Sender {
            priority: [10, 0, -10][number % 3],
            tenant: format!("tenant-{}", number % 4).into(),
            entry: number.is_multiple_of(2).then_some(number % 4),
        };
        let senders: Vec<_> = (0..requests.len()).map(sender).collect();
        let settings = FlowSettings { sheddable_wait_ms: 600_000, request_ttl_ms: None, ..FlowSettings::default() };
        let control = if is_go { Control::Go } else { Control::Signalbox(settings.into()) };
        let contender =
            if is_go { all_contenders().into_iter().find(|one| one.name == "go-default").unwrap() } else { signalbox(Visibility::Pool) };
        let kill = Kill { at_us: 500_000, target: KillTarget::Owner, restarts_after_us: 2_000_000 };
        let kills = if kills_owner && !is_go { vec![kill] } else { Vec::new() };
        let flow = FlowRun { senders: &senders, control: &control, until_us: None };
        let run_result = run(RunConfig {
            requests: &requests, speed: 1.0, pods: &pods, contender: &contender, replicas, kills: &kills, seed, flow: Some(flow),
        });
        prop_assert_eq!(run_result.finished, requests.len());
        prop_assert_eq!(run_result.remaining_load, Load::ZERO);
        prop_assert_eq!((0, 0), (run_result.flow.dropped, run_result.flow.sent_again));
        let waited = run_result.flow.waited_us.iter().flatten().filter(|us| **us > 0).count();
        // The Go EPP learns of a burst from the next scrape, after it has let all of it go.
        prop_assert!(is_go || waited > 0, "the burst fills the pool");
    }
}

#[test]
fn lone_request_takes_as_long_as_its_lower_bound() {
    let mut workload = workload(1, Arrivals::Poisson);
    workload.requests.truncate(1);
    let run_result = simulate(&workload, &all_contenders()[0], 1, 1.0, 1);
    let over_us = run_result.served[0].ttft_us - workload.lower_bounds[0].ttft_us;
    // The last pass may compute less than reading the weights takes.
    assert!(over_us <= workload.pods[0].pass_weights_us, "{over_us}");
}

#[test]
fn weighted_round_robin_gives_each_pod_its_share() {
    let workload = workload(1, Arrivals::Poisson);
    let algorithm = Algorithm::WeightedRoundRobin(vec![3.0, 1.0, 1.0, 0.0]);
    let contender = Contender { name: "weighted".to_owned(), visibility: Visibility::Own, algorithm };
    let run_result = simulate(&workload, &contender, 1, 1.0, 1);
    let count = |pod| run_result.served.iter().filter(|served| served.pod == pod).count();
    assert_eq!([60, 20, 20, 0], [count(0), count(1), count(2), count(3)]);
}

#[test]
fn contenders_that_follow_prefixes_hit_the_cache_more_often_than_by_chance() {
    let workload = workload(3, Arrivals::Poisson);
    let cached = |contender: &Contender| {
        let run_result = simulate(&workload, contender, 1, 1.0, 3);
        run_result.served.iter().map(|served| u64::from(served.cached_tokens)).sum::<u64>()
    };
    let contenders = all_contenders();
    let by_chance = cached(&contenders[0]);
    let follows = |contender: &&Contender| {
        ["smg", "dynamo", "go", "signalbox"].iter().any(|name| contender.name.starts_with(name))
    };
    let followers: Vec<_> = contenders.iter().filter(follows).collect();
    assert_eq!(8, followers.len());
    for contender in followers {
        assert!(cached(contender) > by_chance, "{}: {} {by_chance}", contender.name, cached(contender));
    }
}

#[test]
fn replicas_with_shared_state_hit_the_cache_more_often() {
    let workload = workload(3, Arrivals::Poisson);
    let contenders = all_contenders();
    let cached = |name: &str| {
        let contender = contenders.iter().find(|contender| contender.name == name).unwrap();
        let run_result = simulate(&workload, contender, 4, 2.0, 3);
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
