//! Which aggregator owns the pool, and what the replicas hear of it. For scenes with one pool.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use signalbox_integration::{Client, MetricsPage, eventually};
use signalbox_kubernetes_tests::{Scene, metrics_address};

/// The pods that know the owner, as they were at one time: they can be asked while the API server is away.
pub(crate) struct Owners {
    client: Client,
    pub(crate) aggregators: Vec<Value>,
    replicas: Vec<Value>,
}

impl Owners {
    /// Finds the aggregators and the replicas.
    pub(crate) async fn find(scene: &Scene) -> anyhow::Result<Self> {
        let (aggregators, replicas) = (scene.component("aggregator").await?, scene.component("epp").await?);
        Ok(Self { client: Client::new(), aggregators, replicas })
    }

    /// Reads the metrics page of a pod.
    pub(crate) async fn metrics(&self, pod: &Value) -> anyhow::Result<MetricsPage> {
        self.client.metrics(&metrics_address(pod)?).await
    }

    /// Waits until exactly one aggregator owns the pool and all replicas hear it. Returns it.
    pub(crate) async fn settled(&self) -> anyhow::Result<&Value> {
        eventually("one aggregator owns the pool, and is heard", async || {
            let owners = self.owners().await?;
            let [owner] = owners[..] else { bail!("{} aggregators own the pool", owners.len()) };
            let epoch = self.metrics(owner).await?.sum("signalbox_aggregator_epoch");
            for replica in &self.replicas {
                let page = self.metrics(replica).await?;
                let heard = (page.sum("signalbox_epp_view_epoch"), page.sum("signalbox_epp_degraded"));
                ensure!(heard == (epoch, Some(0.0)), "a replica hears {heard:?}, the epoch is {epoch:?}");
            }
            Ok(owner)
        })
        .await
    }

    /// Returns the lowest epoch of the states from which the replicas decide.
    pub(crate) async fn epoch(&self) -> anyhow::Result<f64> {
        let mut lowest = f64::INFINITY;
        for replica in &self.replicas {
            let epoch = self.metrics(replica).await?.sum("signalbox_epp_view_epoch");
            lowest = lowest.min(epoch.context("a replica has no view")?);
        }
        Ok(lowest)
    }

    /// Waits until every replica decides from a state of an epoch after `epoch`, prints how long that took since
    /// `fault`, and returns it.
    pub(crate) async fn next(&self, epoch: f64, (what, fault): (&str, Instant)) -> anyhow::Result<Duration> {
        eventually(&format!("{what}: the next owner is heard"), async || {
            let heard = self.epoch().await?;
            ensure!(heard > epoch, "a replica hears epoch {heard}");
            Ok(())
        })
        .await?;
        let elapsed = fault.elapsed();
        println!("{what}: all replicas hear the next owner after {:.2} s", elapsed.as_secs_f64());
        Ok(elapsed)
    }

    /// Checks that all replicas hear an owner at this moment.
    pub(crate) async fn ensure_heard(&self) -> anyhow::Result<()> {
        for replica in &self.replicas {
            let degraded = self.metrics(replica).await?.sum("signalbox_epp_degraded");
            ensure!(degraded == Some(0.0), "a replica hears no owner");
        }
        Ok(())
    }

    async fn owners(&self) -> anyhow::Result<Vec<&Value>> {
        let mut owners = Vec::new();
        for aggregator in &self.aggregators {
            let page = self.metrics(aggregator).await?;
            owners.extend((page.sum("signalbox_aggregator_owner") == Some(1.0)).then_some(aggregator));
        }
        Ok(owners)
    }
}
