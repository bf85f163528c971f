//! Aggregators whose pools come and go, over real sockets.
#![allow(clippy::unwrap_used)] // test code only

mod follower;
mod history;
mod http;
mod neighbours;
mod removal;
mod signals;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signalbox_aggregator::{
    Aggregator, AggregatorConfig, AutoscalingConfig, PoolSet, PoolSource, PortFlags, SourcedPool,
};
use signalbox_lease::{Coordinator, RegisteredOwner};
use signalbox_peers::{Connections, Fleet, FleetSettings, watch_fleet};
use signalbox_state::PoolConfig;
use signalbox_tls::Security;
use signalbox_types::{EndpointSpec, Engine, MetricsTls, PoolId, PoolSpec};
use signalbox_wire::{Hello, ServedPool};
use tokio::sync::watch;

use crate::follower::Followed;

/// Time limit for conditions that must come true.
const TIMEOUT: Duration = Duration::from_secs(60);

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn config(name: &str, coordinator: Option<&Coordinator>, pool_drain: Duration) -> AggregatorConfig {
    AggregatorConfig {
        name: name.to_owned(),
        advertise: None,
        coordinator: coordinator.cloned(),
        lease_ttl: TIMEOUT,
        takeover_wait: Duration::ZERO,
        failback_after: TIMEOUT,
        pool_drain,
        history_bytes: 64 << 20,
        history_time: Duration::ZERO,
        security: Security::Local,
        listen: ANY_PORT,
        metrics: ANY_PORT,
        autoscaling: AutoscalingConfig::default(),
        pool: PoolConfig::default(),
    }
}

/// Starts an aggregator that serves `pools`.
async fn start(
    name: &str,
    pools: watch::Receiver<PoolSet>,
    coordinator: Option<&Coordinator>,
    pool_drain: Duration,
) -> Aggregator {
    start_with(config(name, coordinator, pool_drain), pools).await
}

async fn start_with(config: AggregatorConfig, pools: watch::Receiver<PoolSet>) -> Aggregator {
    let flags = PortFlags { listen: "--port", metrics: "--metrics-port" };
    Aggregator::start(config, vec![PoolSource::Watched(pools)], flags).await.unwrap()
}

fn id(name: &str) -> PoolId {
    PoolId { namespace: "default".to_owned(), name: name.to_owned() }
}

/// Returns a synced set of pools with one endpoint each, by name and port.
fn set(pools: &[(&str, u16)]) -> PoolSet {
    let sourced = |(name, port): &(&str, u16)| {
        let endpoint = EndpointSpec {
            name: format!("{name}-pod"),
            address: ([127, 0, 0, 1], *port).into(),
            metrics_url: String::new(),
            engine: Engine::Vllm,
            labels: BTreeMap::new(),
            is_draining: false,
            metrics_tls: MetricsTls::Verified,
        };
        let spec = Arc::new(PoolSpec { id: id(name), endpoints: vec![endpoint], models: Arc::default() });
        (id(name), SourcedPool { spec, served: ServedPool { port: Some(*port), created_ms: 7 } })
    };
    PoolSet { is_synced: true, pools: pools.iter().map(sourced).collect() }
}

fn fleet_of(aggregators: &[&Aggregator]) -> watch::Receiver<Fleet> {
    let aggregators = aggregators.iter().map(|aggregator| aggregator.address().into()).collect();
    watch_fleet(FleetSettings {
        name: "replica".to_owned(),
        aggregators,
        connections: Connections::new(Security::Local),
    })
}

/// Waits until the fleet satisfies `is_as_expected`.
async fn wait_for(fleet: &mut watch::Receiver<Fleet>, is_as_expected: impl FnMut(&Fleet) -> bool) -> Fleet {
    let found = tokio::time::timeout(TIMEOUT, fleet.wait_for(is_as_expected)).await;
    found.expect("the fleet did not become as expected").unwrap().clone()
}

/// Repeats `check` until it holds.
async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !check().await {
        assert!(started.elapsed() < TIMEOUT, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn aggregator_is_ready_once_the_pools_are_listed_and_stays_so() {
    let sets = watch::Sender::new(PoolSet { is_synced: false, ..set(&[("early", 9001)]) });
    let aggregator = start("one", sets.subscribe(), None, TIMEOUT).await;
    let ready = async || http::get(aggregator.metrics_address(), "/readyz").await;
    let mut fleet = fleet_of(&[&aggregator]);
    let unsynced = wait_for(&mut fleet, |fleet| !fleet.aggregators.is_empty()).await;
    assert!(!unsynced.is_synced && unsynced.pools.is_empty(), "{unsynced:?}");
    assert_eq!((503, "the pools have not been listed yet".to_owned()), ready().await);
    assert_eq!(200, http::get(aggregator.metrics_address(), "/livez").await.0);
    assert_eq!(0, aggregator.pool_statuses().len(), "a pool may lack endpoints before the set is synced");
    sets.send_replace(set(&[]));
    let synced = wait_for(&mut fleet, |fleet| fleet.is_synced).await;
    assert_eq!((0, vec![aggregator.address().into()]), (synced.pools.len(), synced.aggregators));
    eventually("the aggregator is ready", async || ready().await == (200, "ready".to_owned())).await;
    aggregator.stop().await;
}

#[tokio::test]
async fn pools_come_change_and_go_while_the_aggregator_runs() {
    let sets = watch::Sender::new(set(&[("stays", 9001)]));
    let aggregator = start("one", sets.subscribe(), None, Duration::from_millis(100)).await;
    let mut fleet = fleet_of(&[&aggregator]);
    wait_for(&mut fleet, |fleet| fleet.pools.contains_key(&id("stays"))).await;
    let metrics = async || http::get(aggregator.metrics_address(), "/metrics").await.1;

    // A follower that asks for a pool before it exists gets it as soon as it does.
    let mut follower = Followed::start(&aggregator, &Connections::new(Security::Local), "comes");
    follower.wait("refusal").await;
    sets.send_replace(set(&[("stays", 9001), ("comes", 9002)]));
    follower.wait("endpoint comes-pod").await;
    let fleet_now = wait_for(&mut fleet, |fleet| fleet.pools.len() == 2).await;
    assert_eq!(ServedPool { port: Some(9002), created_ms: 7 }, fleet_now.pools[&id("comes")]);
    assert!(metrics().await.contains("signalbox_aggregator_pools 2"));

    sets.send_replace(set(&[("stays", 9001), ("comes", 9003)]));
    wait_for(&mut fleet, |fleet| fleet.pools[&id("comes")].port == Some(9003)).await;

    // A pool that is gone is kept for a while, and is then stopped: its streams end and its series vanish.
    sets.send_replace(set(&[("stays", 9001)]));
    wait_for(&mut fleet, |fleet| fleet.pools.len() == 1).await;
    follower.wait("closed").await;
    eventually("the series vanish", async || {
        let page = metrics().await;
        !page.contains("default/comes") && page.contains("default/stays")
    })
    .await;

    sets.send_replace(set(&[("stays", 9001), ("comes", 9002)]));
    follower.wait("endpoint comes-pod").await;
    aggregator.stop().await;
}

#[tokio::test]
async fn pool_that_is_gone_is_released_and_one_that_comes_back_in_time_goes_on() {
    let coordinator = Coordinator::in_process();
    let sets = watch::Sender::new(set(&[("a", 9001)]));
    let aggregator = start("one", sets.subscribe(), Some(&coordinator), Duration::from_millis(200)).await;
    let mut owner = coordinator.owner(&id("a"));
    let is_owned = |owner: &RegisteredOwner| matches!(owner, RegisteredOwner::Owned(_));
    let first = owner.wait_for(is_owned).await.unwrap().clone();
    let mut follower = Followed::start(&aggregator, &Connections::new(Security::Local), "a");
    follower.wait("endpoint a-pod").await;
    let mut fleet = fleet_of(&[&aggregator]);
    wait_for(&mut fleet, |fleet| fleet.pools.len() == 1).await;
    sets.send_replace(set(&[]));
    wait_for(&mut fleet, |fleet| fleet.pools.is_empty()).await;
    sets.send_replace(set(&[("a", 9001)]));
    wait_for(&mut fleet, |fleet| fleet.pools.len() == 1).await;
    assert_eq!(first, *owner.borrow_and_update(), "the owner did not change");
    sets.send_replace(set(&[]));
    owner.wait_for(|owner| matches!(owner, RegisteredOwner::Nobody)).await.unwrap();
    assert_eq!(0, aggregator.pool_statuses().len());
    sets.send_replace(set(&[("a", 9001)]));
    owner.wait_for(is_owned).await.unwrap();
    aggregator.stop().await;
}

#[tokio::test]
async fn fleet_names_the_live_aggregators_and_survives_them() {
    let coordinator = Coordinator::in_process();
    let (one_sets, other_sets) =
        (watch::Sender::new(set(&[("a", 9001)])), watch::Sender::new(set(&[("a", 9001)])));
    let one = start("one", one_sets.subscribe(), Some(&coordinator), TIMEOUT).await;
    let other = start("other", other_sets.subscribe(), Some(&coordinator), TIMEOUT).await;
    // Only one is given: the other is named by it.
    let mut fleet = fleet_of(&[&one]);
    wait_for(&mut fleet, |fleet| fleet.is_synced && fleet.aggregators.len() == 2).await;
    other_sets.send_replace(set(&[("a", 9001), ("b", 9002)]));
    wait_for(&mut fleet, |fleet| fleet.pools.len() == 2).await;
    one.stop().await;
    let rest = wait_for(&mut fleet, |fleet| fleet.aggregators == [other.address().into()]).await;
    assert_eq!(2, rest.pools.len());
    let last = other.address();
    other.stop().await;
    // Nobody is left to ask: the last known fleet stays.
    let still_known = fleet.borrow().clone();
    assert_eq!((2, vec![last.into()]), (still_known.pools.len(), still_known.aggregators));
}

#[tokio::test]
async fn streams_of_many_pools_share_one_connection() {
    // More than an HTTP/2 server allows on one connection by default.
    let names: Vec<String> = (0..256).map(|number| format!("pool-{number}")).collect();
    let pools: Vec<_> = names.iter().zip(9001..).map(|(name, port)| (name.as_str(), port)).collect();
    let sets = watch::Sender::new(set(&pools));
    let aggregator = start("one", sets.subscribe(), None, TIMEOUT).await;
    let connections = Connections::new(Security::Local);
    let mut followers: Vec<_> =
        names.iter().map(|name| Followed::start(&aggregator, &connections, name)).collect();
    for (follower, name) in followers.iter_mut().zip(&names) {
        follower.wait(&format!("endpoint {name}-pod")).await;
    }
    aggregator.stop().await;
}
