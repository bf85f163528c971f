//! Runs seeds by the thousand.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use signalbox_sim::{Counters, Plan, check, run};

/// Simulates pools under faults, one for each seed.
#[derive(Parser)]
struct Arguments {
    /// How many
    #[arg(long, default_value_t = 5_000)]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Goes on after a failure, and tells only what failed
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
            let outcome = try_out(seed, keep_going);
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(counters) => total.0 += counters,
                Err(told) => {
                    total.1 += 1;
                    let _ = writeln!(io::stdout(), "{told}");
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

fn try_out(seed: u64, keep_going: bool) -> Result<Counters, String> {
    let plan = Plan::of(seed);
    if keep_going {
        return check(&plan).map_err(|violation| format!("seed {seed}: {violation}"));
    }
    run(&plan).map_err(|script| script.to_string())
}
