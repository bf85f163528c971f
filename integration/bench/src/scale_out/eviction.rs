//! Measures placements when the index is at its memory bound, so that each evicts others.

use signalbox_state::PoolConfig;

use super::measured_owner::MeasuredOwner;
use super::prompts;
use super::stopwatch::Stopwatch;

/// Memory bound of the index, in bytes.
const INDEX_BYTES: usize = 256 << 20;

/// Placements measured of each kind, by the number of their blocks: of a short prompt, and of one with 256,000 tokens.
const PLACEMENTS: usize = 20_000;
const SHORT_BLOCKS: u64 = 40;
const LONG_BLOCKS: u64 = 4_000;

/// The placements that fill the index, in one batch. The index is full when it has more than this share of its bound:
/// it never has more than the bound after a placement.
const FILLING_BATCH: usize = 512;
const FULL_PERCENT: usize = 99;

/// What a fold costs at the memory bound.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Eviction {
    pub(super) name: &'static str,
    pub(super) endpoints: usize,
    /// Placements in one batch.
    pub(super) batch: usize,
    /// Microseconds of CPU time for one placement.
    pub(super) placement_us: f64,
    /// Milliseconds of CPU time for the longest batch.
    pub(super) longest_ms: f64,
}

/// Fills the index, and measures further placements: some at a time, many at a time, and long ones after short ones.
/// No endpoint is scraped: each has the assumed capacity, of which it needs little.
pub(super) fn measure(endpoints: usize) -> Vec<Eviction> {
    let config = PoolConfig { index_bytes: INDEX_BYTES, ..PoolConfig::default() };
    let mut filled = Filled { owner: MeasuredOwner::new(endpoints, config), endpoints, number: 0 };
    // A block takes at least eight bytes.
    let enough = INDEX_BYTES / 8 / SHORT_BLOCKS as usize / FILLING_BATCH;
    for _ in 0..enough {
        if filled.owner.pool.pool_state().index_writer().memory_bytes() > INDEX_BYTES / 100 * FULL_PERCENT {
            break;
        }
        filled.place(FILLING_BATCH, SHORT_BLOCKS);
    }
    let kinds = [
        ("short prompts", 3, SHORT_BLOCKS),
        ("short prompts", FILLING_BATCH, SHORT_BLOCKS),
        ("long prompts", 16, LONG_BLOCKS),
    ];
    kinds.map(|kind| filled.measure(kind)).into()
}

struct Filled {
    owner: MeasuredOwner,
    endpoints: usize,
    /// The number of the last placement.
    number: u64,
}

impl Filled {
    fn measure(&mut self, (name, batch, blocks): (&'static str, usize, u64)) -> Eviction {
        self.owner.feedback = Stopwatch::default();
        let rounds = PLACEMENTS * SHORT_BLOCKS as usize / (batch * blocks as usize);
        (0..rounds).for_each(|_| self.place(batch, blocks));
        let spent = self.owner.feedback;
        let placement_us = spent.total_ms() * 1e3 / (rounds * batch) as f64;
        Eviction { name, endpoints: self.endpoints, batch, placement_us, longest_ms: spent.longest_ms() }
    }

    fn place(&mut self, batch: usize, blocks: u64) {
        let numbers = self.number + 1..=self.number + batch as u64;
        self.number += batch as u64;
        let endpoints = self.endpoints;
        self.owner.place(
            numbers.map(|number| (number as usize % endpoints, prompts::unshared(number, blocks).collect())),
        );
    }
}
