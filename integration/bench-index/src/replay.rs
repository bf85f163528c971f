//! Replays the stream with each index in turn.

use std::time::Instant;

use crate::indexes::{DynamoCompressed, DynamoRadix, KvIndex, PrefixIndex, Signalbox};
use crate::measurements::{IndexMeasurements, Round};
use crate::operations::OperationStream;

/// An index: its name, its replay function, and its rounds.
type MeasuredIndex<'a> = (&'static str, fn(&OperationStream<'a>) -> Round, Vec<Round>);

/// Measures all indexes `rounds` times, in an order that changes with each round.
pub(crate) fn measure<'a>(stream: &OperationStream<'a>, rounds: u32) -> Vec<IndexMeasurements> {
    let mut indexes: Vec<MeasuredIndex<'a>> = vec![
        (Signalbox::NAME, run_round::<Signalbox>, Vec::new()),
        (KvIndex::NAME, run_round::<KvIndex>, Vec::new()),
        (DynamoRadix::NAME, run_round::<DynamoRadix>, Vec::new()),
        (DynamoCompressed::NAME, run_round::<DynamoCompressed>, Vec::new()),
    ];
    let count = indexes.len();
    for turn in 0..rounds as usize {
        for at in 0..count {
            let (_, measure, rounds) = &mut indexes[(at + turn) % count];
            rounds.push(measure(stream));
        }
    }
    let expected = indexes[0].2[0].sums.clone();
    let size = (stream.blocks, stream.resident, stream.distinct);
    let figures = |(name, _, mut rounds): MeasuredIndex<'a>| {
        assert!(rounds.iter().all(|round| round.sums == expected), "{name} returns other scores");
        IndexMeasurements::of(name, &mut rounds, size)
    };
    indexes.into_iter().map(figures).collect()
}

/// Replays the stream once. For each batch, first runs its queries, then applies its operations.
fn run_round<'a, I: PrefixIndex<'a>>(stream: &OperationStream<'a>) -> Round {
    let clock_overhead_ns = clock_ns();
    let (mut measured, mut first) = (Round::default(), 0);
    measured.query_ns.reserve(stream.chains.len());
    measured.sums.reserve(stream.chains.len());
    let before = crate::allocated_bytes();
    let mut index = I::new(stream);
    for (requests, operations) in &stream.batches {
        for chain in &stream.chains[requests.clone()] {
            let mut query = I::prepare_query(chain);
            let start = Instant::now();
            index.query(&mut query);
            let elapsed_ns = start.elapsed().as_nanos() as u64;
            measured.query_ns.push(elapsed_ns.saturating_sub(clock_overhead_ns));
            measured.sums.push(index.score_sum());
        }
        let writes = I::prepare_writes(stream, operations, first);
        first += operations.len() as u64;
        let start = Instant::now();
        index.write(writes);
        measured.write_ns += start.elapsed().as_nanos() as u64;
    }
    measured.bytes = (crate::allocated_bytes() - before) as i64;
    measured
}

/// Returns the time that it takes to read the clock.
fn clock_ns() -> u64 {
    let mut elapsed_ns: Vec<u64> = (0..1_001).map(|_| Instant::now().elapsed().as_nanos() as u64).collect();
    elapsed_ns.sort_unstable();
    elapsed_ns[elapsed_ns.len() / 2]
}
