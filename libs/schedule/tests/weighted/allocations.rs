//! The number of allocations per decision does not depend on the number of endpoints.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{
    Concurrency, Filter, Metric, Picker, Policy, PrefixAffinity, Role, Saturation, Scorer, decide,
};

use crate::test_pool::{Pod, TestPool, weighted};

/// A policy with every plugin that has its own column or loop.
fn policy() -> Policy {
    let affinity = PrefixAffinity {
        threshold: 0.8,
        exploration: 0.0,
        max_penalty_ms: 1_000.0,
        peak_tokens_per_second: 10_000.0,
    };
    let filters = [
        Filter::Role(Role::Decode),
        Filter::Saturation(Saturation { queue_depth: 5.0, kv_used: 0.8, headroom: 0.0 }),
        Filter::Concurrency(Concurrency { requests: Some(100.0), tokens: Some(1e6), headroom: 0.0 }),
        Filter::PrefixAffinity(affinity),
    ];
    let scorers = [
        (Scorer::Least(Metric::WaitingQueue), 1.0),
        (Scorer::KvCacheFree, 1.0),
        (Scorer::PrefixCache { length_weight: 0.5, scale_tokens: 8_192.0 }, 1.0),
        (Scorer::LoraAffinity, 1.0),
        (Scorer::ActiveRequests { idle: 0.0, max_busy: 1.0 }, 1.0),
        (Scorer::TokenLoad { threshold_tokens: 1e6 }, 1.0),
        (Scorer::NoHitLru, 1.0),
    ];
    Policy::Weighted(weighted(&filters, &scorers, Picker::WeightedRandom))
}

#[test]
fn allocations_are_the_same_for_ten_and_a_thousand_endpoints() {
    let policy = policy();
    let allocations = |endpoints: usize| {
        let pool = TestPool::new(&vec![Pod::default(); endpoints], 10);
        let mut rng = SmallRng::seed_from_u64(1);
        allocation_counter::measure(|| {
            decide(&pool.inputs(), &policy, &mut rng);
        })
        .count_total
    };
    let (few, many) = (allocations(10), allocations(1_000));
    assert_eq!(few, many);
    assert!(few <= 6, "{few} allocations");
}
