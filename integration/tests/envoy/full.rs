//! Full pods.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::Value;
use signalbox_integration::{Ask, Site, SiteConfig};

/// How many candidates are of this tier.
fn in_tier(candidates: &[Value], tier: &str) -> usize {
    candidates.iter().filter(|candidate| candidate["tier"] == tier).count()
}

#[tokio::test]
async fn a_full_pod_gets_nothing_while_another_is_free() {
    let site = Site::start(SiteConfig::default()).await.unwrap();
    for pod in &site.pods[1..] {
        pod.pretend(&site.client, 0.98, 5).await.unwrap();
    }
    site.sees("two pods are full", |candidates| in_tier(candidates, "full") == 2).await.unwrap();
    // At once, so that the free pod is loaded too.
    let asks: Vec<Ask> = (0..60).map(Ask::small).collect();
    let answers = try_join_all(asks.iter().map(|ask| site.ask(ask))).await.unwrap();
    for answer in answers {
        assert_eq!(answer.pod().unwrap(), site.pods[0].name());
    }
}

#[tokio::test]
async fn a_pod_that_is_full_without_a_queue_still_counts_as_free() {
    let site = Site::start(SiteConfig { pods: 2, epps: 1, ..SiteConfig::default() }).await.unwrap();
    site.pods[0].pretend(&site.client, 1.0, 0).await.unwrap();
    site.pods[1].pretend(&site.client, 1.0, 3).await.unwrap();
    site.sees("one pod is full", |candidates| in_tier(candidates, "full") == 1).await.unwrap();
    for topic in 0..10 {
        let answer = site.ask(&Ask::small(topic)).await.unwrap();
        assert_eq!(answer.pod().unwrap(), site.pods[0].name());
    }
}

#[tokio::test]
async fn when_all_are_full_the_least_wait_wins() {
    let site = Site::start(SiteConfig::default()).await.unwrap();
    for (pod, waiting) in site.pods.iter().zip([400, 3, 200]) {
        pod.pretend(&site.client, 0.99, waiting).await.unwrap();
    }
    site.sees("all pods are full", |candidates| in_tier(candidates, "full") == 3).await.unwrap();
    let mut served: BTreeMap<String, u32> = BTreeMap::new();
    for topic in 0..20 {
        let answer = site.ask(&Ask::small(topic)).await.unwrap();
        *served.entry(answer.pod().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(served, BTreeMap::from([(site.pods[1].name().to_owned(), 20)]));
}
