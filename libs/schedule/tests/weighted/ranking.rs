//! The ranking of the endpoints that could serve a request, for fallbacks and emitted scores.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{
    Decision, Metric, Picker, Policy, ScoredEndpoint, Scorer, decide, decide_and_rank, explain,
};
use signalbox_state::ScrapeStatus;

use crate::test_pool::{Pod, TestPool, load, weighted};

fn policies() -> [Policy; 2] {
    let scorers = [(Scorer::Least(Metric::WaitingQueue), 1.0)];
    [Policy::default(), Policy::Weighted(weighted(&[], &scorers, Picker::MaxScore))]
}

fn ranked(pods: &[Pod], policy: &Policy, others: usize) -> (Decision, Vec<ScoredEndpoint>) {
    let rng = &mut SmallRng::seed_from_u64(7);
    decide_and_rank(&TestPool::new(pods, 1).inputs(), policy, rng, others)
}

fn positions(scored: &[ScoredEndpoint]) -> Vec<usize> {
    scored.iter().map(|scored| scored.position).collect()
}

#[test]
fn worse_tiers_are_left_out() {
    let busy = |requests| Pod { own: load(requests, 4_000), waiting: requests, ..Pod::default() };
    let stale = Pod { scrape_status: ScrapeStatus::Stale, ..Pod::default() };
    let down = Pod { scrape_status: ScrapeStatus::Down, ..Pod::default() };
    for policy in policies() {
        let (_, scored) = ranked(&[stale.clone(), busy(9), down.clone(), busy(5)], &policy, 9);
        assert_eq!(vec![3, 1], positions(&scored), "{policy:?}");
    }
}

#[test]
fn scores_are_those_of_the_explanation() {
    let busy = |requests| Pod { own: load(requests, 4_000), waiting: requests, ..Pod::default() };
    let pods = [busy(3), busy(1), busy(2)];
    for policy in policies() {
        let (_, scored) = ranked(&pods, &policy, 9);
        let explanation = explain(&TestPool::new(&pods, 1).inputs(), &policy, (0, 7)).1;
        let explained = explanation.candidates.iter();
        let explained = explained.map(|pod| pod.total.unwrap_or(-(pod.total_us as f64) / 1e3));
        assert_eq!(explained.collect::<Vec<_>>(), scored.iter().map(|pod| pod.score).collect::<Vec<_>>());
    }
}

#[test]
fn allocations_are_the_same_for_ten_and_a_thousand_endpoints() {
    for policy in policies() {
        let allocations = |endpoints: usize| {
            let pool = TestPool::new(&vec![Pod::default(); endpoints], 10);
            let mut rng = SmallRng::seed_from_u64(1);
            allocation_counter::measure(|| {
                decide_and_rank(&pool.inputs(), &policy, &mut rng, 2);
            })
            .count_total
        };
        assert_eq!(allocations(10), allocations(1_000));
    }
}

proptest! {
    #[test]
    fn ranking_begins_with_the_decision_and_goes_on_with_the_best_others(
        waiting in proptest::collection::vec(0_u32..9, 1..12), others in 0_usize..14,
    ) {
        let pods: Vec<_> = waiting.iter().map(|waiting| Pod { waiting: *waiting, ..Pod::default() }).collect();
        for policy in policies() {
            let (decision, scored) = ranked(&pods, &policy, others);
            let rng = &mut SmallRng::seed_from_u64(7);
            prop_assert_eq!(decide(&TestPool::new(&pods, 1).inputs(), &policy, rng), decision);
            let Decision::Picked { position, .. } = decision else { panic!("there is an endpoint") };
            prop_assert_eq!(position, scored[0].position);
            let (_, all) = ranked(&pods, &policy, usize::MAX);
            prop_assert_eq!(pods.len(), all.len());
            prop_assert_eq!(&all[..pods.len().min(others + 1)], &scored[..]);
            prop_assert!(all[1..].is_sorted_by(|one, other| one.score >= other.score));
        }
    }
}
