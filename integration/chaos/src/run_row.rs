//! Runs a row: starts load, performs the steps, and checks the result.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use signalbox_integration::Load;

use crate::cluster::Cluster;
use crate::failures::Failures;
use crate::observation::{
    ClusterStatus, CoordinatorOutages, EnvoyCounters, Evidence, Monitor, check_effects,
};
use crate::report::Report;
use crate::scenario::{Fault, Row, steps};
use crate::step_executor::{RECOVERS_WITHIN, StepExecutor};

/// How long load runs before the first step, and after everything is healthy again.
const LEAD: Duration = Duration::from_secs(2);

/// How long it may take until the pool has an owner that keeps it: it is handed back once at the most.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// Returns how many sheddable requests were refused, and what they were told; `None` if none was.
fn describe_shed(shed: &BTreeMap<String, usize>) -> Option<String> {
    let count: usize = shed.values().sum();
    let reasons: Vec<_> = shed.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    (count > 0).then(|| format!("{count} sheddable requests were refused: {}", reasons.join(", ")))
}

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
    if row.needs_settled_owner() {
        observer.wait_until_settled(SETTLES_WITHIN, pods).await.context("no owner keeps the pool")?;
    }
    let status_before = observer.status().await;
    let counters_before = EnvoyCounters::read(&observer).await?;

    let load = Load::start_in_tiers(observer.client.clone(), observer.envoy.url(), cluster.requests);
    let mut monitor = Monitor::start(observer.clone());
    tokio::time::sleep(LEAD).await;
    let (owner, epoch) = observer.wait_for(RECOVERS_WITHIN, ClusterStatus::owner_and_epoch).await?;
    let topology = Cluster::topology(owner);
    let outages = CoordinatorOutages::read(&cluster.dir, topology.aggregators)?;
    let traffic = cluster.traffic();
    monitor.begin_fault(epoch);
    let started = Instant::now();
    let mut executor = StepExecutor::new(cluster, topology, row);
    let mut last_step = Instant::now();
    for step in steps(row) {
        last_step = Instant::now();
        executor.execute(step).await.with_context(|| format!("{step:?}"))?;
    }
    let StepExecutor { kills, restarts, .. } = executor;
    monitor.end_fault();
    let healthy = observer.wait_until(RECOVERS_WITHIN, is_healthy).await;
    tokio::time::sleep(LEAD).await;
    let result = load.stop().await?;
    cluster.requests += result.requests as u64;
    let at_rest = observer.wait_until(RECOVERS_WITHIN, ClusterStatus::check_at_rest).await;
    let history = monitor.stop();
    let counters = EnvoyCounters::read(&observer).await?;

    let failures = Failures::sort(result.failures, row, &kills);
    let seen = Evidence {
        topology,
        pods,
        history: &history,
        traffic: cluster.traffic().since(&traffic),
        outages: CoordinatorOutages::read(&cluster.dir, topology.aggregators)?.since(&outages),
        restarts,
        failed_by_pod: failures.of_pod,
    };
    let (mut evidence, mut problems) = check_effects(row, &seen);
    match describe_shed(&result.shed) {
        Some(shed) => evidence.push(shed),
        None => problems.push("no request was shed: the load did not fill the pool".to_owned()),
    }
    problems.extend(history.impossible_values());
    problems.extend(history.never_above_zero());
    problems.extend(failures.problem());
    problems.extend(healthy.as_ref().err().map(|error| format!("not healthy after the fault: {error:#}")));
    problems.extend(at_rest.err().map(|error| format!("not at rest: {error:#}")));
    problems.extend(counters.problem_since(&counters_before));
    // A rolling restart waits after each process, so that there is no single time to report.
    let has_times = row.fault != Fault::RollingRestart;
    Ok(Report {
        row: *row,
        requests: result.requests,
        failures: failures.unexpected.iter().map(|failure| failure.describe(started)).collect(),
        cut: failures.cut,
        carried: failures.carried,
        slowest: result.slowest,
        snapshots: observer.status().await.snapshots_since(&status_before),
        retries: counters.retries - counters_before.retries,
        healthy_after: healthy.ok().map(|at| at - last_step).filter(|_| has_times),
        failover: history.failover.filter(|_| has_times),
        evidence,
        problems,
    })
}
