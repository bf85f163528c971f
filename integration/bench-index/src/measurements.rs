//! The measurements of an index.

use serde::Serialize;

/// Measurements of one pass of an index through the stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) write_ns: u64,
    pub(crate) query_ns: Vec<u64>,
    /// Growth of the allocated bytes from start to end.
    pub(crate) bytes: i64,
    /// Sum of the scores of each query.
    pub(crate) sums: Vec<u64>,
}

/// Measurements of an index: medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IndexMeasurements {
    pub(crate) name: &'static str,
    pub(crate) write_ns_per_block: f64,
    pub(crate) query_p50_ns: f64,
    pub(crate) query_p99_ns: f64,
    pub(crate) query_mean_ns: f64,
    pub(crate) bytes_per_resident_block: f64,
    pub(crate) bytes_per_distinct_block: f64,
}

impl IndexMeasurements {
    pub(crate) fn of(
        name: &'static str,
        rounds: &mut [Round],
        (blocks, resident, distinct): (usize, usize, usize),
    ) -> Self {
        rounds.iter_mut().for_each(|round| round.query_ns.sort_unstable());
        let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        let quantile = |round: &Round, part: f64| {
            round.query_ns[((round.query_ns.len() - 1) as f64 * part) as usize] as f64
        };
        Self {
            name,
            write_ns_per_block: of(&|round| round.write_ns as f64 / blocks as f64),
            query_p50_ns: of(&|round| quantile(round, 0.5)),
            query_p99_ns: of(&|round| quantile(round, 0.99)),
            query_mean_ns: of(&|round| {
                round.query_ns.iter().sum::<u64>() as f64 / round.query_ns.len() as f64
            }),
            bytes_per_resident_block: of(&|round| round.bytes as f64 / resident as f64),
            bytes_per_distinct_block: of(&|round| round.bytes as f64 / distinct as f64),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
