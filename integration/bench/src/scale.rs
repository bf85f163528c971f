//! `scale`: compares the autoscaling signal, in virtual time, with recipes for KEDA and with a plan that knows the future.

mod args;
mod cells;
mod deployment;
mod gate;
mod goals;
mod hpa;
mod keda;
mod measures;
mod owner;
mod plan;
mod pod;
mod profiles;
mod recipes;
mod report;
mod request;
mod run;
mod scene;
mod scrapes;
mod traffic;

use std::path::Path;

use signalbox_bench_report::{read_report, write_report};

pub(crate) use args::Args;
use report::Report;

/// Runs the benchmark, prints the results, and writes them.
///
/// # Errors
/// Fails when the results cannot be written, and with `--check` when a goal is missed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let report = cells::run_all(args)?;
    print!("{}", report.tables());
    let goals = goals::all(&report);
    print!("\n== goals\n{}", goals::text(&goals));
    if let Some(path) = &args.output {
        write_report(path, &report)?;
    }
    let missed = goals.iter().filter(|goal| !goal.is_met).count();
    anyhow::ensure!(!args.check || missed == 0, "goals are missed in {missed} cells");
    Ok(())
}

/// Returns the tables of a file of results.
///
/// # Errors
/// Fails when the file cannot be read or is no report.
pub(crate) fn doc_tables(path: &Path) -> anyhow::Result<String> {
    let report: Report = read_report(path, "scale")?;
    let goals = goals::table(&goals::all(&report));
    Ok(format!("Measured at {}.\n\n{}\n{goals}", report.provenance, report.tables()))
}
