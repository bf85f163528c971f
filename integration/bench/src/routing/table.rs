//! Prints the results as tables.

use super::report::{PolicyResult, ProfileSummary, Report};
use super::run_metrics::RunMetrics;

/// Prints a table for each profile.
pub(super) fn print(report: &Report) {
    println!(
        "{} pods, {} workloads per profile; values are means over the workloads, ± is the standard deviation.",
        report.pods, report.seeds
    );
    println!("Loads are in percent of the rate at which least-load with 1 replica saturates.");
    println!(
        "Metrics are scraped every 50 ms. With signalbox, a replica sees the decisions of all replicas milliseconds later; with the other policies it sees only its own, at once."
    );
    println!(
        "recomputed: part of the mean TTFT spent on prompt tokens that a pod had computed before; e2e: mean time to the last token; \
         spread: standard deviation ÷ mean of the pods' work."
    );
    println!(
        "lower bound: no queue, all earlier prompts are cached; one cache: the same with one LRU cache of the size of all pods' caches together."
    );
    for summary in &report.profiles {
        print_heading(summary);
        for comparison in
            report.comparisons().iter().filter(|comparison| comparison.profile == summary.profile)
        {
            let plural = if comparison.replicas == 1 { "" } else { "s" };
            println!("\n{} % load, {} replica{plural}", comparison.load_percent, comparison.replicas);
            println!(
                "  {:<12} {:>6} {:>16} {:>8} {:>8} {:>8} {:>10} {:>8} {:>7} {:>8}",
                "policy",
                "hit %",
                "TTFT mean ms",
                "p50",
                "p90",
                "p99",
                "recomputed",
                "e2e",
                "spread",
                "×bound"
            );
            for result in &comparison.results {
                print_policy(result, comparison.lower_bound.ttft_mean_ms);
            }
            print_bound("one cache", &comparison.single_cache);
            print_bound("lower bound", &comparison.lower_bound);
        }
    }
}

fn print_heading(summary: &ProfileSummary) {
    let rates = &summary.saturation_per_second;
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let (name, source) = (summary.profile.name(), &summary.source);
    let requests = summary.requests.first().copied().unwrap_or(0);
    println!(
        "\n== {name} ({source}, {requests} requests each; least-load saturates at {least:.2} to {most:.2} per second)"
    );
}

fn print_bound(name: &str, bound: &RunMetrics) {
    println!(
        "  {name:<12} {:>6.1} {:>8.0} {:>7} {:>8.0} {:>8.0} {:>8.0}",
        bound.hit_rate * 100.0,
        bound.ttft_mean_ms,
        "",
        bound.ttft_p50_ms,
        bound.ttft_p90_ms,
        bound.ttft_p99_ms
    );
}

fn print_policy(result: &PolicyResult, bound_ms: f64) {
    let mean = result.mean();
    let means = result.runs.iter().map(|run| run.ttft_mean_ms);
    let variance = means.map(|ms| (ms - mean.ttft_mean_ms).powi(2)).sum::<f64>() / result.runs.len() as f64;
    println!(
        "  {:<12} {:>6.1} {:>8.0} ± {:>5.0} {:>8.0} {:>8.0} {:>8.0} {:>10.0} {:>8.0} {:>7.2} {:>8.2}",
        result.policy,
        mean.hit_rate * 100.0,
        mean.ttft_mean_ms,
        variance.sqrt(),
        mean.ttft_p50_ms,
        mean.ttft_p90_ms,
        mean.ttft_p99_ms,
        mean.recomputed_mean_ms,
        mean.e2e_mean_ms,
        mean.spread,
        mean.ttft_mean_ms / bound_ms
    );
}
