//! Runs the rounds of all indexes alternately.

use signalbox_bench_report::index::IndexResult;

/// An index to measure: its name, and the function that measures a round. The function returns the figures and,
/// to compare the indexes, the sums of scores of some lookups.
pub(crate) type Measured<'a> = (&'static str, Box<dyn Fn() -> (Vec<f64>, Vec<u64>) + 'a>);

/// Measures all indexes `rounds` times, in an order that changes with each round.
///
/// # Panics
/// If an index finds other scores than the first one.
pub(crate) fn measure(indexes: &[Measured<'_>], rounds: u32) -> Vec<IndexResult> {
    let new = |(name, _): &Measured<'_>| IndexResult { name: (*name).to_owned(), rounds: Vec::new() };
    let mut results: Vec<_> = indexes.iter().map(new).collect();
    let mut expected: Option<Vec<u64>> = None;
    for turn in 0..rounds as usize {
        for at in 0..indexes.len() {
            let at = (at + turn) % indexes.len();
            let (name, measure) = &indexes[at];
            let (figures, sums) = measure();
            let expected = expected.get_or_insert_with(|| sums.clone());
            assert!(*expected == sums, "{name} finds other scores");
            results[at].rounds.push(figures);
        }
    }
    results
}

/// Returns the time that it takes to read the clock, in nanoseconds.
pub(crate) fn clock_ns() -> u64 {
    let elapsed = |_| std::time::Instant::now().elapsed().as_nanos() as u64;
    let mut elapsed_ns: Vec<u64> = (0..1_001).map(elapsed).collect();
    elapsed_ns.sort_unstable();
    elapsed_ns[elapsed_ns.len() / 2]
}
