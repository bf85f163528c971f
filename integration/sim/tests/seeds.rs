//! Seeds by the hundred. `cargo xtask sim` runs thousands; `SIGNALBOX_SIM_SEED` reruns one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use signalbox_sim::{Counters, Happening, Plan, check, run};

const SEEDS: u64 = 220;

/// Runs seeds on all cores; panics with the script of one that fails.
fn run_all(seeds: std::ops::Range<u64>) -> Counters {
    let (next, total) = (AtomicU64::new(seeds.start), Mutex::new(Counters::default()));
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end) {
            let counters = run(&Plan::of(seed)).unwrap_or_else(|script| panic!("{script}"));
            *total.lock().unwrap_or_else(PoisonError::into_inner) += counters;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn nothing_that_goes_wrong_breaks_an_invariant() {
    if let Ok(seed) = std::env::var("SIGNALBOX_SIM_SEED") {
        let seed = seed.parse().expect("SIGNALBOX_SIM_SEED is a number");
        println!("{}", run_all(seed..seed + 1));
        return;
    }
    let counters = run_all(0..SEEDS);
    println!("{counters}");
    for what in Happening::ALL {
        assert!(counters.of(what) > 0, "{what:?} never happens, so that nothing is shown of it\n{counters}");
    }
    for (what, at_least) in [(Happening::SplitBrain, 5), (Happening::Takeover, 250), (Happening::Turn, 100)] {
        assert!(counters.of(what) >= at_least, "{what:?} happens too seldom\n{counters}");
    }
}

#[test]
fn two_runs_by_one_seed_are_the_same() {
    for seed in 0..8 {
        let plan = Plan::of(seed);
        assert_eq!(check(&plan), check(&plan), "seed {seed}");
    }
}
