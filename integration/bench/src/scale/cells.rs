//! Runs all cells: each profile with each start-up of pods, under each contender and seed.

use signalbox_bench_report::{Provenance, mean};

use super::args::Args;
use super::measures::Measures;
use super::plan::Plan;
use super::pod::Pod;
use super::profiles::Profile;
use super::recipes::Recipe;
use super::report::{Cell, Contender, Report};
use super::run::{Control, run};
use super::scene::{Scene, model};
use super::traffic::{measure_pod, requests};
use crate::parallel;

/// The EPP replicas with which the signal runs.
const REPLICAS: [usize; 2] = [1, 8];

/// The attainment that the clairvoyant plan must reach, in percent.
pub(super) const PLANNED_PERCENT: f64 = 99.0;

/// One scene to run.
struct Job {
    profile: &'static Profile,
    startup_s: u32,
    seed: u64,
    pod_per_second: f64,
}

/// Runs all cells that `args` chooses.
///
/// # Errors
/// Fails when the commit cannot be read.
pub(super) fn run_all(args: &Args) -> anyhow::Result<Report> {
    let seeds = args.seeds();
    let speeds = seeds.iter().map(|seed| measure_pod(Pod::new(model(), 0.0), *seed));
    let pod_per_second = mean(speeds).unwrap_or(0.0);
    let mut jobs = Vec::new();
    for profile in args.profiles() {
        for startup_s in args.startups_s() {
            jobs.extend(seeds.iter().map(|seed| Job { profile, startup_s, seed: *seed, pod_per_second }));
        }
    }
    let results = parallel::map(&jobs, |job| job.measure(args.alone));
    let mut cells: Vec<Cell> = Vec::new();
    for (job, results) in jobs.iter().zip(results) {
        for (contender, measures) in results {
            let is_same = |cell: &&mut Cell| {
                (&*cell.profile, cell.startup_s, &cell.contender)
                    == (job.profile.name, job.startup_s, &contender)
            };
            match cells.iter_mut().find(is_same) {
                Some(cell) => cell.runs.push(measures),
                None => cells.push(Cell {
                    profile: job.profile.name.to_owned(),
                    startup_s: job.startup_s,
                    contender,
                    runs: vec![measures],
                }),
            }
        }
    }
    Ok(Report { provenance: Provenance::collect()?, seeds, pod_per_second, cells })
}

impl Job {
    fn measure(&self, is_alone: bool) -> Vec<(Contender, Measures)> {
        let requests = requests(self.profile, self.pod_per_second, self.seed);
        let scene = Scene {
            profile: self.profile,
            requests: &requests,
            pod_per_second: self.pod_per_second,
            startup_s: self.startup_s.into(),
            seed: self.seed,
        };
        let signal = REPLICAS
            .map(|replicas| (Contender::Signal { replicas }, run(scene, &Control::Signal { replicas })));
        let mut results = signal.to_vec();
        if is_alone {
            return results;
        }
        for recipe in Recipe::ALL {
            for percent in recipe.factors_percent().iter().copied() {
                let control = Control::Recipe { recipe, factor: f64::from(percent) / 100.0 };
                let contender = Contender::Recipe { name: recipe.name().to_owned(), percent };
                results.push((contender, run(scene, &control)));
            }
        }
        let mut plans = Plan::candidates(&scene).map(|plan| run(scene, &Control::Plan(plan)));
        let planned = plans.find(|measures| measures.attained_percent >= PLANNED_PERCENT);
        results.extend(planned.map(|measures| (Contender::Clairvoyant, measures)));
        results
    }
}
