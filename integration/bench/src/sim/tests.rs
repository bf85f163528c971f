//! A simulation loses nothing and can be had again.

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_modelsim::ModelConfig;
use signalbox_types::Load;
use signalbox_workload::generate::{Burst, SharedPrefix, burst, shared_prefix};

use super::{Blow, Ran, Setup, Victim, run};
use crate::policy::{Chooser, Contender, Sight, contenders};
use crate::routing::{Profile, Workload};

fn workload(seed: u64, profile: Profile) -> Workload {
    let mut rng = SmallRng::seed_from_u64(seed);
    let items = match profile {
        Profile::Burst => burst(&Burst { bursts: 6, ..Burst::default() }, &mut rng),
        _ => shared_prefix(&SharedPrefix { groups: 20, ..SharedPrefix::default() }, &mut rng),
    };
    Workload::new(profile, 4, &items).unwrap()
}

fn ran(workload: &Workload, contender: &Contender, replicas: usize, speed: f64, seed: u64) -> Ran {
    let Workload { requests, pods, .. } = workload;
    run(Setup { requests, speed, pods, contender, replicas, blows: &[], seed })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_request_ends_within_what_is_possible_and_leaves_no_booking(
        seed in any::<u64>(),
        which in 0..7_usize,
        replicas in 1..5_usize,
        speed in 0.5..20.0_f64,
        bursty in any::<bool>(),
    ) {
        let profile = if bursty { Profile::Burst } else { Profile::SharedPrefix };
        let workload = workload(seed, profile);
        let ran = ran(&workload, &contenders()[which], replicas, speed, seed);
        prop_assert_eq!(ran.finished, workload.requests.len());
        prop_assert_eq!(ran.left, Load::ZERO);
        for ((served, coming), bound) in ran.served.iter().zip(&workload.requests).zip(&workload.bounds) {
            prop_assert!(served.ttft_us >= bound.ttft_us && served.cached_tokens <= bound.cached_tokens);
            prop_assert!(served.whole_us >= served.ttft_us && served.cached_tokens < coming.prompt.tokens);
        }
    }

    #[test]
    fn kills_lose_no_request_and_leave_no_booking(seed in any::<u64>(), at_percent in 5..90_u64, of_owner in any::<bool>()) {
        let workload = workload(seed, Profile::SharedPrefix);
        let ours = contenders().pop().unwrap();
        let Workload { requests, pods, .. } = &workload;
        let victim = if of_owner { Victim::Owner } else { Victim::Replica(1) };
        let whole_us = requests.last().unwrap().at_us / 2;
        let blow = Blow { at_us: whole_us * at_percent / 100, victim, back_after_us: 2_000_000 };
        let ran = run(Setup { requests, speed: 2.0, pods, contender: &ours, replicas: 3, blows: &[blow], seed });
        prop_assert_eq!(ran.finished, requests.len());
        prop_assert_eq!(ran.left, Load::ZERO);
    }

    #[test]
    fn the_same_seed_gives_the_same_run(seed in any::<u64>(), which in 0..7_usize, replicas in 1..5_usize) {
        let workload = workload(seed, Profile::SharedPrefix);
        let again = || ran(&workload, &contenders()[which], replicas, 8.0, seed);
        prop_assert_eq!(again(), again());
    }
}

#[test]
fn a_lone_request_takes_what_the_bound_says() {
    let mut workload = workload(1, Profile::SharedPrefix);
    workload.requests.truncate(1);
    let ran = ran(&workload, &contenders()[0], 1, 1.0, 1);
    // Each pass is rounded up to a whole microsecond.
    let over_us = ran.served[0].ttft_us - workload.bounds[0].ttft_us;
    assert!(over_us <= 4, "{over_us}");
}

#[test]
fn a_split_gives_each_pod_its_share() {
    let workload = workload(1, Profile::SharedPrefix);
    let chooser = Chooser::Split(vec![3.0, 1.0, 1.0, 0.0]);
    let contender = Contender { name: "split".to_owned(), sight: Sight::Own, chooser };
    let ran = ran(&workload, &contender, 1, 1.0, 1);
    let count = |pod| ran.served.iter().filter(|served| served.pod == pod).count();
    assert_eq!([60, 20, 20, 0], [count(0), count(1), count(2), count(3)]);
}

#[test]
fn replicas_that_share_what_they_did_find_more_of_it_in_caches() {
    let workload = workload(3, Profile::SharedPrefix);
    let all = contenders();
    let cached = |name: &str| {
        let contender = all.iter().find(|contender| contender.name == name).unwrap();
        let ran = ran(&workload, contender, 4, 2.0, 3);
        ran.served.iter().map(|served| u64::from(served.cached_tokens)).sum::<u64>()
    };
    assert!(cached("ours") > cached("go-default"));
}

#[test]
fn pods_have_the_model_that_was_meant_for_them() {
    let pods =
        [ModelConfig::default(), ModelConfig { prefill_tokens_per_second: 1, ..ModelConfig::default() }];
    let (fleet, spec) = super::fleet::fleet(&pods);
    assert_eq!((2, 2), (fleet.len(), spec.endpoints.len()));
    assert!(fleet.is_sorted_by_key(|pod| pod.key));
}
