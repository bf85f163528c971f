//! The command `cargo xtask chaos`.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use signalbox_chaos::{ALL, Report, Row, SHORT, run, table};

/// Kills, pauses and isolates processes under load, and checks requests, bookings and views
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos")]
struct Flags {
    /// Row to run; repeat it for several (default: all rows)
    #[arg(long, value_name = "NAME", conflicts_with = "short")]
    only: Vec<String>,
    /// Run only the few rows that `cargo xtask test` runs
    #[arg(long)]
    short: bool,
    /// Print the names of all rows and exit
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    if flags.list {
        ALL.iter().for_each(|row| println!("{row}"));
        return Ok(ExitCode::SUCCESS);
    }
    let rows = if flags.short { SHORT.to_vec() } else { selected_rows(&flags.only)? };
    let print = |report: &Report| println!("{}\n{}", table(std::slice::from_ref(report)), report.evidence());
    let reports = run(&rows, print).await;
    println!("{}", table(&reports));
    let passed = reports.iter().filter(|report| report.passed()).count();
    println!("\n{passed} of {} rows passed", reports.len());
    Ok(if reports.iter().all(Report::passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the rows with these names, or all rows if there are no names.
fn selected_rows(names: &[String]) -> anyhow::Result<Vec<Row>> {
    let unknown = names.iter().find(|name| ALL.iter().all(|row| row.to_string() != **name));
    ensure!(unknown.is_none(), "unknown row {}; --list prints all names", unknown.context("a name")?);
    let is_selected = |row: &&Row| names.is_empty() || names.contains(&row.to_string());
    Ok(ALL.iter().filter(is_selected).copied().collect())
}
