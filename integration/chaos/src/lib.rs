//! Kills, pauses and isolates real processes under steady load, and checks requests, bookings and the
//! replicas' views.
//!
//! The services, etcd and Envoy are real binaries; only the model servers are simulated. [`ALL`] lists the
//! faults as data, and [`run`] runs rows and reports. `docs/CHAOS.md` describes the checks.

mod cluster;
mod failures;
mod observation;
mod process_id;
mod report;
mod run_row;
mod scenario;
mod step_executor;

use std::sync::Arc;

use signalbox_integration::TestDir;

use crate::cluster::Cluster;
pub use process_id::ProcessId;
pub use report::{Report, table};
pub use scenario::{ALL, Fault, Group, Mode, Row, SHORT};

/// Runs rows one after the other, and calls `on_report` after each one. Consecutive rows with the same mode
/// and number of pods share their processes, unless the first row failed.
pub async fn run(rows: &[Row], mut on_report: impl FnMut(&Report)) -> Vec<Report> {
    let mut reports = Vec::with_capacity(rows.len());
    let mut running: Option<(Mode, usize, Cluster)> = None;
    for row in rows {
        let reusable = running.take().filter(|(mode, pods, _)| (*mode, *pods) == (row.mode, row.pods));
        let (report, cluster) = run_one(row, reusable.map(|(_, _, cluster)| cluster)).await;
        running = cluster.map(|cluster| (row.mode, row.pods, cluster));
        on_report(&report);
        reports.push(report);
    }
    reports
}

/// Runs a row in this cluster, or in a new one. Returns the cluster unless the row failed; then its logs are
/// kept.
async fn run_one(row: &Row, cluster: Option<Cluster>) -> (Report, Option<Cluster>) {
    let started = match cluster {
        Some(cluster) => Ok(cluster),
        None => start(row).await,
    };
    let mut cluster = match started {
        Ok(cluster) => cluster,
        Err(error) => return (Report::not_run(*row, &error), None),
    };
    let result = run_row::run_row(&mut cluster, row).await;
    let mut report = result.unwrap_or_else(|error| Report::not_run(*row, &error));
    if report.passed() {
        return (report, Some(cluster));
    }
    cluster.dir.keep();
    report.problems.push(format!("logs are in {}", cluster.dir.path().display()));
    (report, None)
}

async fn start(row: &Row) -> anyhow::Result<Cluster> {
    let dir = Arc::new(TestDir::new()?);
    let started = Cluster::start(Arc::clone(&dir), row.mode, row.pods).await;
    started.inspect_err(|_| dir.keep())
}
