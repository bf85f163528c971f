//! Runs all cells: each scene at each load with each number of replicas, under each contender and seed.

use std::sync::Arc;

use super::args::Args;
use super::caps::{self, Capped};
use super::metrics::Metrics;
use super::owner_kill::{self, Killed};
use super::report::{ALONE, Cell, GO, NONE, Report, SIGNALBOX};
use super::scenes::CRITICAL;
use super::traffic::{SECONDS, Sent, Traffic};
use crate::parallel;
use crate::policies::{Algorithm, Contender, Visibility, go, signalbox};
use crate::sim::flow::{Control, FlowRun};
use crate::sim::{self, RunConfig, RunResult};
use signalbox_bench_report::Provenance;

/// One run.
struct Job<'a> {
    traffic: &'a Traffic,
    seed: u64,
    load_percent: u32,
    replicas: usize,
    contender: &'static str,
}

/// Runs all cells that `args` chooses, and the kills of an owner.
///
/// # Errors
/// Fails when requests cannot be generated, or the commit cannot be read.
pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    let pairs: Vec<_> = args
        .scenes()
        .into_iter()
        .flat_map(|scene| args.seeds().into_iter().map(move |seed| (scene, seed)))
        .collect();
    let traffic = parallel::map(&pairs, |(scene, seed)| Traffic::generate(scene, *seed));
    let traffic: Vec<_> = traffic.into_iter().collect::<anyhow::Result<_>>()?;
    let mut jobs = Vec::new();
    for (traffic, (_, seed)) in traffic.iter().zip(&pairs) {
        for load_percent in args.loads() {
            for replicas in args.replicas() {
                let job = |contender| Job { traffic, seed: *seed, load_percent, replicas, contender };
                jobs.extend([SIGNALBOX, NONE, GO, ALONE].map(job));
            }
        }
    }
    let metrics = parallel::map(&jobs, Job::measure);
    let mut cells: Vec<Cell> = Vec::new();
    for (job, metrics) in jobs.iter().zip(metrics) {
        let key = (job.traffic.scene.name, job.load_percent, job.replicas, job.contender);
        match cells.iter_mut().find(|cell| cell.key() == key) {
            Some(cell) => cell.runs.push(metrics),
            None => cells.push(Cell {
                scene: key.0.to_owned(),
                load_percent: key.1,
                replicas: key.2,
                contender: key.3.to_owned(),
                runs: vec![metrics],
            }),
        }
    }
    let greedy: Vec<_> = traffic.iter().zip(&pairs).filter(|(of, _)| of.scene.name == "greedy").collect();
    // With tenants that reach any replica, and with those that reach one only.
    let kill_scenes = ["steady", "greedy"];
    let killed: Vec<_> =
        traffic.iter().zip(&pairs).filter(|(of, _)| kill_scenes.contains(&of.scene.name)).collect();
    let kills: Vec<Killed> =
        parallel::map(&killed, |(traffic, (_, seed))| owner_kill::measure(traffic, *seed));
    let capped: Vec<_> = greedy
        .iter()
        .flat_map(|of| args.replicas().into_iter().map(move |replicas| (*of, replicas)))
        .collect();
    let caps: Vec<Capped> =
        parallel::map(&capped, |((traffic, (_, seed)), replicas)| caps::measure(traffic, *seed, *replicas));
    let capacity_per_second =
        traffic.iter().map(|of| (of.scene.name.to_owned(), of.capacity_per_second)).collect();
    let provenance = Provenance::collect()?;
    Ok(Report { provenance, seeds: args.seeds(), capacity_per_second, cells, kills, caps })
}

impl Job<'_> {
    fn measure(&self) -> Metrics {
        let Self { traffic, load_percent, .. } = *self;
        let mut sent = traffic.at(load_percent);
        if self.contender == ALONE {
            sent = critical_only(sent);
        }
        let run = self.run(&sent);
        Metrics::of(traffic.scene, &sent, &run)
    }

    fn run(&self, sent: &Sent) -> RunResult {
        let (control, contender) = match self.contender {
            SIGNALBOX => {
                (Control::Signalbox(Arc::new(self.traffic.scene.settings())), signalbox(Visibility::Pool))
            }
            GO => (Control::Go, go_default()),
            _ => (Control::None, signalbox(Visibility::Pool)),
        };
        let until_us = Some((SECONDS * 1e6) as u64);
        sim::run(RunConfig {
            requests: &sent.requests,
            speed: 1.0,
            pods: &self.traffic.pods,
            contender: &contender,
            replicas: self.replicas,
            kills: &[],
            seed: self.seed,
            flow: Some(FlowRun { senders: &sent.senders, control: &control, until_us }),
        })
    }
}

/// Returns the Go EPP with its default configuration.
fn go_default() -> Contender {
    let algorithm = Algorithm::Go(Box::new(go::default()));
    Contender { name: GO.to_owned(), visibility: Visibility::Own, algorithm }
}

/// Returns the critical requests alone, at the same times.
fn critical_only(sent: Sent) -> Sent {
    let both = sent.requests.into_iter().zip(sent.senders);
    let (requests, senders) = both.filter(|(_, sender)| sender.priority == CRITICAL).unzip();
    Sent { requests, senders }
}
