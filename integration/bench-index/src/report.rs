//! Tables and JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::figures::Figures;
use crate::stream::Stream;

/// All that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    source: String,
    scenes: Vec<Scene>,
}

/// What was found with so many workers.
#[derive(Debug, Serialize)]
pub(crate) struct Scene {
    workers: usize,
    capacity_blocks: usize,
    requests: usize,
    written_blocks: usize,
    resident_blocks: usize,
    distinct_blocks: usize,
    indexes: Vec<Figures>,
    ratios: Ratios,
}

/// The first index's figures, divided by the best of the others'.
#[derive(Debug, Serialize)]
pub(crate) struct Ratios {
    write: f64,
    query_p50: f64,
    query_p99: f64,
    bytes: f64,
}

impl Report {
    pub(crate) fn new(source: String, scenes: Vec<Scene>) -> Self {
        Self { bench: "index", source, scenes }
    }
}

impl Scene {
    pub(crate) fn new(stream: &Stream<'_>, indexes: Vec<Figures>) -> Self {
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
    fn of(indexes: &[Figures]) -> Self {
        let ratio = |figure: fn(&Figures) -> f64| {
            let best = indexes[1..].iter().map(figure).fold(f64::INFINITY, f64::min);
            figure(&indexes[0]) / best
        };
        Self {
            write: ratio(|of| of.write_ns_per_block),
            query_p50: ratio(|of| of.query_p50_ns),
            query_p99: ratio(|of| of.query_p99_ns),
            bytes: ratio(|of| of.bytes_per_resident_block),
        }
    }
}

/// What a table is about.
pub(crate) fn heading(stream: &Stream<'_>, source: &str) -> String {
    format!(
        "{} workers with room for {} blocks each · {source} · {} requests, {} blocks stored or removed, {} resident at the end, {} distinct",
        stream.workers,
        stream.capacity,
        stream.chains.len(),
        stream.blocks,
        stream.resident,
        stream.distinct
    )
}

/// What was found, one line for each index, and the first beside the best of the others.
pub(crate) fn table(figures: &[Figures]) -> String {
    let mut table = format!(
        "{:<38}{:>14}{:>12}{:>12}{:>12}{:>17}{:>17}\n",
        "", "write ns/block", "query p50", "p99", "mean ns", "bytes/resident", "bytes/distinct"
    );
    for of in figures {
        let _ = writeln!(
            table,
            "{:<38}{:>14.1}{:>12.0}{:>12.0}{:>12.0}{:>17.1}{:>17.1}",
            of.name,
            of.write_ns_per_block,
            of.query_p50_ns,
            of.query_p99_ns,
            of.query_mean_ns,
            of.bytes_per_resident_block,
            of.bytes_per_distinct_block
        );
    }
    let Ratios { write, query_p50, query_p99, bytes } = Ratios::of(figures);
    let _ = writeln!(
        table,
        "{:<38}{write:>13.2}x{query_p50:>11.2}x{query_p99:>11.2}x{:>12}{bytes:>16.2}x",
        "ours / best of the others", ""
    );
    table
}
