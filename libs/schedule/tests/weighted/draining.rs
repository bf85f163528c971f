//! Endpoints that are draining: every policy decides as if they were not there.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{
    Concurrency, Decision, Filter, Metric, Picker, Policy, Scorer, SessionAffinity, Weighted, decide,
    decide_and_rank, explain, session_token,
};
use signalbox_state::{Circuit, ScrapeStatus};
use signalbox_types::Subset;

use crate::test_pool::{Pod, TestPool, load, weighted};

fn session_id() -> SessionAffinity {
    SessionAffinity::Id { headers: vec!["session".to_owned()] }
}

fn session_token_header() -> SessionAffinity {
    SessionAffinity::Token { header: "token".to_owned() }
}

/// Policies that use what a draining endpoint could influence: cached prefixes, sessions, capacity and the order of
/// cold placements.
fn policies() -> Vec<Policy> {
    let limited = Concurrency { requests: Some(2.0), tokens: None, headroom: 0.0 };
    let weighted: [Weighted; 4] = [
        weighted(
            &[],
            &[
                (Scorer::Least(Metric::WaitingQueue), 2.0),
                (Scorer::PrefixCache { length_weight: 0.5, scale_tokens: 8_192.0 }, 3.0),
                (Scorer::NoHitLru, 1.0),
            ],
            Picker::MaxScore,
        ),
        weighted(&[Filter::Session(session_id())], &[], Picker::MaxScore),
        weighted(&[], &[(Scorer::Session(session_token_header()), 1.0)], Picker::WeightedRandom),
        weighted(&[Filter::Concurrency(limited)], &[], Picker::Random),
    ];
    weighted.into_iter().map(Policy::Weighted).chain([Policy::default()]).collect()
}

fn decision(pool: &TestPool, policy: &Policy) -> Decision {
    decide(&pool.inputs(), policy, &mut SmallRng::seed_from_u64(1))
}

/// Returns the name of the decision's endpoint and the ranked endpoints with their scores.
fn ranked(pool: &TestPool, policy: &Policy, seed: u64) -> (Option<String>, Vec<(String, f64)>) {
    let inputs = pool.inputs();
    let name = |position: usize| inputs.view.endpoints[position].spec.name.clone();
    let (decision, ranked) = decide_and_rank(&inputs, policy, &mut SmallRng::seed_from_u64(seed), usize::MAX);
    let chosen = match decision {
        Decision::Picked { position, .. } => Some(name(position)),
        Decision::NoEndpoint | Decision::Filtered => None,
    };
    (chosen, ranked.into_iter().map(|scored| (name(scored.position), scored.score)).collect())
}

fn pod() -> impl Strategy<Value = Pod> {
    let scrape_status = prop::sample::select(vec![
        ScrapeStatus::Fresh,
        ScrapeStatus::Fresh,
        ScrapeStatus::Unknown,
        ScrapeStatus::Stale,
        ScrapeStatus::Down,
    ]);
    let circuit =
        prop::sample::select(vec![Circuit::Closed, Circuit::Closed, Circuit::HalfOpen(None), Circuit::Open]);
    (scrape_status, circuit, 0_u32..4, 0_usize..9, any::<[bool; 2]>(), 0_u64..9).prop_map(
        |(scrape_status, circuit, requests, held_blocks, [is_draining, is_asleep], cold_placement_seq)| Pod {
            scrape_status,
            circuit,
            is_draining,
            is_asleep,
            held_blocks,
            cold_placement_seq,
            waiting: requests,
            own: load(requests, u64::from(requests) * 500),
            ..Pod::default()
        },
    )
}

proptest! {
    #[test]
    fn decisions_are_those_without_the_draining_endpoints(
        pods in prop::collection::vec(pod(), 0..7), session in 0_usize..7, seed in any::<u64>(), is_subset in any::<bool>(),
    ) {
        let pool = || {
            let mut pool = TestPool::new(&pods, 10);
            let token = ("token".to_owned(), session_token(&format!("pod-{session}")));
            pool.request.headers = vec![("session".to_owned(), session.to_string()), token];
            let subset = || Subset::from_iter(["10.0.0.1", "10.0.0.3", "10.0.0.4"]);
            pool.request.subset = is_subset.then(subset);
            pool
        };
        let (with, without) = (pool(), pool().without_draining());
        for policy in policies() {
            prop_assert_eq!(ranked(&without, &policy, seed), ranked(&with, &policy, seed), "{:?}", policy);
        }
    }
}

#[test]
fn draining_endpoint_gets_no_request_however_good_it_is() {
    let holder = Pod { is_draining: true, held_blocks: 10, ..Pod::default() };
    let down = Pod { scrape_status: ScrapeStatus::Down, own: load(9, 90_000), ..Pod::default() };
    for policy in policies() {
        let chosen = ranked(&TestPool::new(&[holder.clone(), Pod::default()], 10), &policy, 1).0;
        assert_eq!(Some("pod-1"), chosen.as_deref(), "{policy:?}");
    }
    let chosen = ranked(&TestPool::new(&[holder, down], 10), &Policy::default(), 1).0;
    assert_eq!(Some("pod-1"), chosen.as_deref(), "an endpoint that is down comes before one that drains");
}

#[test]
fn pool_whose_endpoints_are_all_draining_is_like_an_empty_one() {
    let mut pool = TestPool::new(&vec![Pod { is_draining: true, ..Pod::default() }; 2], 1);
    for policy in policies() {
        assert_eq!(Decision::NoEndpoint, decision(&pool, &policy), "{policy:?}");
        let explanation = explain(&pool.inputs(), &policy, (0, 1)).1;
        assert_eq!("all endpoints of the pool are draining", explanation.why);
        assert!(explanation.candidates.iter().all(|pod| pod.removed_by.as_deref() == Some("draining")));
    }
    pool.request.subset = Some(Subset::default());
    assert_eq!(
        "all endpoints of the pool are draining",
        explain(&pool.inputs(), &Policy::default(), (0, 1)).1.why
    );
}

#[test]
fn explanations_tell_draining_endpoints_from_those_outside_the_subset() {
    let draining = Pod { is_draining: true, ..Pod::default() };
    let mut pool = TestPool::new(&[draining, Pod::default()], 1);
    pool.request.subset = Some(Subset::from_iter(["10.0.0.1"]));
    for policy in policies() {
        let explanation = explain(&pool.inputs(), &policy, (0, 1)).1;
        let removed = |name: &str| {
            explanation.candidates.iter().find(|pod| pod.endpoint == name).unwrap().removed_by.as_deref()
        };
        assert_eq!((Some("draining"), Some("subset")), (removed("pod-0"), removed("pod-1")));
        assert_eq!("the gateway allows none of the pool's endpoints that are not draining", explanation.why);
    }
}
