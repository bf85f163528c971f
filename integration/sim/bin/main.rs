//! Runs many seeds of the simulation on all cores.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use signalbox_sim::{Counters, Plan, run, run_and_minimize};

/// Simulates pools under random faults, one pool per seed, and checks every invariant
#[derive(Parser)]
struct Arguments {
    /// Number of seeds to run
    #[arg(long, default_value_t = 5_000)]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run all seeds and print one line per failure, instead of stopping at the first one with a full report
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let Arguments { seeds, from, keep_going } = Arguments::parse();
    let next = AtomicU64::new(from);
    let total = Mutex::new((Counters::default(), 0_u64));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < from + seeds)
        {
            let outcome = run_seed(seed, keep_going);
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(counters) => total.0 += counters,
                Err(report) => {
                    total.1 += 1;
                    let _ = writeln!(io::stdout(), "{report}");
                    if !keep_going {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (counters, failed) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let _ = writeln!(io::stdout(), "{counters}{failed} of {seeds} seeds failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_seed(seed: u64, keep_going: bool) -> Result<Counters, String> {
    let plan = Plan::from_seed(seed);
    if keep_going {
        return run(&plan).map_err(|violation| format!("seed {seed}: {violation}"));
    }
    run_and_minimize(&plan).map_err(|report| report.to_string())
}
