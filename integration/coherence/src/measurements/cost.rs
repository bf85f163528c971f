//! Measures the cost of sharing state between replicas: bytes, and CPU time of the owner.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use signalbox_integration::eventually;

use crate::harness::cluster::{Cluster, ClusterLayout};
use crate::harness::counting_proxy::TransferredBytes;
use crate::harness::gateway::GatewayClient;
use crate::harness::load_generator::{LoadGenerator, RequestEnd};
use crate::harness::machine_load::{MachineLoad, MachineLoadProbe};
use crate::harness::procfs::CpuUsage;
use crate::harness::prompts::body;
use crate::report::{GoalStatus, Section};
use crate::statistics::linear_regression;

/// The last replica serves no requests; it only receives the other replicas' state.
const LAYOUT: ClusterLayout =
    ClusterLayout { pods: 16, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 1, replicas: 3 };

/// At the first rate two requests rarely share a frame; at the second some do.
const RATES: [f64; 2] = [20.0, 200.0];

/// Numbers of new blocks at the end of a prompt.
const NEW_BLOCKS: [usize; 4] = [0, 16, 64, 256];

/// Number of known prompts. They have 64 to 127 blocks, and most do not end where a single block can identify
/// the chain.
const CONVERSATIONS: u64 = 200;

const IDLE_DURATION: Duration = Duration::from_secs(15);
const PHASE_DURATION: Duration = Duration::from_secs(15);

/// How long a request is booked.
const REQUEST_DURATION: Duration = Duration::from_millis(300);

/// Time for messages in transit to arrive after all bookings have ended.
const SETTLE_TIME: Duration = Duration::from_millis(300);

const GOAL_BYTES: f64 = 300.0;
const GOAL_BYTES_PER_BLOCK: f64 = 9.0;

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let cluster = Cluster::start(LAYOUT).await?;
    let gateways = cluster.gateways().await?;
    let served = &gateways[..gateways.len() - 1];
    let warm_up = LoadGenerator {
        per_second: 100.0,
        duration: Duration::from_secs(2),
        end: RequestEnd::After(REQUEST_DURATION),
    };
    let learned = warm_up.run(served, known_request).await?.requests as u64;
    ensure!(learned >= CONVERSATIONS, "only {learned} prompts are known");
    let idle = Meter::start(&cluster)?;
    tokio::time::sleep(IDLE_DURATION).await;
    let idle = idle.end(&cluster, 0)?;
    let mut section = Section::new("Cost");
    section.add(
        "without requests: bytes per second to a replica, from a replica (heartbeats, pod metrics)",
        format!(
            "{:.0} B, {:.0} B",
            idle.to_idle_replica / idle.seconds,
            idle.from_serving_replica / idle.seconds
        ),
    );
    section.add(
        "without requests: CPU time of the owner",
        format!("{:.1} ms per second", idle.owner_ms / idle.seconds),
    );
    for per_second in RATES {
        let mut phases = Vec::new();
        for new_blocks in NEW_BLOCKS {
            phases.push((
                new_blocks,
                phase(&cluster, served, per_second, new_blocks).await?.without_idle(&idle),
            ));
        }
        report(&mut section, per_second, &phases);
    }
    section.note(
        "Bytes of TCP payload, including HTTP/2 and gRPC framing, on the connection between a replica and the owner, minus \
         the traffic without requests. Each request ends 300 ms after it was booked.",
    );
    Ok(section)
}

/// Returns the request with this number, whose prompt is known.
fn known_request(number: u64) -> Bytes {
    body(number % CONVERSATIONS, length(number), 0, 0)
}

fn length(number: u64) -> usize {
    64 + (number % CONVERSATIONS * 37 % 64) as usize
}

fn report(section: &mut Section, per_second: f64, phases: &[(usize, Phase)]) {
    let at = format!("{per_second:.0} requests per second");
    let (_, known_prompts) = &phases[0];
    let each = known_prompts.to_idle_replica / known_prompts.requests;
    let (goal, status) = (format!("≤ {GOAL_BYTES} B"), GoalStatus::at_most(each, GOAL_BYTES));
    section.add_with_goal(
        format!("{at}, known prompts: bytes to a replica per request of any replica"),
        format!("{each:.0} B"),
        &goal,
        status,
    );
    let own = known_prompts.from_serving_replica / (known_prompts.requests / (LAYOUT.replicas - 1) as f64);
    let status = GoalStatus::at_most(own, GOAL_BYTES);
    section.add_with_goal(
        format!("{at}, known prompts: bytes from a replica per own request"),
        format!("{own:.0} B"),
        &goal,
        status,
    );
    let points: Vec<_> = phases
        .iter()
        .map(|(blocks, phase)| (*blocks as f64, phase.to_idle_replica / phase.requests))
        .collect();
    let (_, slope) = linear_regression(&points);
    let (goal, status) =
        (format!("≤ {GOAL_BYTES_PER_BLOCK} B"), GoalStatus::at_most(slope, GOAL_BYTES_PER_BLOCK));
    section.add_with_goal(
        format!("{at}: bytes to a replica per new block"),
        format!("{slope:.2} B"),
        &goal,
        status,
    );
    let cpu = |phase: &Phase| phase.owner_ms * 1e3 / phase.requests;
    let per_booking = phases.iter().map(|(blocks, phase)| format!("{:.0} µs ({blocks})", cpu(phase)));
    section.add(
        format!("{at}: CPU time of the owner per booking and its end (new blocks)"),
        per_booking.collect::<Vec<_>>().join(", "),
    );
    let idle_shares = phases
        .iter()
        .filter_map(|(_, phase)| phase.machine_load)
        .map(|machine_load| format!("{:.0} %", machine_load.idle_share * 100.0));
    section.add(format!("{at}: machine idle"), idle_shares.collect::<Vec<_>>().join(", "));
}

/// Transferred bytes and CPU time of one phase.
#[derive(Clone, Copy, Debug)]
struct Phase {
    seconds: f64,
    requests: f64,
    /// Bytes to the replica that serves no requests.
    to_idle_replica: f64,
    /// Mean bytes from a replica that serves requests.
    from_serving_replica: f64,
    owner_ms: f64,
    machine_load: Option<MachineLoad>,
}

impl Phase {
    /// Subtracts the idle traffic and CPU time.
    fn without_idle(self, idle: &Self) -> Self {
        let share = self.seconds / idle.seconds;
        Self {
            to_idle_replica: self.to_idle_replica - idle.to_idle_replica * share,
            from_serving_replica: self.from_serving_replica - idle.from_serving_replica * share,
            owner_ms: self.owner_ms - idle.owner_ms * share,
            ..self
        }
    }
}

async fn phase(
    cluster: &Cluster,
    gateways: &[GatewayClient],
    per_second: f64,
    new_blocks: usize,
) -> anyhow::Result<Phase> {
    let load =
        LoadGenerator { per_second, duration: PHASE_DURATION, end: RequestEnd::After(REQUEST_DURATION) };
    // Each phase has its own numbers, because a block is new only once.
    let first = (new_blocks as u64) << 40 | (per_second as u64) << 28;
    let (meter, probe) = (Meter::start(cluster)?, MachineLoadProbe::start()?);
    let bodies = |number| body(number % CONVERSATIONS, length(number), first + number, new_blocks);
    let requests = load.run(gateways, bodies).await?.requests;
    let check = async || {
        let booked =
            cluster.metrics(&cluster.aggregators[0]).await?.sum("signalbox_aggregator_in_flight_requests");
        ensure!(booked == Some(0.0), "{booked:?} requests are still booked");
        Ok(())
    };
    eventually("bookings end", check).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    Ok(Phase { machine_load: Some(probe.end()?), ..meter.end(cluster, requests)? })
}

/// A running measurement.
struct Meter {
    start: Instant,
    before: Vec<TransferredBytes>,
    owner_cpu: CpuUsage,
}

impl Meter {
    fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let owner_cpu = CpuUsage::of_process(cluster.aggregators[0].id()?)?;
        Ok(Self { start: Instant::now(), before: transferred(cluster)?, owner_cpu })
    }

    fn end(self, cluster: &Cluster, requests: usize) -> anyhow::Result<Phase> {
        let now = transferred(cluster)?;
        let since: Vec<_> = now.iter().zip(&self.before).map(|(now, before)| now.since(*before)).collect();
        let (idle_replica, serving_replicas) = since.split_last().context("the cluster has no replicas")?;
        let from_all: u64 = serving_replicas.iter().map(|bytes| bytes.up_bytes).sum();
        let owner_cpu = CpuUsage::of_process(cluster.aggregators[0].id()?)?;
        Ok(Phase {
            seconds: self.start.elapsed().as_secs_f64(),
            requests: requests as f64,
            to_idle_replica: idle_replica.down_bytes as f64,
            from_serving_replica: from_all as f64 / serving_replicas.len() as f64,
            owner_ms: owner_cpu.running_time_since(self.owner_cpu).as_secs_f64() * 1e3,
            machine_load: None,
        })
    }
}

fn transferred(cluster: &Cluster) -> anyhow::Result<Vec<TransferredBytes>> {
    let transferred = cluster
        .replicas
        .iter()
        .map(|replica| replica.aggregator_proxy.as_ref().map(|proxy| proxy.transferred()));
    transferred.collect::<Option<_>>().context("a replica has no proxy")
}
