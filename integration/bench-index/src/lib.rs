//! Compares Signalbox's prefix index with `kv-index` and `dynamo-kv-router` on the same stream of operations
//! in the same run.
//!
//! Memory is measured by a program of its own, because counting each allocation slows down the indexes that
//! allocate.

mod alternate;
mod args;
mod exclusive;
mod figures;
mod indexes;
mod memory;
mod operations;
mod shared;

use clap::Parser;
use signalbox_bench_report::index::IndexReport;
use signalbox_bench_report::{Provenance, write_report};

use args::Args;
use operations::OperationStream;

/// Number of batches of the scenes without other readers.
const BATCHES: usize = 12;

/// Measures times, prints the tables and writes the report.
///
/// # Errors
/// Fails when the trace cannot be read, the memory cannot be measured, or the report cannot be written.
pub fn run() -> anyhow::Result<()> {
    let args = Args::parse();
    let bytes = memory::measure_in_child()?;
    let (chains, source) = operations::chains(&args)?;
    let mut scenes = Vec::new();
    for (workers, bytes) in args.workers().into_iter().zip(&bytes) {
        let stream = stream(&args, &chains, workers);
        scenes.push(exclusive::measure(&stream, args.rounds, bytes));
    }
    scenes.push(shared::measure(&args, &chains));
    let report = IndexReport { provenance: Provenance::collect()?, source, scenes };
    println!("{}", report.to_markdown());
    if let Some(path) = &args.output {
        write_report(path, &report)?;
    }
    Ok(())
}

/// Measures memory with the arguments of [`run`] and prints the bytes as JSON. `allocated_bytes` returns how
/// many bytes the process has allocated.
///
/// # Errors
/// Fails when the trace cannot be read.
pub fn run_memory(allocated_bytes: fn() -> isize) -> anyhow::Result<()> {
    let args = Args::parse();
    let (chains, _) = operations::chains(&args)?;
    let workers = args.workers().into_iter();
    let bytes: Vec<_> =
        workers.map(|workers| memory::measure(&stream(&args, &chains, workers), allocated_bytes)).collect();
    println!("{}", serde_json::to_string(&bytes)?);
    Ok(())
}

fn stream<'a>(
    args: &Args,
    chains: &'a [Vec<signalbox_types::BlockHash>],
    workers: usize,
) -> OperationStream<'a> {
    OperationStream::new(chains, workers, args.capacity(chains, workers), chains.len().div_ceil(BATCHES))
}
