//! What a decision is held to.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{Candidates, Decision, DecisionInputs, LeastTime, Policy, Tier, decide, explain};
use signalbox_state::{EndpointState, LocalState, Observed, PeerLoad, PrefixMatches, ScrapeStatus, View};
use signalbox_types::{Capacity, EndpointSpec, Engine, Gauges, Load, Origin, Request};

const ME: Origin = Origin(1);
const OTHER: Origin = Origin(2);

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

struct Scene {
    view: View,
    local: LocalState,
    matches: PrefixMatches,
}

impl Scene {
    fn inputs<'a>(&'a self, request: &'a Request) -> DecisionInputs<'a> {
        DecisionInputs { view: &self.view, local: &self.local, matches: &self.matches, request }
    }
}

fn member(index: usize, pod: &Pod) -> Arc<EndpointState> {
    let address = format!("10.0.0.{}:8000", index + 1).parse().unwrap();
    let (name, metrics_url) = (format!("pod-{index}"), String::new());
    let spec = EndpointSpec { name, address, metrics_url, engine: Engine::Vllm, labels: BTreeMap::new() };
    let mut member = EndpointState::new(Arc::new(spec));
    let Pod { scrape_status, waiting, running, kv_used_ppm, .. } = *pod;
    let capacity = Some(Capacity { kv_tokens: 500_000 });
    let gauges = Gauges { waiting, running, kv_used_ppm };
    member.observed = Observed { scrape_status, gauges, capacity, ..Observed::default() };
    if pod.others != Load::ZERO {
        member.loads.push((OTHER, pod.others));
    }
    Arc::new(member)
}

fn scene(pods: &[Pod]) -> Scene {
    let mut view = View::default();
    view.endpoints = pods.iter().enumerate().map(|(at, pod)| member(at, pod)).collect();
    let own = pods.iter().map(|pod| pod.own).collect();
    let local = LocalState {
        origin: ME,
        own,
        prefilling_ms: Vec::new(),
        others: PeerLoad::Current,
        adapter_sent: Default::default(),
    };
    Scene {
        view,
        local,
        matches: PrefixMatches { blocks: pods.iter().map(|pod| pod.held_blocks).collect(), total: 100 },
    }
}

fn pick(pods: &[Pod], request: &Request, seed: u64) -> Option<usize> {
    let mut rng = SmallRng::seed_from_u64(seed);
    match decide(&scene(pods).inputs(request), &Policy::default(), &mut rng) {
        Decision::Picked { position, .. } => Some(position),
        Decision::NoEndpoint | Decision::Filtered => None,
    }
}

fn request(prompt_tokens: u64) -> Request {
    Request { model: "m".to_owned(), prompt_tokens, max_output_tokens: Some(64), ..Request::default() }
}

#[test]
fn an_empty_pool_has_no_endpoint() {
    assert_eq!(None, pick(&[], &request(100), 1));
}

#[test]
fn the_endpoint_that_holds_the_prompt_wins_among_idle_ones() {
    let holder = Pod { held_blocks: 60, ..IDLE };
    assert_eq!(Some(1), pick(&[IDLE, holder, IDLE], &request(4_000), 1));
}

#[test]
fn affinity_gives_way_when_the_holder_has_more_ahead_than_the_hit_saves() {
    // 60 blocks of 64 tokens are 3,840.
    let holder = |prefill_tokens| {
        let others = Load { requests: 1, prefills: 0, prefill_tokens };
        Pod { held_blocks: 60, others, ..IDLE }
    };
    assert_eq!(Some(1), pick(&[IDLE, holder(3_500)], &request(4_000), 1));
    assert_eq!(Some(0), pick(&[IDLE, holder(4_000)], &request(4_000), 1));
}

#[test]
fn a_long_prompt_stays_away_from_where_many_wait_and_a_short_one_does_not_care() {
    let many = Pod { own: Load { requests: 6, prefills: 6, prefill_tokens: 6_000 }, ..IDLE };
    let few = Pod { own: Load { requests: 6, prefills: 1, prefill_tokens: 8_000 }, ..IDLE };
    assert_eq!(Some(1), pick(&[many.clone(), few.clone()], &request(4_000), 1));
    assert_eq!(Some(0), pick(&[many, few], &request(100), 1));
}

#[test]
fn own_and_others_bookings_count_alike() {
    let load = Load { requests: 2, prefills: 0, prefill_tokens: 2_000 };
    let (own, others) = (Pod { own: load, ..IDLE }, Pod { others: load, ..IDLE });
    assert_eq!(Some(2), pick(&[own, others, IDLE], &request(400), 1));
}

#[test]
fn a_full_endpoint_gets_nothing_while_others_are_free() {
    let full = Pod { kv_used_ppm: Some(985_000), waiting: 1, running: 40, held_blocks: 60, ..IDLE };
    let busy =
        Pod { others: Load { requests: 200, prefills: 0, prefill_tokens: 400_000 }, running: 200, ..IDLE };
    assert_eq!(Some(1), pick(&[full, busy], &request(4_000), 1));
}

#[test]
fn when_all_are_full_the_least_wait_wins() {
    let full = |waiting| Pod { kv_used_ppm: Some(990_000), waiting, running: 20, ..IDLE };
    assert_eq!(Some(1), pick(&[full(9), full(2), full(5)], &request(400), 1));
}

#[test]
fn what_cannot_be_read_is_used_only_when_nothing_else_is_there() {
    let with = |scrape_status| Pod { scrape_status, ..IDLE };
    let (stale, down) = (with(ScrapeStatus::Stale), with(ScrapeStatus::Down));
    assert_eq!(Some(2), pick(&[down.clone(), stale.clone(), IDLE], &request(400), 1));
    assert_eq!(Some(1), pick(&[down.clone(), stale], &request(400), 1));
    assert_eq!(Some(0), pick(&[down], &request(400), 1));
}

#[test]
fn a_new_endpoint_gets_its_share_before_it_is_read() {
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
fn outdated_bookings_of_others_count_for_nothing() {
    let busy =
        Pod { others: Load { requests: 50, prefills: 0, prefill_tokens: 90_000 }, held_blocks: 10, ..IDLE };
    let mut scene = scene(&[IDLE, busy]);
    scene.local.others = PeerLoad::Outdated;
    let assessed = Candidates::assess(&scene.inputs(&request(4_000)), &LeastTime::default());
    assert_eq!(0, assessed.terms()[1].requests);
}

#[test]
fn an_explanation_agrees_with_the_decision_and_lists_all() {
    let pods = [IDLE, Pod { held_blocks: 60, ..IDLE }];
    let said = explain(&scene(&pods).inputs(&request(4_000)), &Policy::default(), (0, 7));
    assert_eq!(Some("pod-1".to_owned()), said.winner);
    assert_eq!("pod-1 costs 20.0 ms, 480.0 ms less than pod-0", said.why);
    assert_eq!(vec!["pod-1", "pod-0"], said.candidates.iter().map(|c| &*c.endpoint).collect::<Vec<_>>());
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
    fn the_winner_is_as_good_as_the_best_of_the_best_tier(
        pods in proptest::collection::vec(pod(), 1..12), tokens in 1_u64..20_000, seed: u64,
    ) {
        let settings = LeastTime::default();
        let assessed = Candidates::assess(&scene(&pods).inputs(&request(tokens)), &settings);
        let picked = pick(&pods, &request(tokens), seed).unwrap();
        let best = assessed.terms().iter().map(|terms| (terms.tier, terms.total_us())).min().unwrap();
        let winner = assessed.terms()[picked];
        prop_assert_eq!(best.0, winner.tier);
        prop_assert!(winner.total_us() <= best.1 + settings.near_tie_us);
        prop_assert_eq!(Some(picked), pick(&pods, &request(tokens), seed));
    }

    #[test]
    fn holding_more_or_having_less_to_do_never_hurts(pod in pod(), tokens in 1_u64..20_000, more in 1_usize..50) {
        let better = Pod { held_blocks: pod.held_blocks + more, others: Load::ZERO, ..pod.clone() };
        let pair = scene(&[pod, better]);
        let assessed = Candidates::assess(&pair.inputs(&request(tokens)), &LeastTime::default());
        let (before, after) = (assessed.terms()[0], assessed.terms()[1]);
        prop_assert!(after.total_us() <= before.total_us());
        prop_assert!(after.tier == before.tier && (after.tier >= Tier::Open));
    }
}
