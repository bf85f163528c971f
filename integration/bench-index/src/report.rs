//! Tables and JSON output.

use std::fmt::Write;

use serde::Serialize;

use crate::measurements::IndexMeasurements;
use crate::operations::OperationStream;

/// The results of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    source: String,
    scenarios: Vec<Scenario>,
}

/// The results with one number of workers.
#[derive(Debug, Serialize)]
pub(crate) struct Scenario {
    workers: usize,
    capacity_blocks: usize,
    requests: usize,
    written_blocks: usize,
    resident_blocks: usize,
    distinct_blocks: usize,
    indexes: Vec<IndexMeasurements>,
    ratios: Ratios,
}

/// The first index's measurements ÷ the best of the others.
#[derive(Debug, Serialize)]
pub(crate) struct Ratios {
    write: f64,
    query_p50: f64,
    query_p99: f64,
    bytes: f64,
}

impl Report {
    pub(crate) fn new(source: String, scenarios: Vec<Scenario>) -> Self {
        Self { bench: "index", source, scenarios }
    }
}

impl Scenario {
    pub(crate) fn new(stream: &OperationStream<'_>, indexes: Vec<IndexMeasurements>) -> Self {
        Self {
            workers: stream.workers,
            capacity_blocks: stream.capacity,
            requests: stream.chains.len(),
            written_blocks: stream.blocks,
            resident_blocks: stream.resident,
            distinct_blocks: stream.distinct,
            ratios: Ratios::of(&indexes),
            indexes,
        }
    }
}

impl Ratios {
    fn of(indexes: &[IndexMeasurements]) -> Self {
        let ratio = |figure: fn(&IndexMeasurements) -> f64| {
            let best = indexes[1..].iter().map(figure).fold(f64::INFINITY, f64::min);
            figure(&indexes[0]) / best
        };
        Self {
            write: ratio(|index| index.write_ns_per_block),
            query_p50: ratio(|index| index.query_p50_ns),
            query_p99: ratio(|index| index.query_p99_ns),
            bytes: ratio(|index| index.bytes_per_resident_block),
        }
    }
}

/// Returns the heading of a table.
pub(crate) fn heading(stream: &OperationStream<'_>, source: &str) -> String {
    format!(
        "{} workers with a capacity of {} blocks each · {source} · {} requests, {} blocks stored or removed, {} resident at the end, {} distinct",
        stream.workers,
        stream.capacity,
        stream.chains.len(),
        stream.blocks,
        stream.resident,
        stream.distinct
    )
}

/// Returns the table: one line per index, and the ratio of the first to the best of the others.
pub(crate) fn table(figures: &[IndexMeasurements]) -> String {
    let mut table = format!(
        "{:<38}{:>14}{:>12}{:>12}{:>12}{:>17}{:>17}\n",
        "", "write ns/block", "query p50", "p99", "mean ns", "bytes/resident", "bytes/distinct"
    );
    for index in figures {
        let _ = writeln!(
            table,
            "{:<38}{:>14.1}{:>12.0}{:>12.0}{:>12.0}{:>17.1}{:>17.1}",
            index.name,
            index.write_ns_per_block,
            index.query_p50_ns,
            index.query_p99_ns,
            index.query_mean_ns,
            index.bytes_per_resident_block,
            index.bytes_per_distinct_block
        );
    }
    let Ratios { write, query_p50, query_p99, bytes } = Ratios::of(figures);
    let _ = writeln!(
        table,
        "{:<38}{write:>13.2}x{query_p50:>11.2}x{query_p99:>11.2}x{:>12}{bytes:>16.2}x",
        "signalbox / best of the others", ""
    );
    table
}
