//! Properties of least-time decisions.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{Decision, DecisionInputs, EndpointCosts, LeastTime, Policy, Tier, decide, explain};
use signalbox_state::{EndpointState, LocalState, Observed, PrefixMatches, ScrapeStatus, View};
use signalbox_types::{Capacity, EndpointSpec, Engine, Gauges, Load, MetricsTls, Origin, Request};

const OWN_ORIGIN: Origin = Origin(1);

#[derive(Clone, Debug)]
struct Pod {
    scrape_status: ScrapeStatus,
    waiting: u32,
    running: u32,
    kv_used_ppm: Option<u32>,
    others: Load,
    own: Load,
    held_blocks: usize,
}

const IDLE: Pod = Pod {
    scrape_status: ScrapeStatus::Fresh,
    waiting: 0,
    running: 0,
    kv_used_ppm: Some(100_000),
    others: Load::ZERO,
    own: Load::ZERO,
    held_blocks: 0,
};

struct TestPool {
    view: View,
    local: LocalState,
    matches: PrefixMatches,
}

impl TestPool {
    fn inputs<'a>(&'a self, request: &'a Request) -> DecisionInputs<'a> {
        DecisionInputs { view: &self.view, local: &self.local, matches: &self.matches, request }
    }
}

fn endpoint(index: usize, pod: &Pod) -> Arc<EndpointState> {
    let address = format!("10.0.0.{}:8000", index + 1).parse().unwrap();
    let (name, metrics_url) = (format!("pod-{index}"), String::new());
    let spec = EndpointSpec {
        name,
        address,
        metrics_url,
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    };
    let mut endpoint = EndpointState::new(Arc::new(spec));
    let Pod { scrape_status, waiting, running, kv_used_ppm, .. } = *pod;
    let capacity = Some(Capacity { kv_tokens: 500_000 });
    let gauges = Gauges { waiting, running: Some(running), kv_used_ppm };
    endpoint.observed = Observed { scrape_status, gauges, capacity, ..Observed::default() };
    Arc::new(endpoint)
}

fn pool(pods: &[Pod]) -> TestPool {
    let mut view = View::default();
    view.endpoints = pods.iter().enumerate().map(|(at, pod)| endpoint(at, pod)).collect();
    let own = pods.iter().map(|pod| pod.own).collect();
    let local = LocalState {
        origin: OWN_ORIGIN,
        own,
        peers: pods.iter().map(|pod| pod.others).collect(),
        prefilling_ms: Vec::new(),
        adapter_sent_to: Default::default(),
        probed: Default::default(),
        unserved: Vec::new(),
    };
    TestPool {
        view,
        local,
        matches: PrefixMatches { blocks: pods.iter().map(|pod| pod.held_blocks).collect(), total: 100 },
    }
}

fn pick(pods: &[Pod], request: &Request, seed: u64) -> Option<usize> {
    let mut rng = SmallRng::seed_from_u64(seed);
    match decide(&pool(pods).inputs(request), &Policy::default(), &mut rng) {
        Decision::Picked { position, .. } => Some(position),
        Decision::NoEndpoint | Decision::Filtered => None,
    }
}

fn request(prompt_tokens: u64) -> Request {
    Request { model: "m".to_owned(), prompt_tokens, max_output_tokens: Some(64), ..Request::default() }
}

#[test]
fn empty_pool_gives_no_endpoint() {
    assert_eq!(None, pick(&[], &request(100), 1));
}

#[test]
fn holder_of_the_prompt_wins_among_idle_endpoints() {
    let holder = Pod { held_blocks: 60, ..IDLE };
    assert_eq!(Some(1), pick(&[IDLE, holder, IDLE], &request(4_000), 1));
}

#[test]
fn holder_loses_when_its_queue_exceeds_the_cache_hit() {
    // 60 blocks of 64 tokens are 3,840.
    let holder = |prefill_tokens| {
        let others = Load { requests: 1, prefills: 0, prefill_tokens };
        Pod { held_blocks: 60, others, ..IDLE }
    };
    assert_eq!(Some(1), pick(&[IDLE, holder(3_500)], &request(4_000), 1));
    assert_eq!(Some(0), pick(&[IDLE, holder(4_000)], &request(4_000), 1));
}

#[test]
fn long_prompts_avoid_endpoints_where_many_requests_wait() {
    let many = Pod { own: Load { requests: 6, prefills: 6, prefill_tokens: 6_000 }, ..IDLE };
    let few = Pod { own: Load { requests: 6, prefills: 1, prefill_tokens: 8_000 }, ..IDLE };
    assert_eq!(Some(1), pick(&[many.clone(), few.clone()], &request(4_000), 1));
    assert_eq!(Some(0), pick(&[many, few], &request(100), 1));
}

#[test]
fn own_and_other_bookings_count_equally() {
    let load = Load { requests: 2, prefills: 0, prefill_tokens: 2_000 };
    let (own, others) = (Pod { own: load, ..IDLE }, Pod { others: load, ..IDLE });
    assert_eq!(Some(2), pick(&[own, others, IDLE], &request(400), 1));
}

#[test]
fn full_endpoint_is_avoided_while_others_have_room() {
    let full = Pod { kv_used_ppm: Some(985_000), waiting: 1, running: 40, held_blocks: 60, ..IDLE };
    let busy =
        Pod { others: Load { requests: 200, prefills: 0, prefill_tokens: 400_000 }, running: 200, ..IDLE };
    assert_eq!(Some(1), pick(&[full, busy], &request(4_000), 1));
}

#[test]
fn shortest_wait_wins_when_all_are_full() {
    let full = |waiting| Pod { kv_used_ppm: Some(990_000), waiting, running: 20, ..IDLE };
    assert_eq!(Some(1), pick(&[full(9), full(2), full(5)], &request(400), 1));
}

#[test]
fn stale_and_down_endpoints_are_a_last_resort() {
    let with = |scrape_status| Pod { scrape_status, ..IDLE };
    let (stale, down) = (with(ScrapeStatus::Stale), with(ScrapeStatus::Down));
    assert_eq!(Some(2), pick(&[down.clone(), stale.clone(), IDLE], &request(400), 1));
    assert_eq!(Some(1), pick(&[down.clone(), stale], &request(400), 1));
    assert_eq!(Some(0), pick(&[down], &request(400), 1));
}

#[test]
fn new_endpoint_gets_requests_before_its_first_scrape() {
    let new = Pod { scrape_status: ScrapeStatus::Unknown, kv_used_ppm: None, ..IDLE };
    let busy = Pod { own: Load { requests: 3, prefills: 0, prefill_tokens: 3_000 }, ..IDLE };
    assert_eq!(Some(1), pick(&[busy, new], &request(400), 1));
}

#[test]
fn ties_are_broken_at_random() {
    let picked: std::collections::BTreeSet<_> =
        (0..64).map(|seed| pick(&[IDLE, IDLE, IDLE], &request(400), seed)).collect();
    assert_eq!(3, picked.len());
}

#[test]
fn outdated_bookings_of_others_are_ignored() {
    let busy =
        Pod { others: Load { requests: 50, prefills: 0, prefill_tokens: 90_000 }, held_blocks: 10, ..IDLE };
    let mut pool = pool(&[IDLE, busy]);
    let requests = |pool: &TestPool| {
        EndpointCosts::compute(&pool.inputs(&request(4_000)), &LeastTime::default()).terms()[1].requests
    };
    assert_eq!(50, requests(&pool));
    pool.local.peers.clear();
    assert_eq!(0, requests(&pool));
}

#[test]
fn explanation_agrees_with_the_decision_and_lists_all_endpoints() {
    let pods = [IDLE, Pod { held_blocks: 60, ..IDLE }];
    let explanation = explain(&pool(&pods).inputs(&request(4_000)), &Policy::default(), (0, 7)).1;
    assert_eq!(Some("pod-1".to_owned()), explanation.winner);
    assert_eq!("pod-1 costs 20.0 ms, 480.0 ms less than pod-0", explanation.why);
    assert_eq!(
        vec!["pod-1", "pod-0"],
        explanation.candidates.iter().map(|c| &*c.endpoint).collect::<Vec<_>>()
    );
}

fn load() -> impl Strategy<Value = Load> {
    (0_u32..50, 0_u64..50_000).prop_map(|(requests, prefill_tokens)| Load {
        requests,
        prefills: requests / 2,
        prefill_tokens,
    })
}

fn pod() -> impl Strategy<Value = Pod> {
    let scrape_status = prop_oneof![
        Just(ScrapeStatus::Fresh),
        Just(ScrapeStatus::Stale),
        Just(ScrapeStatus::Unknown),
        Just(ScrapeStatus::Down)
    ];
    let kv = proptest::option::of(0_u32..=1_000_000);
    (scrape_status, 0_u32..20, 0_u32..300, kv, load(), load(), 0_usize..100).prop_map(
        |(scrape_status, waiting, running, kv_used_ppm, others, own, held_blocks)| Pod {
            scrape_status,
            waiting,
            running,
            kv_used_ppm,
            others,
            own,
            held_blocks,
        },
    )
}

proptest! {
    #[test]
    fn winner_is_within_the_tie_of_the_best_in_the_best_tier(
        pods in proptest::collection::vec(pod(), 1..12), tokens in 1_u64..20_000, seed: u64,
    ) {
        let settings = LeastTime::default();
        let costs = EndpointCosts::compute(&pool(&pods).inputs(&request(tokens)), &settings);
        let picked = pick(&pods, &request(tokens), seed).unwrap();
        let best = costs.terms().iter().map(|terms| (terms.tier, terms.total_us())).min().unwrap();
        let winner = costs.terms()[picked];
        prop_assert_eq!(best.0, winner.tier);
        prop_assert!(winner.total_us() <= best.1 + settings.near_tie_us);
        prop_assert_eq!(Some(picked), pick(&pods, &request(tokens), seed));
    }

    #[test]
    fn longer_match_or_less_load_never_raises_the_cost(pod in pod(), tokens in 1_u64..20_000, more in 1_usize..50) {
        let better = Pod { held_blocks: pod.held_blocks + more, others: Load::ZERO, ..pod.clone() };
        let pair = pool(&[pod, better]);
        let costs = EndpointCosts::compute(&pair.inputs(&request(tokens)), &LeastTime::default());
        let (before, after) = (costs.terms()[0], costs.terms()[1]);
        prop_assert!(after.total_us() <= before.total_us());
        prop_assert!(after.tier == before.tier && (after.tier >= Tier::Open));
    }
}
