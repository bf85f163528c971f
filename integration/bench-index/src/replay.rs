//! Goes through the stream with each index in turn.

use std::time::Instant;

use crate::figures::{Figures, Round};
use crate::stream::Stream;
use crate::subject::{Compressed, KvIndex, Ours, Radix, Subject};

/// An index by its name, how it goes through the stream, and how that went.
type Measured<'a> = (&'static str, fn(&Stream<'a>) -> Round, Vec<Round>);

/// Measures all indexes, each `rounds` times, in an order that changes with each round.
pub(crate) fn measure<'a>(stream: &Stream<'a>, rounds: u32) -> Vec<Figures> {
    let mut subjects: Vec<Measured<'a>> = vec![
        (Ours::NAME, round::<Ours>, Vec::new()),
        (KvIndex::NAME, round::<KvIndex>, Vec::new()),
        (Radix::NAME, round::<Radix>, Vec::new()),
        (Compressed::NAME, round::<Compressed>, Vec::new()),
    ];
    let count = subjects.len();
    for turn in 0..rounds as usize {
        for at in 0..count {
            let (_, measure, rounds) = &mut subjects[(at + turn) % count];
            rounds.push(measure(stream));
        }
    }
    let expected = subjects[0].2[0].sums.clone();
    let size = (stream.blocks, stream.resident, stream.distinct);
    let figures = |(name, _, mut rounds): Measured<'a>| {
        assert!(rounds.iter().all(|round| round.sums == expected), "{name} finds other scores");
        Figures::of(name, &mut rounds, size)
    };
    subjects.into_iter().map(figures).collect()
}

/// Goes through the stream: before each piece of it its requests are asked, then it is written.
fn round<'a, S: Subject<'a>>(stream: &Stream<'a>) -> Round {
    let empty_ns = clock_ns();
    let (mut measured, mut first) = (Round::default(), 0);
    measured.query_ns.reserve(stream.chains.len());
    measured.sums.reserve(stream.chains.len());
    let before = crate::allocated_bytes();
    let mut subject = S::new(stream);
    for (requests, operations) in &stream.pieces {
        for chain in &stream.chains[requests.clone()] {
            let mut query = S::ask(chain);
            let began = Instant::now();
            subject.query(&mut query);
            let took_ns = began.elapsed().as_nanos() as u64;
            measured.query_ns.push(took_ns.saturating_sub(empty_ns));
            measured.sums.push(subject.sum());
        }
        let writes = S::prepare(stream, operations, first);
        first += operations.len() as u64;
        let began = Instant::now();
        subject.write(writes);
        measured.write_ns += began.elapsed().as_nanos() as u64;
    }
    measured.bytes = (crate::allocated_bytes() - before) as i64;
    measured
}

/// What it takes to look at the clock.
fn clock_ns() -> u64 {
    let mut took: Vec<u64> = (0..1_001).map(|_| Instant::now().elapsed().as_nanos() as u64).collect();
    took.sort_unstable();
    took[took.len() / 2]
}
