//! Measures how long a pool has no owner.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use signalbox_integration::eventually;

use crate::harness::cluster::{Cluster, ClusterLayout};
use crate::harness::follower::{ObservedChange, PoolFollower};
use crate::harness::machine_load::MachineLoadProbe;
use crate::report::{GoalStatus, Section};
use crate::statistics::{largest, median};

const LAYOUT: ClusterLayout =
    ClusterLayout { pods: 8, kv_capacity_tokens: 524_288, aggregators: 2, collectors: 1, replicas: 2 };

const REPETITIONS: usize = 7;

/// Idle time before the next owner ends, in which leases are granted and streams are opened.
const SETTLE_TIME: Duration = Duration::from_secs(3);

const TIMEOUT: Duration = Duration::from_secs(30);

/// Goals in seconds. After a kill the standby and its followers must agree that nobody hears the owner; on
/// termination the owner announces its exit.
const KILLED_GOAL_S: f64 = 1.0;
const TERMINATED_GOAL_S: f64 = 0.5;

/// How the owner ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerEnd {
    Killed,
    Terminated,
}

/// Runs the measurement.
///
/// # Errors
/// Fails when the processes do not behave as expected.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut cluster = Cluster::start(LAYOUT).await?;
    let mut follower = PoolFollower::follow(&cluster.addresses);
    let probe = MachineLoadProbe::start()?;
    let mut section = Section::new("Change of owner");
    let ends = [
        (OwnerEnd::Killed, "SIGKILL of the owner", KILLED_GOAL_S),
        (OwnerEnd::Terminated, "SIGTERM of the owner", TERMINATED_GOAL_S),
    ];
    for (end, how, goal_s) in ends {
        let mut times_s = Vec::new();
        for _ in 0..REPETITIONS {
            times_s.push(end_owner(&mut cluster, &mut follower, end).await?.as_secs_f64());
        }
        let (middle, worst) = (median(&times_s), largest(&times_s));
        let measured = format!("{middle:.2} s, {worst:.2} s");
        let name =
            format!("{how} to a follower hearing from the next owner, median and maximum of {REPETITIONS}");
        section.add_with_goal(name, measured, &format!("≤ {goal_s} s"), GoalStatus::at_most(worst, goal_s));
        let all: Vec<_> = times_s.iter().map(|time_s| format!("{time_s:.2}")).collect();
        section.note(format!("{how}, all values in seconds: {}.", all.join(", ")));
    }
    let applied = applied_snapshots(&cluster).await?;
    let status = if applied == LAYOUT.replicas as f64 { GoalStatus::Met } else { GoalStatus::Missed };
    let goal = "one each, at start";
    section.add_with_goal(
        "snapshots applied by the replicas",
        format!("{applied:.0} by {}", LAYOUT.replicas),
        goal,
        status,
    );
    section.note(format!("{}.", probe.end()?));
    Ok(section)
}

/// Ends the owner; returns the time until the follower hears from the next one.
async fn end_owner(
    cluster: &mut Cluster,
    follower: &mut PoolFollower,
    end: OwnerEnd,
) -> anyhow::Result<Duration> {
    let owner = cluster.owner().await?;
    wait_for_followers(cluster).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    follower.drain();
    let epoch = follower.state().epoch();
    let start = Instant::now();
    let service = &mut cluster.aggregators[owner];
    match end {
        OwnerEnd::Killed => service.kill()?,
        OwnerEnd::Terminated => service.terminate().await?,
    }
    let observed = follower.wait(TIMEOUT, |observation| match observation.change {
        ObservedChange::OwnerChanged { epoch: now } if now > epoch => Some(observation.at),
        _ => None,
    });
    let observed = observed.await.context("no other aggregator takes over the pool")?;
    cluster.aggregators[owner].start(&cluster.scratch).await?;
    Ok(observed.saturating_duration_since(start))
}

/// Waits until every aggregator has all followers: the replicas, the other aggregator, and this process.
async fn wait_for_followers(cluster: &Cluster) -> anyhow::Result<()> {
    let expected = (cluster.replicas.len() + cluster.aggregators.len()) as f64;
    let check = async || {
        for aggregator in &cluster.aggregators {
            let followers =
                cluster.metrics(aggregator).await?.sum("signalbox_aggregator_connected_followers");
            ensure!(
                followers == Some(expected),
                "{} has {followers:?} of {expected} followers",
                aggregator.name()
            );
        }
        Ok(())
    };
    eventually("all followers are connected to all aggregators", check).await
}

async fn applied_snapshots(cluster: &Cluster) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for replica in &cluster.replicas {
        sum += cluster
            .metrics(&replica.service)
            .await?
            .sum("signalbox_epp_snapshots_applied_total")
            .unwrap_or(0.0);
    }
    Ok(sum)
}
