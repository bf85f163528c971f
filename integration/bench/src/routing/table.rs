//! The figures as tables.

use super::figures::Figures;
use super::report::{Cell, Report, Stage};

/// Prints a table for each profile.
pub(super) fn print(report: &Report) {
    println!(
        "{} pods, {} workloads of each profile; figures are means over them, ± is the standard deviation.",
        report.pods, report.seeds
    );
    println!("Loads are in percent of the rate at which least-load (1 replica) does not keep up any more.");
    println!(
        "Metrics are read every 50 ms. Ours sees what all replicas did, milliseconds later; the others what their own replica did, at once."
    );
    println!(
        "missed: of the mean TTFT, what went into prompts that a pod had held before; whole: mean time to the last token; \
         spread: standard deviation ÷ mean of the pods' work."
    );
    println!(
        "lower bound: no queue, all that came before is cached; one cache: as that, but in one LRU cache of all pods' size together."
    );
    for stage in &report.stages {
        head(stage);
        for group in report.groups().iter().filter(|group| group.profile == stage.profile) {
            let plural = if group.replicas == 1 { "" } else { "s" };
            println!("\n{} % load, {} replica{plural}", group.load_percent, group.replicas);
            println!(
                "  {:<12} {:>6} {:>16} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>8}",
                "policy", "hit %", "TTFT mean ms", "p50", "p90", "p99", "missed", "whole", "spread", "×bound"
            );
            for cell in &group.cells {
                row(cell, group.bound.ttft_mean_ms);
            }
            bound_row("one cache", &group.one_cache);
            bound_row("lower bound", &group.bound);
        }
    }
}

fn head(stage: &Stage) {
    let rates = &stage.saturates_per_second;
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let (name, source) = (stage.profile.name(), &stage.source);
    let requests = stage.requests.first().copied().unwrap_or(0);
    println!(
        "\n== {name} ({source}, {requests} requests each; least-load saturates at {least:.2} to {most:.2} per second)"
    );
}

fn bound_row(name: &str, bound: &Figures) {
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

fn row(cell: &Cell, bound_ms: f64) {
    let mean = cell.mean();
    let means = cell.runs.iter().map(|run| run.ttft_mean_ms);
    let variance = means.map(|ms| (ms - mean.ttft_mean_ms).powi(2)).sum::<f64>() / cell.runs.len() as f64;
    println!(
        "  {:<12} {:>6.1} {:>8.0} ± {:>5.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>7.2} {:>8.2}",
        cell.policy,
        mean.hit_rate * 100.0,
        mean.ttft_mean_ms,
        variance.sqrt(),
        mean.ttft_p50_ms,
        mean.ttft_p90_ms,
        mean.ttft_p99_ms,
        mean.missed_mean_ms,
        mean.whole_mean_ms,
        mean.spread,
        mean.ttft_mean_ms / bound_ms
    );
}
