//! Reads the status of all processes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::{join_all, join5};
use signalbox_integration::{Client, Envoy, GatewayReplica, MetricsPage};

use super::cluster_status::ClusterStatus;
use super::process_status::{AggregatorStatus, CollectorStatus, PodStatus, ReplicaStatus};
use super::reading::Reading;
use super::tenure::Tenure;
use crate::process_id::ProcessId;

/// The values of a process that does not respond within this time are unknown.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The pause between two attempts while waiting for a condition.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The addresses to observe.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    pub(crate) client: Client,
    pub(crate) envoy: Arc<Envoy>,
    /// The metrics pages.
    pub(crate) replicas: Vec<SocketAddr>,
    pub(crate) aggregators: Vec<SocketAddr>,
    pub(crate) collectors: Vec<SocketAddr>,
    /// The ext-proc port of each replica.
    pub(crate) ext_proc: Vec<SocketAddr>,
    /// The address of the first pod.
    pub(crate) pod: String,
}

impl Observer {
    /// Reads the status of all processes.
    pub(crate) async fn status(&self) -> ClusterStatus {
        let pod = [self.pod.clone()];
        let (replicas, aggregators, collectors, gateway, mut pod) = join5(
            self.replicas(),
            self.read(&self.aggregators, AggregatorStatus::from_page),
            self.read(&self.collectors, CollectorStatus::from_page),
            self.gateway(),
            self.read(&pod, PodStatus::from_page),
        )
        .await;
        ClusterStatus { replicas, aggregators, collectors, gateway, pod: pod.remove(0) }
    }

    /// Reads the status of all replicas.
    pub(super) async fn replicas(&self) -> Vec<Reading<ReplicaStatus>> {
        self.read(&self.replicas, ReplicaStatus::from_page).await
    }

    /// Reads the metrics pages at these addresses.
    async fn read<T>(
        &self,
        addresses: &[impl ToString],
        from_page: fn(&MetricsPage) -> anyhow::Result<T>,
    ) -> Vec<Reading<T>> {
        let pages = join_all(addresses.iter().map(|address| self.metrics_page(address.to_string()))).await;
        pages.iter().map(|page| Reading::new(page.as_ref().map(from_page))).collect()
    }

    async fn metrics_page(&self, address: String) -> Option<MetricsPage> {
        tokio::time::timeout(RESPONSE_TIMEOUT, self.client.metrics(&address)).await.ok()?.ok()
    }

    /// Reads what Envoy knows about each replica.
    async fn gateway(&self) -> Reading<Vec<GatewayReplica>> {
        let page = tokio::time::timeout(RESPONSE_TIMEOUT, self.envoy.replicas(&self.client)).await;
        let Ok(replicas) = page else { return Reading::Silent };
        let of_each = replicas.and_then(|replicas| {
            let of = |address| {
                replicas.get(address).copied().with_context(|| format!("Envoy does not know {address}"))
            };
            self.ext_proc.iter().map(of).collect()
        });
        Reading::new(Some(of_each))
    }

    /// Returns how many ext-proc streams through replica `index` Envoy has open.
    ///
    /// # Errors
    /// Fails when Envoy does not say.
    pub(crate) async fn streams_through(&self, index: usize) -> anyhow::Result<u64> {
        Ok(self.gateway().await.require(ProcessId::Envoy)?[index].open_streams)
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
        self.wait_for(within, |status| condition(status).map(|()| Instant::now())).await
    }

    /// Waits until the pool has an owner that will not hand it back to the preferred aggregator.
    ///
    /// # Errors
    /// Fails when there is none in time.
    pub(crate) async fn wait_until_settled(&self, within: Duration, pods: usize) -> anyhow::Result<()> {
        let (started, mut tenure) = (Instant::now(), Tenure::default());
        loop {
            let status = self.status().await;
            let owner = status.check_healthy(pods).and_then(|()| status.owner_and_epoch());
            let settled = match owner {
                Ok(owner) => tenure.check_settled(owner, Instant::now()),
                Err(error) => {
                    tenure.reset();
                    Err(error)
                }
            };
            match settled {
                Ok(()) => return Ok(()),
                Err(error) if started.elapsed() > within => return Err(error),
                Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Waits until `find` finds something in the status, and returns it.
    ///
    /// # Errors
    /// Fails with the last error of `find` when it finds nothing in time.
    pub(crate) async fn wait_for<T>(
        &self,
        within: Duration,
        find: impl Fn(&ClusterStatus) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        loop {
            match find(&self.status().await) {
                Ok(found) => return Ok(found),
                Err(error) if started.elapsed() > within => return Err(error),
                Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }
}
