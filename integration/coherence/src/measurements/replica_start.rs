//! Measures the time until a new replica knows what its peers know.

use std::time::{Duration, Instant};

use futures_util::stream::{TryStreamExt, iter};

use crate::harness::cluster::{Cluster, ClusterLayout, Replica};
use crate::harness::gateway::GatewayClient;
use crate::harness::machine_load::MachineLoadProbe;
use crate::harness::prompts::body;
use crate::report::{GoalStatus, Section};
use crate::statistics::{largest, median};

const LAYOUT: ClusterLayout =
    ClusterLayout { pods: 100, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 1, replicas: 2 };

/// Number and length of the known prompts: 100 pods with 4,096 blocks each.
const PROMPTS: u64 = 3_200;
const BLOCKS: usize = 128;

/// Number of concurrent requests while the index is filled.
const CONCURRENCY: usize = 16;

const REPETITIONS: u64 = 5;

/// Number of prompts used to compare hit rates.
const PROBE_PROMPTS: u64 = 100;

/// Maximum difference between hit rates that count as equal.
const TOLERANCE: f64 = 0.01;

/// Time after which the measurement stops waiting.
const TIMEOUT: Duration = Duration::from_secs(20);

const GOAL_S: f64 = 5.0;

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut cluster = Cluster::start(LAYOUT).await?;
    let gateways = cluster.gateways().await?;
    fill(&gateways).await?;
    let blocks =
        cluster.metrics(&cluster.replicas[0].service).await?.sum("signalbox_epp_index_blocks").unwrap_or(0.0);
    let probe = MachineLoadProbe::start()?;
    let mut starts = Vec::new();
    for number in 0..REPETITIONS {
        starts.push(start_replica(&mut cluster, &gateways[0], number).await?);
    }
    let mut section = Section::new("Start of a replica");
    section.add("pods; distinct prompt blocks in the index", format!("{}, {blocks:.0}", LAYOUT.pods));
    let of = |figure: fn(&Start) -> f64| starts.iter().map(figure).collect::<Vec<_>>();
    let format_times = |values: &[f64]| format!("{:.2} s, {:.2} s", median(values), largest(values));
    section.add(
        format!("process start to ready, median and maximum of {REPETITIONS}"),
        format_times(&of(|start| start.ready_s)),
    );
    let warm_s = of(|start| start.warm_s);
    let (goal, status) = (format!("≤ {GOAL_S} s"), GoalStatus::at_most(largest(&warm_s), GOAL_S));
    section.add_with_goal(
        format!("process start to {PROBE_PROMPTS} known prompts routed at the hit rate of a peer"),
        format_times(&warm_s),
        &goal,
        status,
    );
    let rates = (median(&of(|start| start.hit_rate)), median(&of(|start| start.peer_hit_rate)));
    section.add(
        "hit rate then; hit rate of a peer for the same prompts",
        format!("{:.4}, {:.4}", rates.0, rates.1),
    );
    let megabytes = median(&of(|start| start.down_bytes)) / 1e6;
    section.add("bytes sent to the replica until then", format!("{megabytes:.1} MB"));
    section.note(format!("{}.", probe.end()?));
    Ok(section)
}

/// Has every prompt placed once.
async fn fill(gateways: &[GatewayClient]) -> anyhow::Result<()> {
    let requests = (0..PROMPTS).map(|number| {
        let gateway = gateways[number as usize % gateways.len()].clone();
        Ok(async move { gateway.route(body(number, BLOCKS, 0, 0)).await?.finish().await })
    });
    iter(requests).try_buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Result of one start.
struct Start {
    ready_s: f64,
    warm_s: f64,
    hit_rate: f64,
    peer_hit_rate: f64,
    down_bytes: f64,
}

async fn start_replica(cluster: &mut Cluster, peer: &GatewayClient, number: u64) -> anyhow::Result<Start> {
    let mut replica = cluster.new_replica().await?;
    let start = Instant::now();
    replica.service.start(&cluster.scratch).await?;
    let ready_s = start.elapsed().as_secs_f64();
    let gateway = GatewayClient::connect(replica.ext_proc).await?;
    let mut first = number * 1_000;
    loop {
        let hit_rate = hit_rate(cluster, &replica, &gateway, first).await?;
        let warm_s = start.elapsed().as_secs_f64();
        let peer_hit_rate = self::hit_rate(cluster, &cluster.replicas[0], peer, first).await?;
        if hit_rate >= peer_hit_rate - TOLERANCE || start.elapsed() > TIMEOUT {
            let down_bytes =
                replica.aggregator_proxy.as_ref().map_or(0, |proxy| proxy.transferred().down_bytes) as f64;
            replica.service.terminate().await?;
            return Ok(Start { ready_s, warm_s, hit_rate, peer_hit_rate, down_bytes });
        }
        first += PROBE_PROMPTS;
    }
}

/// Returns the share of prompt tokens that the picked endpoints hold, for known prompts beginning with number
/// `first`.
async fn hit_rate(
    cluster: &Cluster,
    replica: &Replica,
    gateway: &GatewayClient,
    first: u64,
) -> anyhow::Result<f64> {
    let before = tokens(cluster, replica).await?;
    for number in first..first + PROBE_PROMPTS {
        gateway.route(body(number * 7 % PROMPTS, BLOCKS, 0, 0)).await?.finish().await?;
    }
    let after = tokens(cluster, replica).await?;
    Ok((after.1 - before.1) / (after.0 - before.0))
}

/// Returns the counters of all prompt tokens and of those that the picked endpoints held.
async fn tokens(cluster: &Cluster, replica: &Replica) -> anyhow::Result<(f64, f64)> {
    let page = cluster.metrics(&replica.service).await?;
    let value = |name: &str| page.sum(&format!("signalbox_epp_{name}_total")).unwrap_or(0.0);
    Ok((value("prompt_tokens"), value("matched_prompt_tokens")))
}
