//! Runs a few hundred seeds. `cargo xtask sim` runs thousands, and `SIGNALBOX_SIM_SEED` selects a single one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use signalbox_sim::{Counter, Counters, Plan, run, run_and_minimize};

const SEEDS: u64 = 220;

/// Runs seeds on all cores; panics with the report of one that fails.
fn run_all(seeds: std::ops::Range<u64>) -> Counters {
    let (next, total) = (AtomicU64::new(seeds.start), Mutex::new(Counters::default()));
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end) {
            let outcome = run_and_minimize(&Plan::from_seed(seed));
            let counters = outcome.unwrap_or_else(|report| panic!("{report}"));
            *total.lock().unwrap_or_else(PoisonError::into_inner) += counters;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn random_faults_violate_no_invariant() {
    if let Ok(seed) = std::env::var("SIGNALBOX_SIM_SEED") {
        let seed = seed.parse().expect("SIGNALBOX_SIM_SEED must be a number");
        println!("{}", run_all(seed..seed + 1));
        return;
    }
    let counters = run_all(0..SEEDS);
    println!("{counters}");
    for counter in Counter::ALL {
        assert!(
            counters.get(counter) > 0,
            "{counter:?} never occurs, so the runs do not test it\n{counters}"
        );
    }
    for (counter, at_least) in
        [(Counter::SplitBrain, 5), (Counter::Takeover, 250), (Counter::EpochChange, 100)]
    {
        let count = counters.get(counter);
        assert!(count >= at_least, "{counter:?} occurs fewer than {at_least} times\n{counters}");
    }
}

#[test]
fn runs_of_one_seed_are_identical() {
    for seed in 0..8 {
        let plan = Plan::from_seed(seed);
        assert_eq!(run(&plan), run(&plan), "seed {seed}");
    }
}
