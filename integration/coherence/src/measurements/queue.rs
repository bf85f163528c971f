//! Measures how soon a request that waits gets a place that becomes free, and what requests that wait cost.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use signalbox_integration::eventually;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::harness::cluster::{Cluster, ClusterLayout};
use crate::harness::gateway::{BookedRequest, GatewayClient, finish_all};
use crate::harness::machine_load::MachineLoadProbe;
use crate::harness::procfs::resident_bytes;
use crate::harness::prompts::body;
use crate::report::{GoalStatus, Section};
use crate::statistics::quantile;

const LAYOUT: ClusterLayout =
    ClusterLayout { pods: 4, kv_capacity_tokens: 524_288, aggregators: 1, collectors: 1, replicas: 2 };

/// Counts requests, so that a place becomes free exactly when a request ends: four pods with 64 places each. Nothing is
/// refused.
const CONFIG: &str = "\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- type: active-request-scorer
- { name: places, type: concurrency-detector, parameters: { concurrencyMode: requests, maxConcurrency: 64 } }
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: active-request-scorer }] }]
flowControl:
  defaultRequestTTL: 0s
  saturationDetector: { pluginRef: places }
  defaultPriorityBand: { maxRequests: 100000 }
";

const PLACES: usize = 4 * 64;

/// A request that gets no place within this time waits.
const WAITS_AFTER: Duration = Duration::from_millis(500);

/// How many requests wait while the time to the next start is measured.
const QUEUED: usize = 128;

/// Places that become free before the first one that counts: replicas that have just filled the pool may have admitted a few
/// requests too many.
const WARM_UP: usize = 50;
const SAMPLES: usize = 1_000;

/// The pause before a place becomes free, in milliseconds: it varies, so that places do not keep step with what is sent
/// periodically.
const PAUSE_MS: (u64, u64) = (3, 17);

/// How many requests wait when their memory is measured. Their prompts have 4 KB and share nothing.
const BACKLOG: usize = 10_000;
const BLOCKS: usize = 16;

/// A request starts within this time.
const STARTS_WITHIN: Duration = Duration::from_secs(600);

const P50_GOAL_MS: f64 = 5.0;
const P99_GOAL_MS: f64 = 12.0;

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let cluster = Cluster::start_with(LAYOUT, &[("--config-text", CONFIG)]).await?;
    let mut queue =
        Queue { gateways: cluster.gateways().await?, sent: 0, requests: JoinSet::new(), started: Vec::new() };
    let mut section = Section::new("Flow control");
    let probe = MachineLoadProbe::start()?;
    let at_once_ms = queue.start_at_once().await?;
    queue.fill().await?;
    let delays_ms = queue.hand_over().await?;
    section.add("pods; places; replicas", format!("{}, {PLACES}, {}", LAYOUT.pods, LAYOUT.replicas));
    section.add("answer to a request that need not wait, p50, p99", format_ms(&at_once_ms));
    let (p50, p99) = (quantile(&delays_ms, 0.5), quantile(&delays_ms, 0.99));
    let goal = format!("≤ {P50_GOAL_MS} ms, {P99_GOAL_MS} ms");
    let status = match p50 <= P50_GOAL_MS {
        true => GoalStatus::at_most(p99, P99_GOAL_MS),
        false => GoalStatus::Missed,
    };
    let name = format!("end of a request to the start of the next one, p50, p99 of {SAMPLES}, {QUEUED} wait");
    section.add_with_goal(name, format_ms(&delays_ms), &goal, status);
    section.note(format!("Until here: {}.", probe.end()?));
    let probe = MachineLoadProbe::start()?;
    let bytes = queue.build_backlog(&cluster).await? / BACKLOG as f64;
    section.add(
        format!("memory of a replica for each of {BACKLOG} waiting requests of 4 KB"),
        format!("{:.1} KB", bytes / 1e3),
    );
    let rate = queue.drain().await?;
    section.add("requests that start per second if each ends at once", format!("{rate:.0}"));
    section.note(format!("After that: {}.", probe.end()?));
    Ok(section)
}

fn format_ms(values: &[f64]) -> String {
    format!("{:.2} ms, {:.2} ms", quantile(values, 0.5), quantile(values, 0.99))
}

/// The requests that were sent to all replicas in turn.
struct Queue {
    gateways: Vec<GatewayClient>,
    sent: u64,
    /// Those that have not started.
    requests: JoinSet<anyhow::Result<BookedRequest>>,
    /// Those that have started and hold their places.
    started: Vec<BookedRequest>,
}

impl Queue {
    fn send(&mut self) {
        let gateway = self.gateways[self.sent as usize % self.gateways.len()].clone();
        let body = body(0, 0, self.sent, BLOCKS);
        self.sent += 1;
        self.requests.spawn(async move { gateway.route_within(body, STARTS_WITHIN).await });
    }

    /// Returns the next request that starts.
    async fn next(&mut self) -> anyhow::Result<BookedRequest> {
        self.requests.join_next().await.context("no request is left")?.context("a request task panicked")?
    }

    /// Returns how long requests take to start that need not wait, in milliseconds.
    async fn start_at_once(&mut self) -> anyhow::Result<Vec<f64>> {
        let mut took_ms = Vec::new();
        for _ in 0..SAMPLES {
            let sent_at = Instant::now();
            self.send();
            let booked = self.next().await?;
            took_ms.push(ms_between(sent_at, booked.routed_at)?);
            booked.finish().await?;
        }
        Ok(took_ms)
    }

    /// Takes all places.
    async fn fill(&mut self) -> anyhow::Result<()> {
        while self.started.len() < 2 * PLACES {
            self.send();
            match timeout(WAITS_AFTER, self.next()).await {
                Ok(started) => self.started.push(started?),
                Err(_) => return Ok(()),
            }
        }
        anyhow::bail!("{} requests got a place, but there are {PLACES}", self.started.len())
    }

    /// Ends one request at a time and returns after how many milliseconds the next one started.
    async fn hand_over(&mut self) -> anyhow::Result<Vec<f64>> {
        (0..QUEUED).for_each(|_| self.send());
        sleep(WAITS_AFTER).await;
        let mut delays_ms = Vec::new();
        for number in 0..WARM_UP + SAMPLES {
            self.send();
            let (least, most) = PAUSE_MS;
            sleep(Duration::from_millis(least + number as u64 * 7 % (most - least))).await;
            let ended = self.started.swap_remove(number * 31 % self.started.len());
            let ended_at = Instant::now();
            let next = timeout(WAITS_AFTER, self.next());
            let (finished, next) = tokio::join!(ended.finish(), next);
            finished?;
            match next {
                Ok(next) => {
                    let next = next?;
                    if number >= WARM_UP {
                        delays_ms.push(ms_between(ended_at, next.routed_at)?);
                    }
                    self.started.push(next);
                }
                Err(_) => ensure!(number < WARM_UP, "a place stayed free"),
            }
        }
        Ok(delays_ms)
    }

    /// Lets a backlog wait, and returns by how many bytes the replicas' memory grew.
    async fn build_backlog(&mut self, cluster: &Cluster) -> anyhow::Result<f64> {
        let memory = || {
            let ids = cluster.replicas.iter().map(|replica| replica.service.id());
            ids.map(|id| Ok(resident_bytes(id?)? as f64)).sum::<anyhow::Result<f64>>()
        };
        let before = memory()?;
        for _ in 0..BACKLOG {
            self.send();
            // Lets the requests be sent meanwhile.
            tokio::task::yield_now().await;
        }
        let expected = self.requests.len() as f64;
        let all_wait = async || {
            let mut waiting = 0.0;
            for replica in &cluster.replicas {
                let page = cluster.metrics(&replica.service).await?;
                waiting += page.sum("llm_d_epp_flow_control_queue_size").unwrap_or(0.0);
            }
            ensure!(waiting == expected, "{waiting} of {expected} requests wait");
            Ok(())
        };
        eventually("all requests wait", all_wait).await?;
        Ok(memory()? - before)
    }

    /// Ends each request as soon as it starts, and returns how many started per second.
    async fn drain(&mut self) -> anyhow::Result<f64> {
        let (count, began) = (self.requests.len(), Instant::now());
        let mut ends = JoinSet::new();
        let started = std::mem::take(&mut self.started);
        ends.spawn(finish_all(started));
        let mut last = began;
        while !self.requests.is_empty() {
            let booked = self.next().await?;
            last = last.max(booked.routed_at);
            ends.spawn(booked.finish());
        }
        while let Some(end) = ends.join_next().await {
            end.context("a request task panicked")??;
        }
        Ok(count as f64 / (last - began).as_secs_f64())
    }
}

fn ms_between(from: Instant, to: Instant) -> anyhow::Result<f64> {
    let time = to.checked_duration_since(from).context("a request started that had no place")?;
    Ok(time.as_secs_f64() * 1e3)
}
