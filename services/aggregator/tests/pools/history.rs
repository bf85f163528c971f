//! Pools share the memory for their histories.

use std::sync::Arc;
use std::time::Duration;

use signalbox_aggregator::{Aggregator, AggregatorConfig, PoolSet};
use signalbox_types::PoolSpec;
use tokio::sync::watch;

use crate::{config, eventually, http, id, set, start_with};

/// What a pool keeps at least, in bytes.
const LEAST: u64 = 1 << 20;

/// Eight pools, so that each keeps the least if the memory is as much as they need.
const POOLS: [(&str, u16); 8] = [
    ("large", 9001),
    ("b", 9002),
    ("c", 9003),
    ("d", 9004),
    ("e", 9005),
    ("f", 9006),
    ("g", 9007),
    ("h", 9008),
];

/// Returns the first `pools` of the pools. The specification of the first one weighs more than it keeps at least, and
/// less than twice as much.
fn with_large(pools: usize, version: u32) -> PoolSet {
    let mut set = set(&POOLS[..pools]);
    let large = set.pools.get_mut(&id("large")).unwrap();
    let mut spec = PoolSpec::clone(&large.spec);
    let one = spec.endpoints[0].clone();
    spec.endpoints = (1..=250_u16)
        .map(|number| {
            let mut endpoint = one.clone();
            endpoint.name = format!("pod-{number}");
            endpoint.address.set_port(number);
            endpoint.labels =
                (0..100).map(|label| (format!("label-{label}"), format!("version-{version}"))).collect();
            endpoint
        })
        .collect();
    large.spec = Arc::new(spec);
    set
}

async fn history_bytes(aggregator: &Aggregator) -> Option<u64> {
    let (_, page) = http::get(aggregator.metrics_address(), "/metrics").await;
    let series = "signalbox_aggregator_history_bytes{pool=\"default/large\"} ";
    page.lines().find_map(|line| line.strip_prefix(series)?.parse().ok())
}

#[tokio::test]
async fn pool_keeps_less_history_while_there_are_many() {
    let sets = watch::Sender::new(with_large(1, 1));
    let config =
        AggregatorConfig { history_bytes: 8 << 20, ..config("one", None, Duration::from_millis(100)) };
    let aggregator = start_with(config, sets.subscribe()).await;
    let keeps_more = async || history_bytes(&aggregator).await.is_some_and(|bytes| bytes > LEAST);
    let keeps_least = async || history_bytes(&aggregator).await.is_some_and(|bytes| bytes <= LEAST);
    eventually("the only pool keeps its whole history", keeps_more).await;
    sets.send_replace(with_large(POOLS.len(), 1));
    eventually("one of eight pools keeps its share", keeps_least).await;
    sets.send_replace(with_large(1, 1));
    eventually("the other pools are gone", async || aggregator.pool_statuses().len() == 1).await;
    sets.send_replace(with_large(1, 2));
    eventually("the pool keeps more again", keeps_more).await;
    aggregator.stop().await;
}
