//! How long a pool is without an owner.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use signalbox_integration::eventually;

use crate::ear::{Ear, What};
use crate::figures::{largest, median};
use crate::line::{Layout, Line};
use crate::report::{Section, Verdict};
use crate::strain::Probe;

const LAYOUT: Layout =
    Layout { pods: 8, kv_capacity_tokens: 524_288, aggregators: 2, collectors: 1, replicas: 2 };

const REPETITIONS: usize = 7;

/// So long nothing happens before the next owner ends: leases are granted, streams are open.
const CALM: Duration = Duration::from_secs(3);

const WITHIN: Duration = Duration::from_secs(30);

/// The owner dies, and its lease has to end; or it says that it goes.
const KILLED_GOAL_S: f64 = 3.0;
const TERMINATED_GOAL_S: f64 = 0.5;

/// How the owner ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Terminated,
}

/// Measures it.
///
/// # Errors
/// When the processes do not do what they should.
pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut line = Line::start(LAYOUT).await?;
    let mut ear = Ear::follow(&line.addresses);
    let probe = Probe::start()?;
    let mut section = Section::new("Change of owner");
    let ends = [
        (End::Killed, "SIGKILL of the owner", KILLED_GOAL_S),
        (End::Terminated, "SIGTERM to the owner", TERMINATED_GOAL_S),
    ];
    for (end, how, goal_s) in ends {
        let mut times_s = Vec::new();
        for _ in 0..REPETITIONS {
            times_s.push(change(&mut line, &mut ear, end).await?.as_secs_f64());
        }
        let (middle, worst) = (median(&times_s), largest(&times_s));
        let measured = format!("{middle:.2} s, {worst:.2} s");
        let what = format!("{how}: a follower hears the next one, median and longest of {REPETITIONS}");
        section.judge(what, measured, &format!("≤ {goal_s} s"), Verdict::at_most(worst, goal_s));
        let all: Vec<_> = times_s.iter().map(|time_s| format!("{time_s:.2}")).collect();
        section.note(format!("{how}, in seconds: {}.", all.join(", ")));
    }
    let taken = snapshots(&line).await?;
    let verdict = if taken == LAYOUT.replicas as f64 { Verdict::Met } else { Verdict::Missed };
    let goal = "one each, at their start";
    section.judge(
        "snapshots that the replicas took in all",
        format!("{taken:.0} by {}", LAYOUT.replicas),
        goal,
        verdict,
    );
    section.note(format!("{}.", probe.end()?));
    Ok(section)
}

/// Ends the owner, and says how long it took until another one was heard.
async fn change(line: &mut Line, ear: &mut Ear, end: End) -> anyhow::Result<Duration> {
    let owner = line.owner().await?;
    until_all_follow(line).await?;
    tokio::time::sleep(CALM).await;
    ear.drain();
    let epoch = ear.held().epoch();
    let begun = Instant::now();
    let service = &mut line.aggregators[owner];
    match end {
        End::Killed => service.kill()?,
        End::Terminated => service.terminate().await?,
    }
    let heard = ear.wait(WITHIN, |news| match news.what {
        What::Owned { epoch: now } if now > epoch => Some(news.at),
        _ => None,
    });
    let heard = heard.await.context("no other aggregator owns the pool")?;
    line.aggregators[owner].start(&line.scratch).await?;
    Ok(heard.saturating_duration_since(begun))
}

/// Waits until every aggregator has all followers: the replicas, the other aggregator, and this process.
async fn until_all_follow(line: &Line) -> anyhow::Result<()> {
    let wanted = (line.replicas.len() + line.aggregators.len()) as f64;
    let check = async || {
        for aggregator in &line.aggregators {
            let followers = line.page(aggregator).await?.sum("signalbox_aggregator_subscribers");
            ensure!(followers == Some(wanted), "{} has {followers:?} of {wanted}", aggregator.name());
        }
        Ok(())
    };
    eventually("everybody follows all aggregators", check).await
}

async fn snapshots(line: &Line) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for replica in &line.replicas {
        sum += line.page(&replica.service).await?.sum("signalbox_epp_snapshots_total").unwrap_or(0.0);
    }
    Ok(sum)
}
