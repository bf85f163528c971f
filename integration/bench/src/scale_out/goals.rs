//! Compares the results with the goals.

use super::eviction::Eviction;
use super::report::Results;
use super::shape::Shape;

/// Goals for the largest pool: CPU time of the owner's actor and of what follows the pool at a replica, in percent of a
/// core, and the longest fold.
const OWNER_PERCENT: f64 = 70.0;
const FOLLOWING_PERCENT: f64 = 10.0;
const LONGEST_FOLD_MS: f64 = 5.0;

/// The goal for ten times as many new endpoints: at most this many times the CPU time.
const GROWTH_FACTOR: f64 = 15.0;

/// Prints the goals and returns the number of those that are missed.
pub(super) fn print(results: &Results) -> usize {
    println!("\n== goals");
    let mut missed = 0;
    let mut check = |name: &str, value: f64, goal: f64| {
        let status = if value <= goal { "met   " } else { "MISSED" };
        missed += usize::from(value > goal);
        println!("  {status} {name}: {value:.1} (goal: at most {goal})");
    };
    if let Some((Shape { endpoints, requests_per_second, replicas }, costs)) = results.shapes.last() {
        let pool =
            format!("{endpoints} endpoints, {requests_per_second} requests per second, {replicas} replicas");
        check(&format!("{pool}: owner, percent of a core"), costs.owner_percent(), OWNER_PERCENT);
        check(
            &format!("{pool}: following at a replica, percent of a core"),
            costs.following_percent(),
            FOLLOWING_PERCENT,
        );
        check(&format!("{pool}: longest fold, ms"), costs.longest_fold_ms(), LONGEST_FOLD_MS);
    }
    for Eviction { name, endpoints, batch, longest_ms, .. } in &results.eviction {
        let fold = format!("{endpoints} endpoints, {batch} {name} at the memory bound: longest fold, ms");
        check(&fold, *longest_ms, LONGEST_FOLD_MS);
    }
    if let [few, many] = &*results.growth {
        let factors = [
            ("to add", many.adding_ms / few.adding_ms),
            ("to place a prompt at each of", many.placing_ms / few.placing_ms),
            ("to follow", many.following_ms / few.following_ms),
        ];
        for (work, factor) in factors {
            check(&format!("factor {work} ten times as many new endpoints"), factor, GROWTH_FACTOR);
        }
    }
    missed
}
