//! What becomes of steady load, bookings and replicas' views when processes die, hang or are cut off from each other.
//!
//! Everything is real: the services' binaries, etcd, Envoy; but the model servers are simulated. [`ALL`] says what is done as plain
//! data; [`run`] plays rows and reports. `docs/CHAOS.md` says what is checked.

mod bite;
mod caller;
mod cast;
mod gateway;
mod line;
mod load;
mod member;
mod play;
mod proxy;
mod reading;
mod report;
mod rows;
mod script;
mod watch;

use std::sync::Arc;

use signalbox_integration::Scratch;

use crate::line::Line;
pub use cast::{Group, Who};
pub use report::{Report, table};
pub use rows::{ALL, Fault, Mode, Row, SHORT};

/// Plays rows one after the other; `told` hears of each as soon as it is over. Neighbours of one mode and as many pods share their
/// processes, unless the first of them failed.
pub async fn run(rows: &[Row], mut told: impl FnMut(&Report)) -> Vec<Report> {
    let mut reports = Vec::with_capacity(rows.len());
    let mut standing: Option<(Mode, usize, Line)> = None;
    for row in rows {
        let line = standing.take().filter(|(mode, pods, _)| (*mode, *pods) == (row.mode, row.pods));
        let (report, line) = one(row, line.map(|(_, _, line)| line)).await;
        standing = line.map(|line| (row.mode, row.pods, line));
        told(&report);
        reports.push(report);
    }
    reports
}

/// Plays a row with these processes, or new ones. They are given back unless it failed; then their logs are kept.
async fn one(row: &Row, line: Option<Line>) -> (Report, Option<Line>) {
    let started = match line {
        Some(line) => Ok(line),
        None => start(row).await,
    };
    let mut line = match started {
        Ok(line) => line,
        Err(error) => return (Report::unplayed(*row, &error), None),
    };
    let mut report = play::play(&mut line, row).await.unwrap_or_else(|error| Report::unplayed(*row, &error));
    if report.passed() {
        return (report, Some(line));
    }
    line.scratch.keep();
    report.problems.push(format!("logs are in {}", line.scratch.path().display()));
    (report, None)
}

async fn start(row: &Row) -> anyhow::Result<Line> {
    let scratch = Arc::new(Scratch::new()?);
    let started = Line::start(Arc::clone(&scratch), row.mode, row.pods).await;
    started.inspect_err(|_| scratch.keep())
}
