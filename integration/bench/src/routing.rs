//! `routing`: compares policies on the same requests.

mod args;
mod bounds;
mod comparison;
mod doc_tables;
mod encoder;
mod goals;
#[cfg(test)]
mod published;
mod report;
mod run_metrics;
pub(crate) mod saturation;
mod scenes;
mod source;
mod table;
mod workload;

use signalbox_bench_report::Provenance;

use crate::parallel;
use crate::policies::{Contender, contenders, splits, variant};
use crate::sim::{self, RunConfig};
pub(crate) use args::Args;
use bounds::Bound;
pub(crate) use doc_tables::doc_tables;
use report::{ContenderResult, Report, SceneSummary};
pub(crate) use run_metrics::RunMetrics;
pub(crate) use scenes::Scene;
use source::Source;
pub(crate) use workload::Workload;

/// A workload with its saturation rate.
struct RatedWorkload {
    seed: u64,
    workload: Workload,
    saturation_per_second: f64,
}

/// One run of the simulation.
struct Job<'a> {
    rated: &'a RatedWorkload,
    load_percent: u32,
    replicas: usize,
    contender: &'a Contender,
}

/// Runs the benchmark, prints its tables and writes its report.
///
/// # Errors
/// Fails when the trace cannot be read or the report cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let source = Source::load(args.trace.as_deref())?;
    println!("{}", source.describe());
    let mut report = Report {
        provenance: Provenance::collect()?,
        arguments: arguments(),
        trace: source.trace_summary(),
        seeds: args.seeds(),
        scenes: Vec::new(),
        results: Vec::new(),
    };
    // Scenes run one after the other, because their workloads are large.
    for scene in args.scenes() {
        println!("running {}", scene.name);
        run_scene(args, &source, scene, &mut report)?;
    }
    table::print(&report);
    args.output.as_deref().map_or(Ok(()), |path| report.write(path))
}

/// Returns the arguments of this run, with the names of files in place of their paths.
fn arguments() -> Vec<String> {
    let without_folders = |argument: String| argument.rsplit('/').next().unwrap_or_default().to_owned();
    std::env::args().skip(1).map(without_folders).collect()
}

/// Returns the contenders of a scene that the arguments select.
fn selected_contenders(args: &Args, scene: &Scene) -> anyhow::Result<Vec<Contender>> {
    let all = contenders(&scene.pod_profiles());
    for name in &args.contender {
        let known: Vec<_> = all.iter().map(|contender| contender.name.as_str()).collect();
        anyhow::ensure!(
            known.contains(&name.as_str()),
            "unknown contender \"{name}\"; known contenders: {}",
            known.join(", ")
        );
    }
    let is_selected =
        |contender: &Contender| args.contender.is_empty() || args.contender.contains(&contender.name);
    let variants = args.variant.iter().map(|text| variant(&all, text)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(all.into_iter().filter(is_selected).chain(variants).collect())
}

/// Runs all contenders in one scene and adds the results to the report.
fn run_scene(args: &Args, source: &Source, scene: &'static Scene, report: &mut Report) -> anyhow::Result<()> {
    let selected = selected_contenders(args, scene)?;
    let rated = rate_workloads(args, source, scene)?;
    let splits = splits(&scene.pod_profiles());
    let jobs = jobs(args, scene, &rated, &selected, &splits);
    let metrics = parallel::map(&jobs, measure);
    report.scenes.push(summary(source, scene, &rated));
    add_results(scene, &jobs, &metrics, &mut report.results);
    Ok(())
}

/// Creates the workloads of a scene and finds the rates at which they saturate the pods.
fn rate_workloads(args: &Args, source: &Source, scene: &'static Scene) -> anyhow::Result<Vec<RatedWorkload>> {
    let rated = parallel::map(&args.seeds(), |seed| {
        let workload = source.workload(scene, args.requests(scene), *seed)?;
        let saturation_per_second = saturation::find(&workload, *seed);
        Ok(RatedWorkload { seed: *seed, workload, saturation_per_second })
    });
    rated.into_iter().collect()
}

fn jobs<'a>(
    args: &Args,
    scene: &Scene,
    rated: &'a [RatedWorkload],
    selected: &'a [Contender],
    splits: &'a [Contender],
) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for rated in rated {
        for load_percent in args.loads() {
            for replicas in args.replicas(scene) {
                let job = |contender| Job { rated, load_percent, replicas, contender };
                jobs.extend(selected.iter().map(job));
            }
            // One replica splits more evenly than several.
            let job = |contender| Job { rated, load_percent, replicas: 1, contender };
            jobs.extend(splits.iter().map(job));
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
        contender: job.contender,
        replicas: job.replicas,
        kills: &[],
        seed: *seed,
        flow: None,
    });
    RunMetrics::of_run(workload, &run_result)
}

fn summary(source: &Source, scene: &'static Scene, rated: &[RatedWorkload]) -> SceneSummary {
    let metrics_of_bounds = |of: fn(&Workload) -> &[Bound]| {
        let workloads = rated.iter().map(|rated| &rated.workload);
        workloads.map(|workload| RunMetrics::of_bounds(workload, of(workload))).collect()
    };
    SceneSummary {
        name: scene.name.to_owned(),
        source: source.description(scene),
        pods: scene.describe_pods(),
        shares_prefixes: scene.shares_prefixes(),
        is_mixed: scene.is_mixed(),
        requests: rated.iter().map(|rated| rated.workload.requests.len()).collect(),
        saturation_per_second: rated.iter().map(|rated| rated.saturation_per_second).collect(),
        lower_bounds: metrics_of_bounds(|workload| &workload.lower_bounds),
        single_cache: metrics_of_bounds(|workload| &workload.single_cache),
    }
}

/// Adds the metrics of `jobs`, one entry for each load, number of replicas and contender.
fn add_results(
    scene: &'static Scene,
    jobs: &[Job<'_>],
    metrics: &[RunMetrics],
    results: &mut Vec<ContenderResult>,
) {
    for (job, metrics) in jobs.iter().zip(metrics) {
        let key = (scene.name, job.load_percent, job.replicas, job.contender.name.as_str());
        match results.iter_mut().find(|result| result.key() == key) {
            Some(result) => result.runs.push(*metrics),
            None => results.push(ContenderResult {
                scene: scene.name.to_owned(),
                load_percent: job.load_percent,
                replicas: job.replicas,
                contender: job.contender.name.clone(),
                runs: vec![*metrics],
            }),
        }
    }
}
