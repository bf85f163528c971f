//! Compares Signalbox's prefix index with `kv-index` and `dynamo-kv-router` on the same stream of operations
//! in the same run.

mod args;
mod indexes;
mod measurements;
mod operations;
mod replay;
mod report;

use std::alloc::System;

use args::Args;
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the number of currently allocated bytes.
fn allocated_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    // These two counters already include in-place reallocations.
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (chains, source) = operations::chains(&args)?;
    let mut results = Vec::new();
    for workers in args.workers() {
        let stream = operations::OperationStream::new(&chains, workers, args.capacity(&chains, workers));
        println!("{}", report::heading(&stream, &source));
        let indexes = replay::measure(&stream, args.rounds);
        println!("{}", report::table(&indexes));
        results.push(report::Scenario::new(&stream, indexes));
    }
    if let Some(path) = &args.output {
        std::fs::write(path, serde_json::to_string_pretty(&report::Report::new(source, results))?)?;
    }
    Ok(())
}
