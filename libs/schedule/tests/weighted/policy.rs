//! Tests of the whole policy: filters, scorers and a picker together.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{
    Decision, Filter, Metric, Picker, Policy, Role, Scorer, ScorerStep, SessionAffinity, Weighted, decide,
};
use signalbox_state::{Circuit, ScrapeStatus};
use signalbox_types::Subset;

use crate::test_pool::{Pod, TestPool, load, weighted};

/// The Go EPP's default weights: queue 2, KV cache 2, prefix 3.
fn go_default() -> Weighted {
    let scorers = [
        (Scorer::Least(Metric::WaitingQueue), 2.0),
        (Scorer::KvCacheFree, 2.0),
        (Scorer::PrefixCache { length_weight: 0.0, scale_tokens: 8_192.0 }, 3.0),
    ];
    weighted(&[], &scorers, Picker::MaxScore)
}

fn picked(pool: &TestPool, policy: Weighted, seed: u64) -> Result<usize, Decision> {
    let mut rng = SmallRng::seed_from_u64(seed);
    match decide(&pool.inputs(), &Policy::Weighted(policy), &mut rng) {
        Decision::Picked { position, .. } => Ok(position),
        other => Err(other),
    }
}

#[test]
fn totals_are_weighted_sums() {
    let pod = |waiting, kv_used_ppm, held_blocks| Pod {
        waiting,
        kv_used_ppm: Some(kv_used_ppm),
        held_blocks,
        ..Pod::default()
    };
    let pool = TestPool::new(&[pod(0, 500_000, 0), pod(4, 250_000, 8), pod(2, 100_000, 2)], 10);
    let explanation = pool.explain(go_default(), 1);
    let totals: Vec<_> = explanation
        .candidates
        .iter()
        .map(|candidate| (candidate.endpoint.as_str(), candidate.total.unwrap()))
        .map(|(name, total)| format!("{name} {total:.4}"))
        .collect();
    // 2·1 + 2·0.5 + 3·0, 2·0 + 2·0.75 + 3·0.8, 2·0.5 + 2·0.9 + 3·0.2
    assert_eq!(vec!["pod-1 3.9000", "pod-2 3.4000", "pod-0 3.0000"], totals);
    assert_eq!("pod-1 has the total score 3.9000, 0.5000 more than pod-2", explanation.why);
    let scores: Vec<_> = explanation.candidates[0]
        .scores
        .iter()
        .map(|score| format!("{} {} × {} = {:.2}", score.scorer, score.score, score.weight, score.product))
        .collect();
    assert_eq!(vec!["scorer-0 0 × 2 = 0.00", "scorer-1 0.75 × 2 = 1.50", "scorer-2 0.8 × 3 = 2.40"], scores);
}

#[test]
fn filters_apply_in_order_and_are_named_in_explanations() {
    let role = |role| Pod { labels: vec![("llm-d.ai/role", role)], ..Pod::default() };
    let pool = TestPool::new(&[role("prefill"), role("both"), role("decode")], 1);
    let both = [Filter::Role(Role::Decode), Filter::Role(Role::Prefill)];
    let explanation = pool.explain(weighted(&both, &[], Picker::MaxScore), 1);
    assert_eq!(Some("pod-1".to_owned()), explanation.winner);
    assert_eq!("pod-1 is the only endpoint that passed the filters", explanation.why);
    let removed: Vec<_> =
        explanation.candidates.iter().map(|pod| (pod.endpoint.as_str(), pod.removed_by.as_deref())).collect();
    assert_eq!(vec![("pod-1", None), ("pod-0", Some("filter-0")), ("pod-2", Some("filter-1"))], removed);
    let all = [Filter::Role(Role::Decode), Filter::Role(Role::Encode)];
    assert_eq!(Err(Decision::Filtered), picked(&pool, weighted(&all, &[], Picker::MaxScore), 1));
    let explanation = pool.explain(weighted(&all, &[], Picker::MaxScore), 1);
    assert_eq!((None, "the filters removed every endpoint"), (explanation.winner, explanation.why.as_str()));
}

#[test]
fn unhealthy_endpoints_are_a_last_resort() {
    let with = |scrape_status, circuit| Pod { scrape_status, circuit, ..Pod::default() };
    let down = with(ScrapeStatus::Down, Circuit::Closed);
    let failing = with(ScrapeStatus::Fresh, Circuit::Open);
    let stale = with(ScrapeStatus::Stale, Circuit::Closed);
    let busy = Pod { waiting: 90, kv_used_ppm: Some(990_000), ..Pod::default() };
    let asleep = Pod { is_asleep: true, ..Pod::default() };
    let all = [down, asleep, failing, stale, busy];
    for left in (0..5).rev() {
        assert_eq!(Ok(left), picked(&TestPool::new(&all[..=left], 1), go_default(), 1));
    }
    let prefill = Pod { labels: vec![("llm-d.ai/role", "prefill")], ..Pod::default() };
    let pool = TestPool::new(&[prefill, all[3].clone(), all[0].clone()], 1);
    let decode = weighted(&[Filter::Role(Role::Decode)], &[], Picker::MaxScore);
    assert_eq!(Ok(1), picked(&pool, decode.clone(), 1));
    let removed = |name: &str| {
        let explanation = pool.explain(decode.clone(), 1);
        explanation.candidates.into_iter().find(|pod| pod.endpoint == name).unwrap().removed_by
    };
    assert_eq!(Some("filter-0".to_owned()), removed("pod-0"));
    assert_eq!(Some("down".to_owned()), removed("pod-2"));
}

#[test]
fn probed_endpoint_gets_one_request_at_a_time() {
    let probing = Pod { circuit: Circuit::HalfOpen(None), ..Pod::default() };
    let busy = Pod { waiting: 9, ..Pod::default() };
    let mut pool = TestPool::new(&[probing, busy], 1);
    assert_eq!(Ok(0), picked(&pool, go_default(), 1));
    pool.local.probed.push(pool.view.endpoints[0].key);
    assert_eq!(Ok(1), picked(&pool, go_default(), 1));
}

#[test]
fn subset_applies_to_every_policy() {
    let busy = Pod { waiting: 9, own: load(9, 90_000), ..Pod::default() };
    let mut pool = TestPool::new(&[Pod::default(), busy, Pod::default()], 1);
    pool.request.subset = Some(Subset::from_iter(["10.0.0.2", "10.0.0.3:1"]));
    let least_time = Policy::default();
    let position = |pool: &TestPool, policy: &Policy| match decide(
        &pool.inputs(),
        policy,
        &mut SmallRng::seed_from_u64(1),
    ) {
        Decision::Picked { position, .. } => Some(position),
        Decision::NoEndpoint | Decision::Filtered => None,
    };
    assert_eq!(Some(1), position(&pool, &least_time));
    assert_eq!(Some(1), position(&pool, &Policy::Weighted(go_default())));
    let explanation = pool.explain(go_default(), 1);
    assert_eq!(Some("subset".to_owned()), explanation.candidates[1].removed_by);
    pool.request.subset = Some(Subset::default());
    for policy in [least_time, Policy::Weighted(go_default())] {
        let decision = decide(&pool.inputs(), &policy, &mut SmallRng::seed_from_u64(1));
        assert_eq!(Decision::NoEndpoint, decision);
    }
    assert_eq!("the gateway allows none of the pool's endpoints", pool.explain(go_default(), 1).why);
}

#[test]
fn without_scorers_the_choice_is_random() {
    let pool = TestPool::new(&vec![Pod::default(); 3], 1);
    let policy = || weighted(&[], &[], Picker::MaxScore);
    let picked: std::collections::BTreeSet<_> =
        (0..64).map(|seed| picked(&pool, policy(), seed).unwrap()).collect();
    assert_eq!(3, picked.len());
}

#[test]
fn policy_lists_the_headers_that_it_reads_and_sets() {
    let id = SessionAffinity::Id { headers: vec!["x-session-id".to_owned(), "x-user".to_owned()] };
    let token = SessionAffinity::Token { header: "x-session-token".to_owned() };
    let policy = weighted(
        &[Filter::Session(token.clone())],
        &[(Scorer::Session(id), 1.0), (Scorer::Session(token), 1.0)],
        Picker::MaxScore,
    );
    let policy = Policy::Weighted(policy);
    assert_eq!(vec!["x-session-id", "x-session-token", "x-user"], policy.request_headers());
    assert_eq!(Some("x-session-token"), policy.session_header());
    assert_eq!((Vec::new(), None), (Policy::default().request_headers(), Policy::default().session_header()));
}

fn pod() -> impl Strategy<Value = Pod> {
    let scrape_status = prop_oneof![
        Just(ScrapeStatus::Fresh),
        Just(ScrapeStatus::Stale),
        Just(ScrapeStatus::Unknown),
        Just(ScrapeStatus::Down)
    ];
    let circuit = prop_oneof![Just(Circuit::Closed), Just(Circuit::HalfOpen(None)), Just(Circuit::Open)];
    let kv = proptest::option::of(0_u32..=1_000_000);
    let gauges = (0_u32..20, proptest::option::of(0_u32..300), kv);
    let label = prop_oneof![Just(None), Just(Some("decode")), Just(Some("prefill")), Just(Some("both"))];
    (scrape_status, circuit, gauges, (0_u32..9, 0_u64..50_000), 0_usize..=10, 0_u64..5, label).prop_map(
        |(
            scrape_status,
            circuit,
            (waiting, running, kv_used_ppm),
            own,
            held_blocks,
            cold_placement_seq,
            label,
        )| Pod {
            scrape_status,
            circuit,
            waiting,
            running,
            kv_used_ppm,
            own: load(own.0, own.1),
            held_blocks,
            cold_placement_seq,
            labels: label.map(|role| ("llm-d.ai/role", role)).into_iter().collect(),
            ..Pod::default()
        },
    )
}

fn scorer() -> impl Strategy<Value = Scorer> {
    prop_oneof![
        Just(Scorer::Least(Metric::WaitingQueue)),
        Just(Scorer::Least(Metric::RunningRequests)),
        Just(Scorer::KvCacheFree),
        Just(Scorer::LoadAware { threshold: 8.0 }),
        Just(Scorer::PrefixCache { length_weight: 0.3, scale_tokens: 512.0 }),
        Just(Scorer::LoraAffinity),
        Just(Scorer::ActiveRequests { idle: 1.0, max_busy: 0.5 }),
        Just(Scorer::TokenLoad { threshold_tokens: 10_000.0 }),
        Just(Scorer::NoHitLru),
    ]
}

fn any_policy() -> impl Strategy<Value = Weighted> {
    let picker = prop_oneof![Just(Picker::MaxScore), Just(Picker::Random), Just(Picker::WeightedRandom)];
    let filter = prop_oneof![Just(Filter::Role(Role::Decode)), Just(Filter::Role(Role::Prefill))];
    let scorers = proptest::collection::vec((scorer(), 0.0..5.0_f64), 0..4);
    (proptest::collection::vec(filter, 0..2), scorers, picker)
        .prop_map(|(filters, scorers, picker)| weighted(&filters, &scorers, picker))
}

proptest! {
    #[test]
    fn decision_matches_its_explanation_and_is_never_a_removed_endpoint(
        pods in proptest::collection::vec(pod(), 1..12), policy in any_policy(), seed: u64,
    ) {
        let pool = TestPool::new(&pods, 10);
        let explanation = pool.explain(policy.clone(), seed);
        match picked(&pool, policy.clone(), seed) {
            Ok(position) => {
                let winner = &explanation.candidates[0];
                prop_assert_eq!(explanation.winner, Some(format!("pod-{position}")));
                prop_assert_eq!(&winner.endpoint, &format!("pod-{position}"));
                prop_assert!(winner.removed_by.is_none());
                let weights: f64 = policy.scorers.iter().map(|ScorerStep { weight, .. }| weight).sum();
                for pod in explanation.candidates.iter().filter(|pod| pod.removed_by.is_none()) {
                    let total: f64 = pod.scores.iter().map(|score| score.product).sum();
                    prop_assert!((total - pod.total.unwrap()).abs() < 1e-9);
                    prop_assert!((0.0..=weights + 1e-9).contains(&total));
                    if policy.picker == Picker::MaxScore {
                        prop_assert!(total <= winner.total.unwrap());
                    }
                }
            }
            Err(decision) => {
                prop_assert_eq!(Decision::Filtered, decision);
                prop_assert!(explanation.winner.is_none());
                prop_assert!(explanation.candidates.iter().all(|pod| pod.removed_by.is_some()));
            }
        }
    }
}
