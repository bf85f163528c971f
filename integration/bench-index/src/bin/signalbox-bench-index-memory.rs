//! Measures how much memory prefix indexes need. It counts each allocation, which takes time, so that times are
//! measured by another program.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> anyhow::Result<()> {
    signalbox_bench_index::run_memory(allocated_bytes)
}

/// Returns the number of currently allocated bytes.
fn allocated_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    // These two counters already include in-place reallocations.
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}
