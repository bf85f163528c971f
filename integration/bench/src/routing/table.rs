//! Prints the results.

use super::comparison::Cell;
use super::goals::{self, GoalCounts, Kind, Outcome};
use super::report::{ContenderResult, Report, SceneSummary};
use super::run_metrics::RunMetrics;
use signalbox_bench_report::Mean;

/// Prints a table for each scene, and the goals.
pub(super) fn print(report: &Report) {
    print_legend(report);
    let cells = report.cells();
    for scene in &report.scenes {
        print_heading(scene);
        cells.iter().filter(|cell| cell.scene.name == scene.name).for_each(print_cell);
    }
    if report.has_all_contenders() {
        print_goals(report);
    } else {
        println!("\nno goals: they compare with all contenders, and not all of them ran");
    }
}

fn print_legend(report: &Report) {
    println!(
        "{}; seeds {:?}; values are means over the seeds, ± is the standard error of the mean",
        report.provenance, report.seeds
    );
    println!("load: percent of the rate at which least-load with 1 replica saturates the pods");
    println!(
        "hit %: prompt tokens found in caches; recomp %: prompt tokens computed although a pod had computed them before"
    );
    println!(
        "predict %: predicted minus found cached tokens, in percent of the prompt tokens: mean absolute error / bias"
    );
    println!("e2e: mean time to the last token; spread: standard deviation ÷ mean of the pods' work");
    println!(
        "lower bound: no queue, all earlier prompts are cached; one cache: the same with one LRU cache of the size of all pods' caches"
    );
}

fn print_heading(scene: &SceneSummary) {
    let SceneSummary { name, source, pods, .. } = scene;
    let requests = scene.requests.first().copied().unwrap_or(0);
    let rate = Mean::of(scene.saturation_per_second.iter().copied());
    println!(
        "\n== {name} ({source}, {pods}; {requests} requests each; least-load saturates at {:.2} ± {:.2} per second)",
        rate.mean, rate.error
    );
}

fn print_cell(cell: &Cell<'_>) {
    let plural = if cell.replicas == 1 { "" } else { "s" };
    println!("\n{} % load, {} replica{plural}", cell.load_percent, cell.replicas);
    println!(
        "  {:<22} {:>6} {:>16} {:>8} {:>8} {:>8} {:>8} {:>13} {:>8} {:>7} {:>8}",
        "contender",
        "hit %",
        "TTFT mean ms",
        "p50",
        "p90",
        "p99",
        "recomp %",
        "predict %",
        "e2e",
        "spread",
        "×bound"
    );
    let bound = RunMetrics::mean(&cell.scene.lower_bounds);
    cell.results.iter().for_each(|result| print_result(result, bound.ttft_mean_ms));
    print_bound("one cache", &RunMetrics::mean(&cell.scene.single_cache));
    print_bound("lower bound", &bound);
}

fn print_result(result: &ContenderResult, bound_ms: f64) {
    let mean = result.mean();
    let ttft = Mean::of(result.runs.iter().map(|run| run.ttft_mean_ms));
    println!(
        "  {:<22} {:>6.1} {:>8.0} ± {:>5.0} {:>8.0} {:>8.0} {:>8.0} {:>8.1} {:>13} {:>8.0} {:>7.2} {:>8.2}",
        result.contender,
        mean.hit_rate * 100.0,
        ttft.mean,
        ttft.error,
        mean.ttft_p50_ms,
        mean.ttft_p90_ms,
        mean.ttft_p99_ms,
        mean.recomputed_share * 100.0,
        mean.prediction_percent(),
        mean.e2e_mean_ms,
        mean.spread,
        mean.ttft_mean_ms / bound_ms
    );
}

fn print_bound(name: &str, bound: &RunMetrics) {
    println!(
        "  {name:<22} {:>6.1} {:>8.0} {:>7} {:>8.0} {:>8.0} {:>8.0}",
        bound.hit_rate * 100.0,
        bound.ttft_mean_ms,
        "",
        bound.ttft_p50_ms,
        bound.ttft_p90_ms,
        bound.ttft_p99_ms
    );
}

fn print_goals(report: &Report) {
    let goals = goals::goals(report);
    println!("\n== goals: Signalbox's time ÷ the other's, ± standard error");
    for kind in Kind::ALL {
        let GoalCounts { all, met, near_bound, uncertain } = GoalCounts::of(&goals, kind);
        println!(
            "\n{met} of {all} met, {near_bound} of them only near the lower bound, {uncertain} within two standard errors of the limit: {}",
            kind.description()
        );
        for goal in goals.iter().filter(|goal| goal.kind == kind) {
            let outcome = match goal.outcome {
                Outcome::Met => "met   ",
                Outcome::MetNearBound => "near  ",
                Outcome::Missed => "MISSED",
            };
            println!(
                "  {outcome} {:.3} ± {:.3} (limit {:.3}) {}",
                goal.ratio.mean, goal.ratio.error, goal.limit, goal.text
            );
        }
    }
    let (near, all) = goals::near_bound(report);
    println!("\n{near} of {all} values are at most 3 % above the lower bound");
}
