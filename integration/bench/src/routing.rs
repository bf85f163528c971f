//! `routing`: what becomes of the same requests under different policies.

mod args;
mod bound;
mod figures;
mod profile;
mod report;
pub(crate) mod saturation;
mod table;
mod verdict;

use anyhow::Context;

use crate::parallel;
use crate::policy::{Chooser, Contender, Sight, contenders, variant};
use crate::sim::{self, Setup};
pub(crate) use args::Args;
use bound::Bound;
pub(crate) use figures::Figures;
use profile::Source;
pub(crate) use profile::{Profile, Workload, block_tokens};
use report::{Cell, Report, Stage};

/// How much more the faster pods are given, in the search for the best static split.
const SPLITS: [f64; 10] = [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0, 6.0];

/// A workload and the rate that it is measured by.
struct Staged {
    profile: Profile,
    seed: u64,
    workload: Workload,
    saturates_per_second: f64,
}

/// One run of the simulation.
struct Job<'a> {
    staged: &'a Staged,
    load_percent: u32,
    replicas: usize,
    contender: &'a Contender,
}

/// Runs the bench, prints its tables and writes its report.
///
/// # Errors
/// A trace that cannot be read, or a report that cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let source = Source::load(args)?;
    println!("{}", source.describe());
    let staged = stage(args, &source)?;
    let chosen = chosen(args)?;
    let splits = if args.profiles().contains(&Profile::Heterogeneous) { splits(args) } else { Vec::new() };
    let jobs = jobs(args, &staged, &chosen, &splits);
    let figures = parallel::map(&jobs, measure);
    let report = report(args, &source, &staged, &jobs, &figures);
    table::print(&report);
    verdict::print(&report);
    if let Some(path) = &args.output {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn chosen(args: &Args) -> anyhow::Result<Vec<Contender>> {
    let all = contenders();
    for name in &args.policy {
        let known: Vec<_> = all.iter().map(|contender| contender.name.as_str()).collect();
        anyhow::ensure!(
            known.contains(&name.as_str()),
            "no policy \"{name}\"; there are: {}",
            known.join(", ")
        );
    }
    let is_chosen = |contender: &Contender| args.policy.is_empty() || args.policy.contains(&contender.name);
    let variants = args.variant.iter().map(|settings| variant(settings));
    all.into_iter().filter(is_chosen).map(Ok).chain(variants).collect()
}

/// Static splits between fast and slow pods, to find the best one.
fn splits(args: &Args) -> Vec<Contender> {
    let split = |ratio: &f64| {
        let weights = (0..args.pods).map(|pod| if profile::is_slow(pod) { 1.0 } else { *ratio }).collect();
        Contender { name: format!("split {ratio}:1"), sight: Sight::Own, chooser: Chooser::Split(weights) }
    };
    SPLITS.iter().map(split).collect()
}

/// Every workload, and the rate at which it saturates the pods.
fn stage(args: &Args, source: &Source) -> anyhow::Result<Vec<Staged>> {
    let mut workloads = Vec::new();
    for profile in args.profiles() {
        for seed in 0..args.seeds() {
            workloads.push((profile, seed, source.workload(args, profile, seed)?));
        }
    }
    let rates = parallel::map(&workloads, |(_, seed, workload)| saturation::find(workload, *seed));
    let staged = workloads.into_iter().zip(rates);
    let staged = staged.map(|((profile, seed, workload), saturates_per_second)| Staged {
        profile,
        seed,
        workload,
        saturates_per_second,
    });
    Ok(staged.collect())
}

fn jobs<'a>(
    args: &Args,
    staged: &'a [Staged],
    chosen: &'a [Contender],
    splits: &'a [Contender],
) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for staged in staged {
        for load_percent in args.loads() {
            for replicas in args.replicas() {
                let job = |contender| Job { staged, load_percent, replicas, contender };
                jobs.extend(chosen.iter().map(job));
            }
            if staged.profile == Profile::Heterogeneous {
                // One replica splits more evenly than several.
                let job = |contender| Job { staged, load_percent, replicas: 1, contender };
                jobs.extend(splits.iter().map(job));
            }
        }
    }
    jobs
}

fn measure(job: &Job<'_>) -> Figures {
    let Job { staged: Staged { workload, saturates_per_second, seed, .. }, .. } = job;
    let rate = saturates_per_second * f64::from(job.load_percent) / 100.0;
    let ran = sim::run(Setup {
        requests: &workload.requests,
        speed: rate / workload.rate_per_second,
        pods: &workload.pods,
        contender: job.contender,
        replicas: job.replicas,
        blows: &[],
        seed: *seed,
    });
    Figures::of(workload, &ran)
}

fn report(args: &Args, source: &Source, staged: &[Staged], jobs: &[Job<'_>], figures: &[Figures]) -> Report {
    let figures_of = |staged: &[&Staged], of: fn(&Workload) -> &[Bound]| {
        let workloads = staged.iter().map(|staged| &staged.workload);
        workloads.map(|workload| Figures::of_bounds(workload, of(workload))).collect::<Vec<_>>()
    };
    let stages = args.profiles().into_iter().map(|profile| {
        let of_profile: Vec<_> = staged.iter().filter(|staged| staged.profile == profile).collect();
        Stage {
            profile,
            source: source.of(profile),
            requests: of_profile.iter().map(|staged| staged.workload.requests.len()).collect(),
            saturates_per_second: of_profile.iter().map(|staged| staged.saturates_per_second).collect(),
            bounds: figures_of(&of_profile, |workload| &workload.bounds),
            one_cache: figures_of(&of_profile, |workload| &workload.one_cache),
        }
    });
    let mut cells: Vec<Cell> = Vec::new();
    for (job, figures) in jobs.iter().zip(figures) {
        let Job { staged, load_percent, replicas, contender } = job;
        let key = (staged.profile, *load_percent, *replicas, contender.name.as_str());
        match cells.iter_mut().find(|cell| cell.key() == key) {
            Some(cell) => cell.runs.push(*figures),
            None => cells.push(Cell {
                profile: staged.profile,
                load_percent: *load_percent,
                replicas: *replicas,
                policy: contender.name.clone(),
                runs: vec![*figures],
            }),
        }
    }
    Report { pods: args.pods, seeds: args.seeds(), stages: stages.collect(), cells }
}
