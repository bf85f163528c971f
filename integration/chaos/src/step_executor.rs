//! Performs the steps of a row.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::cluster::{Cluster, Cuts, TrafficCounts};
use crate::observation::{ClusterStatus, Observer};
use crate::process_id::ProcessId;
use crate::scenario::{Action, DRAINED_SHARE, Group, Mode, Row, Step, Topology};

/// How long the cluster may take to become healthy, or to come to rest.
pub(crate) const RECOVERS_WITHIN: Duration = Duration::from_secs(30);

/// How many requests a pod must serve until its circuit is closed for certain: a probe is a single one.
const SERVED_WHEN_CLOSED: f64 = 5.0;

/// How often a replica is caught at a moment in which it carries no stream before the row fails.
const ATTEMPTS: usize = 50;

/// The kill of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaKill {
    pub(crate) at: Instant,
    /// The ext-proc streams through the replica that Envoy had open.
    pub(crate) carried: u64,
}

/// Performs the steps of a row.
pub(crate) struct StepExecutor<'a> {
    cluster: &'a mut Cluster,
    topology: Topology,
    mode: Mode,
    /// The kills of replicas so far.
    pub(crate) kills: Vec<ReplicaKill>,
    /// What the proxies did at each restart of a rolling restart so far, until everything was healthy again.
    pub(crate) restarts: BTreeMap<ProcessId, TrafficCounts>,
}

impl<'a> StepExecutor<'a> {
    pub(crate) fn new(cluster: &'a mut Cluster, topology: Topology, row: &Row) -> Self {
        Self { cluster, topology, mode: row.mode, kills: Vec::new(), restarts: BTreeMap::new() }
    }

    /// Performs a step.
    ///
    /// # Errors
    /// Fails when a process does not exit or start, or when what the step waits for does not happen.
    pub(crate) async fn execute(&mut self, step: Step) -> anyhow::Result<()> {
        let cluster = &mut *self.cluster;
        let client = &cluster.observer.client;
        match step {
            Step::Apply(action, group) => {
                let targets = self.topology.members(group);
                match targets[..] {
                    [ProcessId::Replica(index)] if action == Action::Kill => self.kill_replica(index).await?,
                    _ => cluster.apply(action, &targets).await?,
                }
            }
            Step::Start(group) => cluster.restart(&self.topology.members(group)).await?,
            Step::Cut(group, other) => self.cut(group, other),
            Step::Heal => drop(cluster.cuts.send_replace(Cuts::default())),
            Step::RemovePods => {
                cluster.pods.list_without(&cluster.dir, cluster.pods.count() / DRAINED_SHARE)?;
            }
            Step::RestorePods => cluster.pods.list_without(&cluster.dir, 0)?,
            Step::RollingRestart(group) => self.restart_one_by_one(group).await?,
            Step::FailPod => cluster.pods.set_faults(client, 0, &json!({ "error_rate": 1.0 })).await?,
            Step::MendPod => cluster.pods.set_faults(client, 0, &json!({})).await?,
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::WaitForShare(group) => {
                let (collectors, pods) = (self.topology.members(group), cluster.pods.count());
                wait_for_share(&cluster.observer, &collectors, pods).await?;
            }
            Step::WaitForMove(group) => {
                let (from, pods) = (self.topology.members(group), cluster.pods.count());
                let has_moved = |status: &ClusterStatus| status.check_moved(&from, pods);
                cluster.observer.wait_until(RECOVERS_WITHIN, has_moved).await?;
            }
            Step::WaitForService => wait_for_service(&cluster.observer).await?,
        }
        Ok(())
    }

    /// Kills a replica at a moment in which responses pass through it. It is paused while Envoy's streams through
    /// it are counted, so that no response starts or ends between the count and the kill.
    async fn kill_replica(&mut self, index: usize) -> anyhow::Result<()> {
        let id = ProcessId::Replica(index);
        for _ in 0..ATTEMPTS {
            self.cluster.apply(Action::Pause, &[id]).await?;
            let carried = self.cluster.observer.streams_through(index).await?;
            // In request-only mode, no response passes through a replica.
            if carried > 0 || self.mode == Mode::RequestOnly {
                self.kills.push(ReplicaKill { at: Instant::now(), carried });
                return self.cluster.apply(Action::Kill, &[id]).await;
            }
            self.cluster.apply(Action::Resume, &[id]).await?;
            tokio::task::yield_now().await;
        }
        anyhow::bail!("{id} carried no stream at {ATTEMPTS} moments, so that a kill would test nothing")
    }

    fn cut(&self, group: Group, other: Group) {
        let (ones, others) = (self.topology.members(group), self.topology.members(other));
        self.cluster.cuts.send_modify(|cuts| {
            for one in ones {
                others.iter().for_each(|other| cuts.cut(one, *other));
            }
        });
    }

    async fn restart_one_by_one(&mut self, group: Group) -> anyhow::Result<()> {
        let pods = self.cluster.pods.count();
        for id in self.topology.members(group) {
            let before = self.cluster.traffic();
            self.cluster.apply(Action::Terminate, &[id]).await?;
            self.cluster.restart(&[id]).await?;
            let is_healthy = |status: &ClusterStatus| status.check_healthy(pods);
            let healthy = self.cluster.observer.wait_until(RECOVERS_WITHIN, is_healthy).await;
            healthy.with_context(|| format!("not healthy after the restart of {id}"))?;
            if matches!(id, ProcessId::Collector(_)) {
                // The other collectors alone are healthy as well.
                wait_for_share(&self.cluster.observer, &[id], pods).await?;
            }
            self.restarts.insert(id, self.cluster.traffic().since(&before));
        }
        Ok(())
    }
}

async fn wait_for_share(observer: &Observer, collectors: &[ProcessId], pods: usize) -> anyhow::Result<()> {
    observer.wait_until(RECOVERS_WITHIN, |status| status.check_shared(collectors, pods)).await?;
    Ok(())
}

async fn wait_for_service(observer: &Observer) -> anyhow::Result<()> {
    let served = |status: &ClusterStatus| anyhow::Ok(status.pod.require(ProcessId::Pod)?.served);
    let before = served(&observer.status().await)?;
    let has_served = |status: &ClusterStatus| {
        let since = served(status)? - before;
        ensure!(since >= SERVED_WHEN_CLOSED, "the first pod served {since} requests since it was mended");
        Ok(())
    };
    observer.wait_until(RECOVERS_WITHIN, has_served).await.context("the circuit does not close")?;
    Ok(())
}
