//! `flow`: compares flow control, in virtual time, with none and with that of the Go EPP.

mod args;
mod caps;
mod cells;
mod goals;
mod metrics;
mod owner_kill;
mod report;
mod scenes;
mod tables;
mod traffic;

pub(crate) use args::Args;

use std::fmt::Write;
use std::path::Path;

use signalbox_bench_report::{read_report, write_text};

use report::Report;

/// Runs the benchmark, prints the results, and writes them.
///
/// # Errors
/// Fails when the results cannot be written, and with `--check` when a goal is missed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let report = cells::run(args)?;
    print!("{}", tables::all(&report));
    let goals = goals::all(&report);
    print!("\n== goals\n{}", goals::text(&goals));
    if let Some(path) = &args.output {
        write_text(path, &serde_json::to_string(&report)?)?;
    }
    let missed = goals.iter().filter(|goal| goal.met < goal.of).count();
    anyhow::ensure!(!args.check || missed == 0, "{missed} goals are missed");
    Ok(())
}

/// Returns the goals and the tables of the report in a file.
///
/// # Errors
/// Fails when the file is no report.
pub(crate) fn doc_tables(path: &Path) -> anyhow::Result<String> {
    let report: Report = read_report(path, "flow")?;
    let Report { provenance, seeds, .. } = &report;
    let mut text = format!("Measured at {provenance}; means over {} seeds.\n\n", seeds.len());
    write!(text, "{}\n{}", goals::table(&goals::all(&report)), tables::all(&report))?;
    Ok(text)
}
