//! One test for each filter and each of its edges.

use signalbox_schedule::{
    Concurrency, Filter, Limit, Metric, Must, Picker, PrefixAffinity, Requirement, Role, Saturation,
    Selector, SessionAffinity, Unlabelled, WhenNone, session_token,
};
use signalbox_state::ScrapeStatus;

use crate::scene::{Pod, Scene, load, weighted};

fn kept(pods: &[Pod], filter: Filter) -> Vec<usize> {
    Scene::new(pods, 10).kept(filter)
}

fn labelled(labels: &[(&'static str, &'static str)]) -> Pod {
    Pod { labels: labels.to_vec(), ..Pod::default() }
}

#[test]
fn label_selector() {
    let pods = [labelled(&[("zone", "a"), ("tier", "gold")]), labelled(&[("zone", "a")]), labelled(&[])];
    let requires = |requirements: &[(&str, Must)]| {
        let requirements = requirements.iter();
        let requirements =
            requirements.map(|(key, must)| Requirement { key: (*key).to_owned(), must: must.clone() });
        Filter::Labels(Selector { requirements: requirements.collect() })
    };
    let zone_a = ("zone", Must::In(vec!["a".to_owned()]));
    assert_eq!(vec![0, 1, 2], kept(&pods, requires(&[])));
    assert_eq!(vec![0, 1], kept(&pods, requires(std::slice::from_ref(&zone_a))));
    assert_eq!(vec![0], kept(&pods, requires(&[zone_a.clone(), ("tier", Must::Exist)])));
    assert_eq!(vec![1], kept(&pods, requires(&[zone_a, ("tier", Must::NotExist)])));
    assert_eq!(Vec::<usize>::new(), kept(&pods, requires(&[("region", Must::Exist)])));
}

#[test]
fn by_label() {
    let pods = [labelled(&[("zone", "a")]), labelled(&[("zone", "b")]), labelled(&[])];
    let filter = |values: &[&str], unlabelled| Filter::ByLabel {
        label: "zone".to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        unlabelled,
    };
    assert_eq!(vec![0], kept(&pods, filter(&["a", "c"], Unlabelled::Fail)));
    assert_eq!(vec![0, 2], kept(&pods, filter(&["a"], Unlabelled::Pass)));
    assert_eq!(vec![2], kept(&pods, filter(&[], Unlabelled::Pass)));
}

#[test]
fn roles() {
    let role = |role| labelled(&[("llm-d.ai/role", role)]);
    let pods = [role("decode"), role("prefill"), role("both"), labelled(&[]), role("encode")];
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
fn prefix_cache_affinity_stays_until_it_costs_too_much() {
    let filter = |affinity| Filter::PrefixAffinity(affinity);
    // Sticky are 8 of 10 blocks and more.
    let pods = [holding(8, 0), holding(7, 0), holding(10, 0), holding(0, 0)];
    assert_eq!(vec![0, 2], kept(&pods, filter(AFFINITY)));
    assert_eq!(vec![0, 1], kept(&[holding(7, 0), holding(0, 0)], filter(AFFINITY)));
    // 10,000 tokens are 1,000 ms: not more than the penalty. One token more is.
    assert_eq!(vec![0], kept(&[holding(9, 10_000), holding(0, 0)], filter(AFFINITY)));
    assert_eq!(vec![0, 1], kept(&[holding(9, 10_001), holding(0, 0)], filter(AFFINITY)));
    // The least busy of each kind count.
    let pods = [holding(9, 50_000), holding(9, 10_000), holding(0, 90_000), holding(0, 0)];
    assert_eq!(vec![0, 1], kept(&pods, filter(AFFINITY)));
    let always = PrefixAffinity { max_penalty_ms: 0.0, ..AFFINITY };
    assert_eq!(vec![0], kept(&[holding(9, 1_000_000), holding(0, 0)], filter(always)));
    // All sticky: there is nobody to compare with.
    assert_eq!(vec![0, 1], kept(&[holding(9, 1_000_000), holding(9, 0)], filter(AFFINITY)));
}

#[test]
fn prefix_cache_affinity_can_be_off_and_can_explore() {
    let pods = [holding(9, 0), holding(0, 0)];
    for threshold in [0.0, -1.0] {
        let off = PrefixAffinity { threshold, ..AFFINITY };
        assert_eq!(vec![0, 1], kept(&pods, Filter::PrefixAffinity(off)));
    }
    let curious = Filter::PrefixAffinity(PrefixAffinity { exploration: 0.25, ..AFFINITY });
    let scene = Scene::new(&pods, 10);
    let explored = (0..400).filter(|seed| {
        let said = scene.explain(weighted(std::slice::from_ref(&curious), &[], Picker::MaxScore), *seed);
        said.candidates.iter().all(|candidate| candidate.removed_by.is_none())
    });
    let explored = explored.count();
    assert!((70..130).contains(&explored), "{explored} of 400");
    // One candidate is never weighed, and a prompt without blocks is held by nobody.
    assert_eq!(vec![0], kept(&[holding(0, 0)], Filter::PrefixAffinity(AFFINITY)));
    assert_eq!(vec![0, 1], Scene::new(&pods[..2], 0).kept(Filter::PrefixAffinity(AFFINITY)));
}

#[test]
fn utilization() {
    let limit = |metric, max| Limit { metric, max };
    let filter = |limits: &[Limit], when_none| Filter::Utilization { limits: limits.to_vec(), when_none };
    let pod = |waiting, kv_used_ppm| Pod { waiting, kv_used_ppm, ..Pod::default() };
    let pods = [pod(5, Some(900_000)), pod(6, Some(100_000)), pod(0, Some(900_001)), pod(0, None)];
    let both = [limit(Metric::WaitingQueue, 5.0), limit(Metric::KvCacheUtilization, 0.9)];
    assert_eq!(vec![0], kept(&pods, filter(&both, WhenNone::None)));
    // Unknown is kept only where nothing else is.
    assert_eq!(vec![2], kept(&pods[1..], filter(&both, WhenNone::None)));
    assert_eq!(Vec::<usize>::new(), kept(&pods[1..3], filter(&both, WhenNone::None)));
    assert_eq!(vec![0, 1], kept(&pods[1..3], filter(&both, WhenNone::All)));
    // So new that nobody has read it: kept, but what is booked there counts.
    let unread = |own| Pod {
        scrape_status: ScrapeStatus::Unknown,
        kv_used_ppm: None,
        own: load(own, 0),
        ..Pod::default()
    };
    assert_eq!(vec![0, 1], kept(&[pods[0].clone(), unread(9)], filter(&both, WhenNone::None)));
    let booked = [limit(Metric::ActiveRequests, 2.0), limit(Metric::WaitingQueue, 5.0)];
    assert_eq!(vec![0], kept(&[unread(2), unread(3)], filter(&booked, WhenNone::None)));
    let busy = Pod { own: load(2, 0), others: load(1, 0), running: 9, ..Pod::default() };
    let active = [limit(Metric::ActiveRequests, 2.0)];
    assert_eq!(vec![1], kept(&[busy.clone(), Pod::default()], filter(&active, WhenNone::None)));
    let running = [limit(Metric::RunningRequests, 8.0)];
    assert_eq!(vec![1], kept(&[busy, Pod::default()], filter(&running, WhenNone::None)));
}

#[test]
fn utilization_detector() {
    let filter = |headroom| Filter::Saturation(Saturation { queue_depth: 5.0, kv_used: 0.8, headroom });
    let pod = |waiting, kv_used_ppm| Pod { waiting, kv_used_ppm, ..Pod::default() };
    let pods = [pod(4, Some(799_999)), pod(5, Some(0)), pod(0, Some(800_000)), pod(0, None)];
    assert_eq!(vec![0], kept(&pods, filter(0.0)));
    assert_eq!(vec![0, 1, 2], kept(&pods, filter(0.1)));
    // None has room: all are kept.
    assert_eq!(vec![0, 1, 2], kept(&pods[1..], filter(0.0)));
    let unread = Pod { scrape_status: ScrapeStatus::Unknown, ..Pod::default() };
    assert_eq!(vec![1], kept(&[unread, Pod::default()], filter(0.0)));
}

#[test]
fn concurrency_detector() {
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
fn session_affinity() {
    let filter = || Filter::Session(SessionAffinity::Token { header: "x-session-token".to_owned() });
    let mut scene = Scene::new(&[Pod::default(), Pod::default()], 1);
    assert_eq!(vec![0, 1], scene.kept(filter()));
    scene.request.headers = vec![("X-Session-Token".to_owned(), session_token("pod-1"))];
    assert_eq!(vec![1], scene.kept(filter()));
    scene.request.headers = vec![("x-session-token".to_owned(), session_token("gone"))];
    assert_eq!(vec![0, 1], scene.kept(filter()));
}
