//! `routing`: compares policies on the same requests.

mod args;
mod bounds;
mod goals;
mod profile;
mod report;
mod run_metrics;
pub(crate) mod saturation;
mod source;
mod table;
mod workload;

use anyhow::Context;

use crate::parallel;
use crate::policy::{Algorithm, BenchPolicy, Visibility, compared_policies, variant};
use crate::sim::{self, RunConfig};
pub(crate) use args::Args;
use bounds::Bound;
pub(crate) use profile::{Profile, block_tokens};
use report::{PolicyResult, ProfileSummary, Report};
pub(crate) use run_metrics::RunMetrics;
use source::Source;
pub(crate) use workload::Workload;

/// Weights of the fast pods relative to the slow ones, to search for the best static split.
const SPLITS: [f64; 10] = [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0, 6.0];

/// A workload with its saturation rate.
struct RatedWorkload {
    profile: Profile,
    seed: u64,
    workload: Workload,
    saturation_per_second: f64,
}

/// One run of the simulation.
struct Job<'a> {
    rated: &'a RatedWorkload,
    load_percent: u32,
    replicas: usize,
    policy: &'a BenchPolicy,
}

/// Runs the benchmark, prints its tables and writes its report.
///
/// # Errors
/// Fails when the trace cannot be read or the report cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let source = Source::load(args)?;
    println!("{}", source.describe());
    let rated = rate_workloads(args, &source)?;
    let selected = selected_policies(args)?;
    let splits = if args.profiles().contains(&Profile::Heterogeneous) { splits(args) } else { Vec::new() };
    let jobs = jobs(args, &rated, &selected, &splits);
    let metrics = parallel::map(&jobs, measure);
    let report = report(args, &source, &rated, &jobs, &metrics);
    table::print(&report);
    goals::print(&report);
    if let Some(path) = &args.output {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn selected_policies(args: &Args) -> anyhow::Result<Vec<BenchPolicy>> {
    let all = compared_policies();
    for name in &args.policy {
        let known: Vec<_> = all.iter().map(|policy| policy.name.as_str()).collect();
        anyhow::ensure!(
            known.contains(&name.as_str()),
            "unknown policy \"{name}\"; known policies: {}",
            known.join(", ")
        );
    }
    let is_selected = |policy: &BenchPolicy| args.policy.is_empty() || args.policy.contains(&policy.name);
    let variants = args.variant.iter().map(|settings| variant(settings));
    all.into_iter().filter(is_selected).map(Ok).chain(variants).collect()
}

/// Returns static splits between fast and slow pods, to find the best one.
fn splits(args: &Args) -> Vec<BenchPolicy> {
    let split = |ratio: &f64| {
        let weights = (0..args.pods).map(|pod| if profile::is_slow(pod) { 1.0 } else { *ratio }).collect();
        BenchPolicy {
            name: format!("split {ratio}:1"),
            visibility: Visibility::Own,
            algorithm: Algorithm::WeightedRoundRobin(weights),
        }
    };
    SPLITS.iter().map(split).collect()
}

/// Creates all workloads and finds the rates at which they saturate the pods.
fn rate_workloads(args: &Args, source: &Source) -> anyhow::Result<Vec<RatedWorkload>> {
    let mut workloads = Vec::new();
    for profile in args.profiles() {
        for seed in 0..args.seeds() {
            workloads.push((profile, seed, source.workload(args, profile, seed)?));
        }
    }
    let rates = parallel::map(&workloads, |(_, seed, workload)| saturation::find(workload, *seed));
    let rated = workloads.into_iter().zip(rates);
    let rated = rated.map(|((profile, seed, workload), saturation_per_second)| RatedWorkload {
        profile,
        seed,
        workload,
        saturation_per_second,
    });
    Ok(rated.collect())
}

fn jobs<'a>(
    args: &Args,
    rated: &'a [RatedWorkload],
    selected: &'a [BenchPolicy],
    splits: &'a [BenchPolicy],
) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for rated in rated {
        for load_percent in args.loads() {
            for replicas in args.replicas() {
                let job = |policy| Job { rated, load_percent, replicas, policy };
                jobs.extend(selected.iter().map(job));
            }
            if rated.profile == Profile::Heterogeneous {
                // One replica splits more evenly than several.
                let job = |policy| Job { rated, load_percent, replicas: 1, policy };
                jobs.extend(splits.iter().map(job));
            }
        }
    }
    jobs
}

fn measure(job: &Job<'_>) -> RunMetrics {
    let Job { rated: RatedWorkload { workload, saturation_per_second, seed, .. }, .. } = job;
    let rate = saturation_per_second * f64::from(job.load_percent) / 100.0;
    let run_result = sim::run(RunConfig {
        requests: &workload.requests,
        speed: rate / workload.rate_per_second,
        pods: &workload.pods,
        policy: job.policy,
        replicas: job.replicas,
        kills: &[],
        seed: *seed,
    });
    RunMetrics::of_run(workload, &run_result)
}

fn report(
    args: &Args,
    source: &Source,
    rated: &[RatedWorkload],
    jobs: &[Job<'_>],
    metrics: &[RunMetrics],
) -> Report {
    let metrics_of_bounds = |rated: &[&RatedWorkload], of: fn(&Workload) -> &[Bound]| {
        let workloads = rated.iter().map(|rated| &rated.workload);
        workloads.map(|workload| RunMetrics::of_bounds(workload, of(workload))).collect::<Vec<_>>()
    };
    let summaries = args.profiles().into_iter().map(|profile| {
        let rated_profile: Vec<_> = rated.iter().filter(|rated| rated.profile == profile).collect();
        ProfileSummary {
            profile,
            source: source.description(profile),
            requests: rated_profile.iter().map(|rated| rated.workload.requests.len()).collect(),
            saturation_per_second: rated_profile.iter().map(|rated| rated.saturation_per_second).collect(),
            lower_bounds: metrics_of_bounds(&rated_profile, |workload| &workload.lower_bounds),
            single_cache: metrics_of_bounds(&rated_profile, |workload| &workload.single_cache),
        }
    });
    let mut results: Vec<PolicyResult> = Vec::new();
    for (job, metrics) in jobs.iter().zip(metrics) {
        let Job { rated, load_percent, replicas, policy } = job;
        let key = (rated.profile, *load_percent, *replicas, policy.name.as_str());
        match results.iter_mut().find(|result| result.key() == key) {
            Some(result) => result.runs.push(*metrics),
            None => results.push(PolicyResult {
                profile: rated.profile,
                load_percent: *load_percent,
                replicas: *replicas,
                policy: policy.name.clone(),
                runs: vec![*metrics],
            }),
        }
    }
    Report { pods: args.pods, seeds: args.seeds(), profiles: summaries.collect(), results }
}
