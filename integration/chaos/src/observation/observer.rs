//! Reads the status of all processes, once or continuously.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all, join3};
use signalbox_integration::{Client, Envoy, MetricsPage};
use tokio::task::JoinHandle;

use super::cluster_status::{AggregatorStatus, ClusterStatus, ReplicaStatus};

/// A process that does not respond within this time counts as down.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The pause between two attempts while waiting for a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The pause between two samples of the monitor.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// The addresses to observe.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    pub(crate) client: Client,
    pub(crate) envoy: Arc<Envoy>,
    pub(crate) replicas: Vec<SocketAddr>,
    pub(crate) aggregators: Vec<SocketAddr>,
}

impl Observer {
    /// Reads the status of all processes.
    pub(crate) async fn status(&self) -> ClusterStatus {
        let (replicas, aggregators, healthy) = join3(
            self.replicas(),
            join_all(self.aggregators.iter().map(|address| self.metrics_page(*address))),
            self.envoy.healthy_replicas(&self.client),
        )
        .await;
        let aggregators = aggregators.iter().map(|page| page.as_ref().map(AggregatorStatus::from_page));
        let healthy_replicas = healthy.unwrap_or(0);
        ClusterStatus { replicas, aggregators: aggregators.collect(), healthy_replicas }
    }

    async fn replicas(&self) -> Vec<Option<ReplicaStatus>> {
        let pages = join_all(self.replicas.iter().map(|address| self.metrics_page(*address))).await;
        pages.iter().map(|page| page.as_ref().map(ReplicaStatus::from_page)).collect()
    }

    async fn metrics_page(&self, address: SocketAddr) -> Option<MetricsPage> {
        let address = address.to_string();
        tokio::time::timeout(RESPONSE_TIMEOUT, self.client.metrics(&address)).await.ok()?.ok()
    }

    /// Waits until `condition` is true, and returns when it was.
    ///
    /// # Errors
    /// Fails with the last error of `condition` when it does not become true in time.
    pub(crate) async fn wait_until(
        &self,
        within: Duration,
        condition: impl Fn(&ClusterStatus) -> anyhow::Result<()>,
    ) -> anyhow::Result<Instant> {
        let started = Instant::now();
        loop {
            match condition(&self.status().await) {
                Ok(()) => return Ok(Instant::now()),
                Err(error) if started.elapsed() > within => return Err(error),
                Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }
}

/// What was observed during a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observations {
    /// The time from the start of the fault until all replicas that respond follow an owner with a higher
    /// epoch.
    pub(crate) failover: Option<Duration>,
    /// Values that are never possible.
    pub(crate) impossible: Vec<String>,
    /// The most aggregators that owned the pool at once.
    pub(crate) owners: usize,
    /// The most replicas that were degraded at once.
    pub(crate) degraded: usize,
    /// The most replicas that Envoy considered unhealthy at once.
    pub(crate) unhealthy: usize,
    /// The lowest number of pods of which a replica had fresh values; `None` before the first sample.
    pub(crate) fewest_pods: Option<f64>,
}

impl Observations {
    fn add(&mut self, status: &ClusterStatus) {
        let replicas = || status.replicas.iter().flatten();
        let owners = status.aggregators.iter().flatten().filter(|aggregator| aggregator.owner > 0.0);
        self.impossible.extend(status.impossible_values());
        self.owners = self.owners.max(owners.count());
        self.degraded = self.degraded.max(replicas().filter(|replica| replica.degraded > 0.0).count());
        self.unhealthy = self.unhealthy.max(status.replicas.len().saturating_sub(status.healthy_replicas));
        let pods = replicas().map(|replica| replica.fresh_pods).chain(self.fewest_pods);
        self.fewest_pods = pods.reduce(f64::min);
    }
}

/// Collects observations in the background until it is stopped.
#[derive(Debug)]
pub(crate) struct Monitor {
    observations: Arc<Mutex<Observations>>,
    task: JoinHandle<()>,
}

impl Monitor {
    /// Starts observing. `epoch` is the owner's epoch at this time.
    pub(crate) fn start(observer: Observer, epoch: f64) -> Self {
        let observations = Arc::new(Mutex::new(Observations::default()));
        let shared = Arc::clone(&observations);
        let task = tokio::spawn(async move {
            join(observe_failover(&observer, epoch, &shared), observe_status(&observer, &shared)).await;
        });
        Self { observations, task }
    }

    /// Stops observing and returns the observations.
    pub(crate) fn stop(self) -> Observations {
        self.task.abort();
        self.observations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn observe_failover(observer: &Observer, epoch: f64, observations: &Mutex<Observations>) {
    let started = Instant::now();
    loop {
        let replicas: Vec<ReplicaStatus> = observer.replicas().await.into_iter().flatten().collect();
        if !replicas.is_empty() && replicas.iter().all(|replica| replica.state.epoch > epoch) {
            observations.lock().unwrap_or_else(PoisonError::into_inner).failover = Some(started.elapsed());
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn observe_status(observer: &Observer, observations: &Mutex<Observations>) {
    loop {
        let status = observer.status().await;
        observations.lock().unwrap_or_else(PoisonError::into_inner).add(&status);
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
}
