//! Playing a row: load, the steps of its script, and a look at what is left.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::bite::toothless;
use crate::cast::{Cast, Group, Who};
use crate::line::Line;
use crate::load::{Failure, Load};
use crate::proxy::Cuts;
use crate::report::Report;
use crate::rows::{Fault, Mode, Row};
use crate::script::{Blow, Step, script};
use crate::watch::{Eyes, Watch};

/// Load before the first step, and after all is healthy again.
const LEAD: Duration = Duration::from_secs(2);

/// By then all must be healthy again, or at rest.
const WITHIN: Duration = Duration::from_secs(30);

/// So long after a replica was killed the responses that it carried break.
const BREAKS_WITHIN: Duration = Duration::from_secs(2);

/// Answers of the inner listener, as the outer one sees them.
const RETRIES: &str = "cluster.picking.upstream_rq_retry";
const UNAVAILABLE: &str = "cluster.picking.upstream_rq_503";

/// Plays a row.
///
/// # Errors
/// When it cannot be played: something was not healthy beforehand, does not end, or does not start again.
pub(crate) async fn play(line: &mut Line, row: &Row) -> anyhow::Result<Report> {
    let eyes = line.eyes.clone();
    let pods = line.pods.count();
    eyes.until(WITHIN, |reading| reading.healthy(pods)).await.context("not healthy before the row")?;
    let reading = eyes.look().await;
    let owner = reading.owner()?;
    let epoch = reading.aggregators[owner].as_ref().map_or(0.0, |owner| owner.standing.epoch);
    let before = Counters::read(&eyes).await?;

    let load = Load::start(eyes.client.clone(), eyes.envoy.url());
    tokio::time::sleep(LEAD).await;
    let watch = Watch::start(eyes.clone(), epoch);
    let begun = Instant::now();
    let mut stage = Stage { line, cast: Line::cast(owner), kills: Vec::new() };
    let mut mending = Instant::now();
    for step in script(row) {
        mending = Instant::now();
        stage.perform(step).await.with_context(|| format!("{step:?}"))?;
    }
    let kills = stage.kills;
    let healthy = eyes.until(WITHIN, |reading| reading.healthy(pods)).await;
    tokio::time::sleep(LEAD).await;
    let harvest = load.stop().await?;
    let at_rest = eyes.until(WITHIN, |reading| reading.at_rest()).await;
    let sightings = watch.end();
    let after = Counters::read(&eyes).await?;

    let is_cut = |failure: &Failure| row.mode == Mode::Default && is_cut(failure, &kills);
    let (cut, failures) = harvest.failures.into_iter().partition::<Vec<_>, _>(is_cut);
    let toothless = toothless(row, &sightings).map(|why| format!("the fault did nothing: {why}"));
    let mut problems = sightings.impossible;
    problems.extend(toothless);
    problems.extend(healthy.as_ref().err().map(|error| format!("not healthy again: {error:#}")));
    problems.extend(at_rest.err().map(|error| format!("not at rest: {error:#}")));
    let unavailable = after.unavailable - before.unavailable;
    problems.extend((unavailable > 0).then(|| format!("{unavailable} attempts were answered with 503")));
    Ok(Report {
        row: *row,
        requests: harvest.requests,
        failures: failures.iter().map(|failure| failure.told(begun)).collect(),
        cut: cut.len(),
        slowest: harvest.slowest,
        snapshots: eyes.look().await.snapshots_since(&reading),
        retries: after.retries - before.retries,
        healthy_after: healthy.ok().map(|at| at - mending).filter(|_| row.fault != Fault::Roll),
        // While one after the other is restarted, all is waited for in between: there is no one time to tell.
        failover: sightings.failover.filter(|_| row.fault != Fault::Roll),
        problems,
    })
}

/// Whether it is a response that a killed replica was carrying.
fn is_cut(failure: &Failure, kills: &[Instant]) -> bool {
    let follows =
        |kill: &Instant| failure.at.checked_duration_since(*kill).is_some_and(|after| after < BREAKS_WITHIN);
    failure.began && kills.iter().any(follows)
}

/// What Envoy has counted.
struct Counters {
    retries: u64,
    unavailable: u64,
}

impl Counters {
    async fn read(eyes: &Eyes) -> anyhow::Result<Self> {
        let of = async |name| eyes.envoy.statistic(&eyes.client, name).await;
        Ok(Self { retries: of(RETRIES).await?, unavailable: of(UNAVAILABLE).await? })
    }
}

/// Where the steps are performed.
struct Stage<'a> {
    line: &'a mut Line,
    cast: Cast,
    /// When replicas were killed.
    kills: Vec<Instant>,
}

impl Stage<'_> {
    async fn perform(&mut self, step: Step) -> anyhow::Result<()> {
        let line = &mut *self.line;
        match step {
            Step::Strike(blow, group) => {
                let whom = self.cast.of(group);
                if blow == Blow::Kill && whom.iter().any(|who| matches!(who, Who::Replica(_))) {
                    self.kills.push(Instant::now());
                }
                line.strike(blow, &whom).await?;
            }
            Step::Start(group) => line.start_again(&self.cast.of(group)).await?,
            Step::Part(group, other) => self.part(group, other),
            Step::Heal => drop(line.cuts.send_replace(Cuts::default())),
            Step::Unlist => line.pods.list_without(&line.scratch, line.pods.count() / 5)?,
            Step::List => line.pods.list_without(&line.scratch, 0)?,
            Step::Roll(group) => self.roll(group).await?,
            Step::Hold(time) => tokio::time::sleep(time).await,
        }
        Ok(())
    }

    fn part(&self, group: Group, other: Group) {
        let (ones, others) = (self.cast.of(group), self.cast.of(other));
        self.line.cuts.send_modify(|cuts| {
            for one in ones {
                others.iter().for_each(|other| cuts.part(one, *other));
            }
        });
    }

    async fn roll(&mut self, group: Group) -> anyhow::Result<()> {
        let pods = self.line.pods.count();
        for who in self.cast.of(group) {
            self.line.strike(Blow::Terminate, &[who]).await?;
            self.line.start_again(&[who]).await?;
            let healthy = self.line.eyes.until(WITHIN, |reading| reading.healthy(pods)).await;
            healthy.with_context(|| format!("not healthy after the restart of {who}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::is_cut;
    use crate::load::Failure;

    #[test]
    fn only_responses_that_had_begun_are_cut_by_a_kill() {
        let kill = Instant::now();
        let failure = |began, after| Failure { began, sent: kill, at: kill + after, why: String::new() };
        let soon = Duration::from_millis(100);
        assert!(is_cut(&failure(true, soon), &[kill]));
        assert!(!is_cut(&failure(false, soon), &[kill]));
        assert!(!is_cut(&failure(true, Duration::from_secs(5)), &[kill]));
        assert!(!is_cut(&failure(true, soon), &[kill + Duration::from_secs(1)]));
    }
}
