//! Scenes in which one thread looks up and writes.

use std::time::Instant;

use signalbox_bench_report::index::IndexScene;
use signalbox_bench_report::thousands;

use crate::alternate::{self, Measured, clock_ns};
use crate::figures::Lookups;
use crate::indexes::{DynamoCompressed, DynamoRadix, KvIndex, PrefixIndex, Signalbox};
use crate::operations::OperationStream;

/// Replays the stream `rounds` times with each index. `bytes` has the memory of each.
pub(crate) fn measure(stream: &OperationStream<'_>, rounds: u32, bytes: &[i64]) -> IndexScene {
    let indexes: Vec<Measured<'_>> = vec![
        (Signalbox::NAME, Box::new(|| run_round::<Signalbox>(stream))),
        (KvIndex::NAME, Box::new(|| run_round::<KvIndex>(stream))),
        (DynamoRadix::NAME, Box::new(|| run_round::<DynamoRadix>(stream))),
        (DynamoCompressed::NAME, Box::new(|| run_round::<DynamoCompressed>(stream))),
    ];
    let mut indexes = alternate::measure(&indexes, rounds);
    for (index, bytes) in indexes.iter_mut().zip(bytes) {
        let [resident, distinct] =
            [stream.resident, stream.distinct].map(|blocks| *bytes as f64 / blocks as f64);
        index.rounds.iter_mut().for_each(|round| round.extend([resident, distinct]));
    }
    let figures = ["write, ns per block"].into_iter().chain(Lookups::FIGURES);
    let figures = figures.chain(["bytes per resident block", "bytes per distinct block"]);
    IndexScene {
        title: format!("{} endpoints", thousands(stream.workers as u64)),
        description: stream.describe(),
        figures: figures.map(str::to_owned).collect(),
        indexes,
    }
}

/// Replays the stream once. For each batch, first runs its queries, then applies its operations.
fn run_round<'a, I: PrefixIndex<'a>>(stream: &OperationStream<'a>) -> (Vec<f64>, Vec<u64>) {
    let clock_overhead_ns = clock_ns();
    let mut lookups = Lookups::with_capacity(stream.chains.len());
    let mut write_ns = 0;
    let mut index = I::new(stream);
    for (first, (requests, operations)) in stream.numbered_batches() {
        for chain in &stream.chains[requests.clone()] {
            let mut query = I::prepare_query(chain);
            let start = Instant::now();
            let found = index.query(&mut query);
            let elapsed_ns = start.elapsed().as_nanos() as u64;
            lookups.push(elapsed_ns.saturating_sub(clock_overhead_ns), index.score_sum(&found));
        }
        let mut writes = I::prepare_writes(stream, operations, first);
        let start = Instant::now();
        index.write(&mut writes);
        write_ns += start.elapsed().as_nanos() as u64;
    }
    let figures = std::iter::once(write_ns as f64 / stream.blocks as f64).chain(lookups.figures());
    (figures.collect(), lookups.sums().collect())
}
