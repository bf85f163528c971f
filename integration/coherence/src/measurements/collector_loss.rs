//! Measures how soon other collectors report the pods of a killed one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use signalbox_integration::{Client, eventually, write_endpoints};
use signalbox_types::EndpointKey;

use crate::harness::cluster::{Cluster, ClusterLayout};
use crate::harness::counting_proxy::CountingProxy;
use crate::harness::follower::{ObservedChange, PoolFollower};
use crate::harness::machine_load::MachineLoadProbe;
use crate::report::{GoalStatus, Section};
use crate::statistics::{largest, median};

const LAYOUT: ClusterLayout =
    ClusterLayout { pods: 100, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 2, replicas: 1 };

const REPETITIONS: u32 = 5;

/// Time after which missing reports count as lost.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Idle time before a collector is killed.
const SETTLE_TIME: Duration = Duration::from_secs(2);

const GOAL_S: f64 = 3.0;

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut cluster = Cluster::start(LAYOUT).await?;
    let proxies = start_proxies(&cluster).await?;
    let mut follower = PoolFollower::follow(&cluster.addresses);
    let probe = MachineLoadProbe::start()?;
    let mut losses = Vec::new();
    for number in 1..=REPETITIONS {
        losses.push(lose_collector(&mut cluster, &proxies, &mut follower, number).await?);
    }
    let of = |figure: fn(&Loss) -> f64| losses.iter().map(figure).collect::<Vec<_>>();
    let (times_s, moved, kept) = (of(|loss| loss.time_s), of(|loss| loss.moved), of(|loss| loss.kept));
    let mut section = Section::new("Loss of a collector");
    section.add(
        "pods; pods of the collector that is killed (one of 2)",
        format!("{}, {:.0}", LAYOUT.pods, median(&moved)),
    );
    section.add(
        format!("SIGKILL to all its pods reported by the other collector, median of {REPETITIONS}"),
        format!("{:.2} s", median(&times_s)),
    );
    let (goal, status) = (format!("≤ {GOAL_S} s"), GoalStatus::at_most(largest(&times_s), GOAL_S));
    section.add_with_goal("the same, maximum", format!("{:.2} s", largest(&times_s)), &goal, status);
    let reconnected = largest(&of(|loss| loss.reconnected));
    let measured = format!("{reconnected:.0} of {:.0}", median(&kept));
    section.add_with_goal(
        "pods of the other collector that were connected to again",
        measured,
        "0",
        GoalStatus::at_most(reconnected, 0.0),
    );
    section.note(format!("{}.", probe.end()?));
    Ok(section)
}

/// Starts a proxy in front of each pod and lists the pods with the proxies' addresses. Returns the proxies by
/// pod name.
async fn start_proxies(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, CountingProxy>> {
    let mut proxies = BTreeMap::new();
    for (name, address) in cluster.fleet.pods() {
        proxies.insert(name.clone(), CountingProxy::start(address.parse()?).await?);
    }
    let endpoints: Vec<_> = proxies.iter().map(|(name, proxy)| (name, proxy.address().to_string())).collect();
    write_endpoints(
        &cluster.scratch,
        endpoints.iter().map(|(name, address)| (name.as_str(), address.as_str())),
    )?;
    Ok(proxies)
}

/// Result of one kill.
struct Loss {
    time_s: f64,
    moved: f64,
    kept: f64,
    /// Number of pods of the surviving collector to which a new connection was opened.
    reconnected: f64,
}

async fn lose_collector(
    cluster: &mut Cluster,
    proxies: &BTreeMap<String, CountingProxy>,
    follower: &mut PoolFollower,
    number: u32,
) -> anyhow::Result<Loss> {
    wait_until_distributed(cluster, proxies).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    let before: BTreeMap<_, _> = proxies.iter().map(|(name, proxy)| (name, proxy.connections())).collect();
    follower.drain();
    let start = Instant::now();
    cluster.collectors[1].kill()?;
    // From now on the pods report a different value, which shows that a report is based on a scrape after the
    // kill.
    try_join_all(
        cluster.fleet.pods().iter().map(|(_, address)| set_waiting(&cluster.client, address, number)),
    )
    .await?;
    let mut left: Vec<EndpointKey> = proxies.keys().map(|name| EndpointKey::of(name)).collect();
    let mut reported = BTreeMap::new();
    let all = follower.wait(TIMEOUT, |observation| {
        if let ObservedChange::EndpointObserved { endpoint, waiting } = observation.change
            && waiting == number
        {
            reported.entry(endpoint).or_insert(observation.at);
            left.retain(|wanted| *wanted != endpoint);
        }
        left.is_empty().then_some(())
    });
    all.await.context("not all pods are reported in time")?;
    let (mut loss, mut last) = (Loss { time_s: 0.0, moved: 0.0, kept: 0.0, reconnected: 0.0 }, start);
    for (name, proxy) in proxies {
        let ((opened, closed), (opened_before, closed_before)) = (proxy.connections(), before[name]);
        if closed == closed_before {
            loss.kept += 1.0;
            loss.reconnected += if opened == opened_before { 0.0 } else { 1.0 };
        } else {
            loss.moved += 1.0;
            last = last.max(reported[&EndpointKey::of(name)]);
        }
    }
    loss.time_s = (last - start).as_secs_f64();
    cluster.collectors[1].start(&cluster.scratch).await?;
    Ok(loss)
}

/// Waits until each pod is scraped by exactly one collector and both collectors have some.
async fn wait_until_distributed(
    cluster: &Cluster,
    proxies: &BTreeMap<String, CountingProxy>,
) -> anyhow::Result<()> {
    cluster.wait_until_fresh(LAYOUT.pods).await?;
    let check = async || {
        let mut counts = Vec::new();
        for collector in &cluster.collectors {
            counts
                .push(cluster.metrics(collector).await?.sum("signalbox_collector_endpoints").unwrap_or(0.0));
        }
        let all: f64 = counts.iter().sum();
        ensure!(
            all == LAYOUT.pods as f64 && counts.iter().all(|count| *count > 0.0),
            "the collectors have {counts:?} pods"
        );
        let scraped_once = proxies.values().filter(|proxy| {
            let (opened, closed) = proxy.connections();
            opened == closed + 1
        });
        let scraped_once = scraped_once.count();
        ensure!(scraped_once == LAYOUT.pods, "{scraped_once} pods have exactly one connection");
        Ok(())
    };
    eventually("both collectors scrape pods", check).await
}

async fn set_waiting(client: &Client, address: &str, waiting: u32) -> anyhow::Result<()> {
    let faults = serde_json::json!({ "waiting": waiting }).to_string();
    client.post(&format!("http://{address}/admin/faults"), Bytes::from(faults)).await?.ok()?;
    Ok(())
}
