//! What a weighted policy does when its filters remove all sound endpoints.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{
    Concurrency, Decision, Fallback, Filter, Limit, Metric, Picker, Policy, Role, decide,
};
use signalbox_state::{Circuit, ScrapeStatus};

use crate::test_pool::{Pod, TestPool, load, weighted};

fn decided(pods: &[Pod], filters: &[Filter]) -> Result<usize, Decision> {
    let policy = Policy::Weighted(weighted(filters, &[], Picker::MaxScore));
    match decide(&TestPool::new(pods, 1).inputs(), &policy, &mut SmallRng::seed_from_u64(1)) {
        Decision::Picked { position, .. } => Ok(position),
        other => Err(other),
    }
}

fn busy() -> Pod {
    Pod { own: load(9, 0), waiting: 9, ..Pod::default() }
}

/// Filters that keep idle pods only.
fn capacity_filters() -> [Filter; 2] {
    let limits = vec![Limit { metric: Metric::WaitingQueue, max: 5.0 }];
    [
        Filter::Concurrency(Concurrency { requests: Some(5.0), tokens: None, headroom: 0.0 }),
        Filter::Utilization { limits, fallback: Fallback::KeepNone },
    ]
}

#[test]
fn failing_and_down_endpoints_do_not_take_what_full_ones_cannot() {
    let failing = Pod { circuit: Circuit::Open, ..Pod::default() };
    let down = Pod { scrape_status: ScrapeStatus::Down, ..Pod::default() };
    for filter in capacity_filters() {
        for unsound in [&failing, &down] {
            let pods = [busy(), unsound.clone()];
            assert_eq!(Err(Decision::Filtered), decided(&pods, std::slice::from_ref(&filter)), "{pods:?}");
            let alone = std::slice::from_ref(unsound);
            assert_eq!(Ok(0), decided(alone, std::slice::from_ref(&filter)), "nothing sound is at capacity");
        }
    }
}

#[test]
fn stale_endpoints_take_what_full_ones_cannot() {
    let stale = Pod { scrape_status: ScrapeStatus::Stale, ..Pod::default() };
    let concurrency = &capacity_filters()[..1];
    assert_eq!(Ok(1), decided(&[busy(), stale], concurrency));
}

#[test]
fn worse_tiers_take_what_no_sound_endpoint_is_suited_for() {
    let role = |role, pod: Pod| Pod { labels: vec![("llm-d.ai/role", role)], ..pod };
    let failing = role("decode", Pod { circuit: Circuit::Open, ..Pod::default() });
    let [concurrency, _] = capacity_filters();
    let filters = [concurrency, Filter::Role(Role::Decode)];
    assert_eq!(Ok(1), decided(&[role("prefill", busy()), failing.clone()], &filters));
    assert_eq!(Err(Decision::Filtered), decided(&[role("decode", busy()), failing], &filters));
}
