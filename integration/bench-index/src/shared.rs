//! The scene in which threads look up while another one writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use signalbox_bench_report::index::IndexScene;
use signalbox_bench_report::thousands;
use signalbox_types::BlockHash;

use crate::alternate::{self, Measured, clock_ns};
use crate::args::Args;
use crate::figures::Lookups;
use crate::indexes::{DynamoCompressed, KvIndex, PrefixIndex, SharedIndex, Signalbox};
use crate::operations::OperationStream;

/// Number of the last prompts whose scores are compared after the writer has ended.
const CHECKED: usize = 1_000;

/// Room for the lookups of a reader.
const LOOKUPS: usize = 10_000_000;

/// Measures the lookups of readers beside a writer that applies the second half of the requests at a fixed rate.
pub(crate) fn measure(args: &Args, chains: &[Vec<BlockHash>]) -> IndexScene {
    let workers = args.shared_workers as usize;
    // One batch per request.
    let stream = &OperationStream::new(chains, workers, args.capacity(chains, workers), 1);
    // RadixTree is absent, because one task owns it.
    let indexes: Vec<Measured<'_>> = vec![
        (Signalbox::NAME, Box::new(|| run_round::<Signalbox>(args, stream))),
        (KvIndex::NAME, Box::new(|| run_round::<KvIndex>(args, stream))),
        (DynamoCompressed::NAME, Box::new(|| run_round::<DynamoCompressed>(args, stream))),
    ];
    let mut indexes = alternate::measure(&indexes, args.rounds);
    let rounds = indexes.iter_mut().flat_map(|index| &mut index.rounds);
    let late_ms = rounds.filter_map(Vec::pop).fold(0.0, f64::max);
    let plural = if args.readers == 1 { "" } else { "s" };
    IndexScene {
        title: format!("{workers} endpoints, {} reader{plural} beside a writer", args.readers),
        description: format!(
            "{}. The writer applies the second half of them at {} per second; no writer ended more than {late_ms:.0} ms late.",
            stream.describe(),
            thousands(args.writes_per_second.into())
        ),
        figures: Lookups::FIGURES.map(str::to_owned).to_vec(),
        indexes,
    }
}

/// Measures a round. The last figure is by how many milliseconds the writer was late at its end.
fn run_round<'a, I: SharedIndex<'a>>(args: &Args, stream: &OperationStream<'a>) -> (Vec<f64>, Vec<u64>) {
    let mut index = I::new(stream);
    let half = stream.batches.len() / 2;
    for (first, (_, operations)) in stream.numbered_batches().take(half) {
        index.write(&mut I::prepare_writes(stream, operations, first));
    }
    let interval = Duration::from_secs(1) / args.writes_per_second;
    let is_done = &AtomicBool::new(false);
    let (lookups, late) = thread::scope(|scope| {
        let readers: Vec<_> = (0..args.readers)
            .map(|number| (number, index.reader()))
            .map(|(number, reader)| scope.spawn(move || look_up::<I>(reader, stream, number, is_done)))
            .collect();
        let late = write_at_rate(&mut index, stream, half, interval);
        is_done.store(true, Ordering::Relaxed);
        let mut all = Lookups::default();
        for reader in readers {
            all.extend(&reader.join().expect("a reader does not panic"));
        }
        (all, late)
    });
    let last = stream.chains.iter().rev().take(CHECKED);
    let sums = last.map(|chain| {
        let found = index.query(&mut I::prepare_query(chain));
        index.score_sum(&found)
    });
    let figures = lookups.figures().into_iter().chain([late.as_secs_f64() * 1e3]);
    (figures.collect(), sums.collect())
}

/// Applies the batches from `half` on, one per `interval`; returns by how much the last one was late.
fn write_at_rate<'a, I: SharedIndex<'a>>(
    index: &mut I,
    stream: &OperationStream<'a>,
    half: usize,
    interval: Duration,
) -> Duration {
    let mut due = Instant::now();
    for (first, (_, operations)) in stream.numbered_batches().skip(half) {
        let mut writes = I::prepare_writes(stream, operations, first);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        index.write(&mut writes);
        due += interval;
    }
    due.elapsed()
}

/// Looks random prompts up until the writer has ended.
fn look_up<'a, I: SharedIndex<'a>>(
    mut reader: I::Reader,
    stream: &OperationStream<'a>,
    number: u32,
    is_done: &AtomicBool,
) -> Lookups {
    let mut rng = StdRng::seed_from_u64(number.into());
    let clock_overhead_ns = clock_ns();
    let mut lookups = Lookups::with_capacity(LOOKUPS);
    while !is_done.load(Ordering::Relaxed) {
        let chain = &stream.chains[rng.random_range(0..stream.chains.len())];
        let mut query = I::prepare_query(chain);
        let start = Instant::now();
        let found = I::read(&mut reader, &mut query);
        let elapsed_ns = start.elapsed().as_nanos() as u64;
        lookups.push(elapsed_ns.saturating_sub(clock_overhead_ns), I::read_sum(&reader, &found));
    }
    lookups
}
