//! The prefix index beside `kv-index` and `dynamo-kv-router`, on the same stream of operations in the same run.

mod args;
mod figures;
mod replay;
mod report;
mod stream;
mod subject;

use std::alloc::System;

use args::Args;
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated now.
fn allocated_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    // What grows or shrinks in place is counted among the first two already.
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (chains, source) = stream::chains(&args)?;
    let mut results = Vec::new();
    for workers in args.workers() {
        let stream = stream::Stream::new(&chains, workers, args.capacity(&chains, workers));
        println!("{}", report::heading(&stream, &source));
        let figures = replay::measure(&stream, args.rounds);
        println!("{}", report::table(&figures));
        results.push(report::Scene::new(&stream, figures));
    }
    if let Some(path) = &args.output {
        std::fs::write(path, serde_json::to_string_pretty(&report::Report::new(source, results))?)?;
    }
    Ok(())
}
