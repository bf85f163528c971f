//! Tests of the filters and their edge cases.

use signalbox_schedule::{
    Concurrency, Fallback, Filter, LabelOperator, LabelRequirement, LabelSelector, Limit, Metric, Picker,
    PrefixAffinity, Role, Saturation, SessionAffinity, Unlabeled, session_token,
};
use signalbox_state::ScrapeStatus;

use crate::test_pool::{Pod, TestPool, load, weighted};

fn kept(pods: &[Pod], filter: Filter) -> Vec<usize> {
    TestPool::new(pods, 10).kept(filter)
}

fn labeled(labels: &[(&'static str, &'static str)]) -> Pod {
    Pod { labels: labels.to_vec(), ..Pod::default() }
}

#[test]
fn label_selector_needs_all_requirements() {
    let pods = [labeled(&[("zone", "a"), ("tier", "gold")]), labeled(&[("zone", "a")]), labeled(&[])];
    let requires = |requirements: &[(&str, LabelOperator)]| {
        let requirements = requirements.iter();
        let requirements = requirements
            .map(|(key, operator)| LabelRequirement { key: (*key).to_owned(), operator: operator.clone() });
        Filter::Labels(LabelSelector { requirements: requirements.collect() })
    };
    let zone_a = ("zone", LabelOperator::In(vec!["a".to_owned()]));
    assert_eq!(vec![0, 1, 2], kept(&pods, requires(&[])));
    assert_eq!(vec![0, 1], kept(&pods, requires(std::slice::from_ref(&zone_a))));
    assert_eq!(vec![0], kept(&pods, requires(&[zone_a.clone(), ("tier", LabelOperator::Exists)])));
    assert_eq!(vec![1], kept(&pods, requires(&[zone_a, ("tier", LabelOperator::DoesNotExist)])));
    assert_eq!(Vec::<usize>::new(), kept(&pods, requires(&[("region", LabelOperator::Exists)])));
}

#[test]
fn label_filter_needs_one_of_the_values() {
    let pods = [labeled(&[("zone", "a")]), labeled(&[("zone", "b")]), labeled(&[])];
    let filter = |values: &[&str], unlabeled| Filter::ByLabel {
        label: "zone".to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        unlabeled,
    };
    assert_eq!(vec![0], kept(&pods, filter(&["a", "c"], Unlabeled::Fail)));
    assert_eq!(vec![0, 2], kept(&pods, filter(&["a"], Unlabeled::Pass)));
    assert_eq!(vec![2], kept(&pods, filter(&[], Unlabeled::Pass)));
}

#[test]
fn role_filter_keeps_endpoints_of_the_role() {
    let role = |role| labeled(&[("llm-d.ai/role", role)]);
    let pods = [role("decode"), role("prefill"), role("both"), labeled(&[]), role("encode")];
    assert_eq!(vec![0, 2, 3], kept(&pods, Filter::Role(Role::Decode)));
    assert_eq!(vec![1, 2], kept(&pods, Filter::Role(Role::Prefill)));
    assert_eq!(vec![4], kept(&pods, Filter::Role(Role::Encode)));
}

const AFFINITY: PrefixAffinity = PrefixAffinity {
    threshold: 0.8,
    exploration: 0.0,
    max_penalty_ms: 1_000.0,
    peak_tokens_per_second: 10_000.0,
};

fn holding(held_blocks: usize, tokens: u64) -> Pod {
    Pod { held_blocks, own: load(1, tokens), ..Pod::default() }
}

#[test]
fn prefix_affinity_holds_until_the_delay_is_too_long() {
    let filter = |affinity| Filter::PrefixAffinity(affinity);
    // The threshold is 8 of 10 blocks.
    let pods = [holding(8, 0), holding(7, 0), holding(10, 0), holding(0, 0)];
    assert_eq!(vec![0, 2], kept(&pods, filter(AFFINITY)));
    assert_eq!(vec![0, 1], kept(&[holding(7, 0), holding(0, 0)], filter(AFFINITY)));
    // 10,000 tokens take 1,000 ms, which is exactly the maximum penalty. One more token exceeds it.
    assert_eq!(vec![0], kept(&[holding(9, 10_000), holding(0, 0)], filter(AFFINITY)));
    assert_eq!(vec![0, 1], kept(&[holding(9, 10_001), holding(0, 0)], filter(AFFINITY)));
    // The least busy endpoint of each group counts.
    let pods = [holding(9, 50_000), holding(9, 10_000), holding(0, 90_000), holding(0, 0)];
    assert_eq!(vec![0, 1], kept(&pods, filter(AFFINITY)));
    let always = PrefixAffinity { max_penalty_ms: 0.0, ..AFFINITY };
    assert_eq!(vec![0], kept(&[holding(9, 1_000_000), holding(0, 0)], filter(always)));
    // All hold the prompt: there is no other endpoint to compare with.
    assert_eq!(vec![0, 1], kept(&[holding(9, 1_000_000), holding(9, 0)], filter(AFFINITY)));
}

#[test]
fn prefix_affinity_can_be_disabled_and_can_explore() {
    let pods = [holding(9, 0), holding(0, 0)];
    for threshold in [0.0, -1.0] {
        let off = PrefixAffinity { threshold, ..AFFINITY };
        assert_eq!(vec![0, 1], kept(&pods, Filter::PrefixAffinity(off)));
    }
    let exploring = Filter::PrefixAffinity(PrefixAffinity { exploration: 0.25, ..AFFINITY });
    let pool = TestPool::new(&pods, 10);
    let explored = (0..400).filter(|seed| {
        let explanation =
            pool.explain(weighted(std::slice::from_ref(&exploring), &[], Picker::MaxScore), *seed);
        explanation.candidates.iter().all(|candidate| candidate.removed_by.is_none())
    });
    let explored = explored.count();
    assert!((70..130).contains(&explored), "{explored} of 400");
    // A single candidate is always kept, and no endpoint holds a prompt without blocks.
    assert_eq!(vec![0], kept(&[holding(0, 0)], Filter::PrefixAffinity(AFFINITY)));
    assert_eq!(vec![0, 1], TestPool::new(&pods[..2], 0).kept(Filter::PrefixAffinity(AFFINITY)));
}

#[test]
fn utilization_filter_keeps_endpoints_within_limits() {
    let limit = |metric, max| Limit { metric, max };
    let filter = |limits: &[Limit], fallback| Filter::Utilization { limits: limits.to_vec(), fallback };
    let pod = |waiting, kv_used_ppm| Pod { waiting, kv_used_ppm, ..Pod::default() };
    let pods = [pod(5, Some(900_000)), pod(6, Some(100_000)), pod(0, Some(900_001)), pod(0, None)];
    let both = [limit(Metric::WaitingQueue, 5.0), limit(Metric::KvCacheUtilization, 0.9)];
    assert_eq!(vec![0], kept(&pods, filter(&both, Fallback::KeepNone)));
    // A missing value is kept only if no endpoint is known to be within the limits.
    assert_eq!(vec![2], kept(&pods[1..], filter(&both, Fallback::KeepNone)));
    assert_eq!(Vec::<usize>::new(), kept(&pods[1..3], filter(&both, Fallback::KeepNone)));
    assert_eq!(vec![0, 1], kept(&pods[1..3], filter(&both, Fallback::KeepAll)));
    // An endpoint that was not scraped yet is kept, but its bookings count.
    let unscraped = |own| Pod {
        scrape_status: ScrapeStatus::Unknown,
        kv_used_ppm: None,
        own: load(own, 0),
        ..Pod::default()
    };
    assert_eq!(vec![0, 1], kept(&[pods[0].clone(), unscraped(9)], filter(&both, Fallback::KeepNone)));
    let booked = [limit(Metric::ActiveRequests, 2.0), limit(Metric::WaitingQueue, 5.0)];
    assert_eq!(vec![0], kept(&[unscraped(2), unscraped(3)], filter(&booked, Fallback::KeepNone)));
    let busy = Pod { own: load(2, 0), others: load(1, 0), running: Some(9), ..Pod::default() };
    let active = [limit(Metric::ActiveRequests, 2.0)];
    assert_eq!(vec![1], kept(&[busy.clone(), Pod::default()], filter(&active, Fallback::KeepNone)));
    let running = [limit(Metric::RunningRequests, 8.0)];
    assert_eq!(vec![1], kept(&[busy, Pod::default()], filter(&running, Fallback::KeepNone)));
}

#[test]
fn saturation_filter_keeps_endpoints_below_both_thresholds() {
    let filter = |headroom| Filter::Saturation(Saturation { queue_depth: 5.0, kv_used: 0.8, headroom });
    let pod = |waiting, kv_used_ppm| Pod { waiting, kv_used_ppm, ..Pod::default() };
    let pods = [pod(4, Some(799_999)), pod(5, Some(0)), pod(0, Some(800_000)), pod(0, None)];
    assert_eq!(vec![0], kept(&pods, filter(0.0)));
    assert_eq!(vec![0, 1, 2], kept(&pods, filter(0.1)));
    // All are saturated, so all are kept.
    assert_eq!(vec![0, 1, 2], kept(&pods[1..], filter(0.0)));
    let unscraped = Pod { scrape_status: ScrapeStatus::Unknown, ..Pod::default() };
    assert_eq!(vec![1], kept(&[unscraped, Pod::default()], filter(0.0)));
}

#[test]
fn concurrency_filter_limits_requests_and_tokens() {
    let filter = |requests, tokens, headroom| Filter::Concurrency(Concurrency { requests, tokens, headroom });
    let pods = [
        Pod { own: load(9, 0), ..Pod::default() },
        Pod { own: load(5, 0), others: load(5, 0), ..Pod::default() },
        Pod { own: load(1, 1_000), ..Pod::default() },
    ];
    assert_eq!(vec![0, 2], kept(&pods, filter(Some(10.0), None, 0.0)));
    assert_eq!(vec![0, 1, 2], kept(&pods, filter(Some(10.0), None, 0.1)));
    assert_eq!(vec![0, 1], kept(&pods, filter(None, Some(1_000.0), 0.0)));
    assert_eq!(vec![0], kept(&pods, filter(Some(10.0), Some(1_000.0), 0.0)));
    assert_eq!(Vec::<usize>::new(), kept(&pods[1..], filter(Some(10.0), Some(1_000.0), 0.0)));
}

#[test]
fn session_filter_keeps_the_endpoint_in_the_token() {
    let filter = || Filter::Session(SessionAffinity::Token { header: "x-session-token".to_owned() });
    let mut pool = TestPool::new(&[Pod::default(), Pod::default()], 1);
    assert_eq!(vec![0, 1], pool.kept(filter()));
    pool.request.headers = vec![("X-Session-Token".to_owned(), session_token("pod-1"))];
    assert_eq!(vec![1], pool.kept(filter()));
    pool.request.headers = vec![("x-session-token".to_owned(), session_token("gone"))];
    assert_eq!(vec![0, 1], pool.kept(filter()));
}
