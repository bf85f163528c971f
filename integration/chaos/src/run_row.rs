//! Runs a row: starts load, performs the steps, and checks the result.

use std::time::{Duration, Instant};

use anyhow::Context;
use signalbox_integration::{Load, RequestFailure};

use crate::cluster::{Cluster, Cuts};
use crate::observation::{ClusterStatus, Monitor, Observer, missing_effect};
use crate::process_id::ProcessId;
use crate::report::Report;
use crate::scenario::{Action, Fault, Group, Mode, Row, Step, Topology, steps};

/// How long load runs before the first step, and after everything is healthy again.
const LEAD: Duration = Duration::from_secs(2);

/// How long the cluster may take to become healthy, or to come to rest.
const RECOVERS_WITHIN: Duration = Duration::from_secs(30);

/// How long after the kill of a replica the responses that it was streaming break.
const BREAKS_WITHIN: Duration = Duration::from_secs(2);

/// The outer listener's statistics of the inner listener's responses.
const RETRIES: &str = "cluster.picking.upstream_rq_retry";
const UNAVAILABLE: &str = "cluster.picking.upstream_rq_503";

/// Runs a row.
///
/// # Errors
/// Fails when the row cannot be run: the cluster was not healthy before it, or a process does not exit or
/// restart.
pub(crate) async fn run_row(cluster: &mut Cluster, row: &Row) -> anyhow::Result<Report> {
    let observer = cluster.observer.clone();
    let pods = cluster.pods.count();
    let is_healthy = |status: &ClusterStatus| status.check_healthy(pods);
    observer.wait_until(RECOVERS_WITHIN, is_healthy).await.context("not healthy before the row")?;
    let status_before = observer.status().await;
    let owner = status_before.owner()?;
    let epoch = status_before.aggregators[owner].as_ref().map_or(0.0, |owner| owner.state.epoch);
    let before = EnvoyCounters::read(&observer).await?;

    let load = Load::start(observer.client.clone(), observer.envoy.url());
    tokio::time::sleep(LEAD).await;
    let monitor = Monitor::start(observer.clone(), epoch);
    let started = Instant::now();
    let mut executor = StepExecutor { cluster, topology: Cluster::topology(owner), kills: Vec::new() };
    let mut last_step = Instant::now();
    for step in steps(row) {
        last_step = Instant::now();
        executor.execute(step).await.with_context(|| format!("{step:?}"))?;
    }
    let kills = executor.kills;
    let healthy = observer.wait_until(RECOVERS_WITHIN, is_healthy).await;
    tokio::time::sleep(LEAD).await;
    let result = load.stop().await?;
    let at_rest = observer.wait_until(RECOVERS_WITHIN, ClusterStatus::check_at_rest).await;
    let observed = monitor.stop();
    let after = EnvoyCounters::read(&observer).await?;

    let is_cut = |failure: &RequestFailure| row.mode == Mode::Default && is_cut(failure, &kills);
    let (cut, failures) = result.failures.into_iter().partition::<Vec<_>, _>(is_cut);
    let missing = missing_effect(row, &observed).map(|why| format!("the fault had no effect: {why}"));
    let mut problems = observed.impossible;
    problems.extend(missing);
    problems.extend(healthy.as_ref().err().map(|error| format!("not healthy after the fault: {error:#}")));
    problems.extend(at_rest.err().map(|error| format!("not at rest: {error:#}")));
    let unavailable = after.unavailable - before.unavailable;
    problems.extend((unavailable > 0).then(|| format!("{unavailable} attempts got status 503")));
    Ok(Report {
        row: *row,
        requests: result.requests,
        failures: failures.iter().map(|failure| failure.describe(started)).collect(),
        cut: cut.len(),
        slowest: result.slowest,
        snapshots: observer.status().await.snapshots_since(&status_before),
        retries: after.retries - before.retries,
        healthy_after: healthy.ok().map(|at| at - last_step).filter(|_| row.fault != Fault::RollingRestart),
        // A rolling restart waits after each process, so that there is no single time to report.
        failover: observed.failover.filter(|_| row.fault != Fault::RollingRestart),
        problems,
    })
}

/// Returns whether a killed replica was streaming the response.
fn is_cut(failure: &RequestFailure, kills: &[Instant]) -> bool {
    let follows =
        |kill: &Instant| failure.at.checked_duration_since(*kill).is_some_and(|after| after < BREAKS_WITHIN);
    failure.had_response && kills.iter().any(follows)
}

/// Counters of Envoy.
struct EnvoyCounters {
    retries: u64,
    unavailable: u64,
}

impl EnvoyCounters {
    async fn read(observer: &Observer) -> anyhow::Result<Self> {
        let value = async |name| observer.envoy.statistic(&observer.client, name).await;
        Ok(Self { retries: value(RETRIES).await?, unavailable: value(UNAVAILABLE).await? })
    }
}

/// Performs the steps of a row.
struct StepExecutor<'a> {
    cluster: &'a mut Cluster,
    topology: Topology,
    /// When replicas were killed.
    kills: Vec<Instant>,
}

impl StepExecutor<'_> {
    async fn execute(&mut self, step: Step) -> anyhow::Result<()> {
        let cluster = &mut *self.cluster;
        match step {
            Step::Apply(action, group) => {
                let targets = self.topology.members(group);
                if action == Action::Kill && targets.iter().any(|id| matches!(id, ProcessId::Replica(_))) {
                    self.kills.push(Instant::now());
                }
                cluster.apply(action, &targets).await?;
            }
            Step::Start(group) => cluster.restart(&self.topology.members(group)).await?,
            Step::Cut(group, other) => self.cut(group, other),
            Step::Heal => drop(cluster.cuts.send_replace(Cuts::default())),
            Step::RemovePods => cluster.pods.list_without(&cluster.dir, cluster.pods.count() / 5)?,
            Step::RestorePods => cluster.pods.list_without(&cluster.dir, 0)?,
            Step::RollingRestart(group) => self.restart_one_by_one(group).await?,
            Step::Wait(time) => tokio::time::sleep(time).await,
        }
        Ok(())
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
            self.cluster.apply(Action::Terminate, &[id]).await?;
            self.cluster.restart(&[id]).await?;
            let is_healthy = |status: &ClusterStatus| status.check_healthy(pods);
            let healthy = self.cluster.observer.wait_until(RECOVERS_WITHIN, is_healthy).await;
            healthy.with_context(|| format!("not healthy after the restart of {id}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use signalbox_integration::RequestFailure;

    use super::is_cut;

    #[test]
    fn kill_cuts_only_responses_that_had_started() {
        let kill = Instant::now();
        let failure = |had_response, after| RequestFailure {
            had_response,
            sent: kill,
            at: kill + after,
            why: String::new(),
        };
        let soon = Duration::from_millis(100);
        assert!(is_cut(&failure(true, soon), &[kill]));
        assert!(!is_cut(&failure(false, soon), &[kill]));
        assert!(!is_cut(&failure(true, Duration::from_secs(5)), &[kill]));
        assert!(!is_cut(&failure(true, soon), &[kill + Duration::from_secs(1)]));
    }
}
