//! The stream of operations: the prompt of each request, the worker it goes to, and the blocks evicted to
//! make room.

use std::collections::HashMap;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use signalbox_bench_report::{checksum, thousands};
use signalbox_prefix::{ChainHasher, IndexWriter, MatchLengths, anchor};
use signalbox_types::{BlockHash, EndpointKey};
use signalbox_workload::generate::{Conversation, conversation};
use signalbox_workload::{BYTES_PER_TOKEN, Prompt};

use crate::args::Args;

/// A request goes to the worker that holds the longest prefix of its prompt if that is at least 1 ÷ this of
/// the prompt; otherwise to a pseudo-random one.
const AFFINITY_DIVISOR: usize = 2;

/// An operation on an index.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A worker was sent a prompt.
    Store {
        worker: usize,
        chain: usize,
        /// Number of leading blocks that the worker held before.
        held: usize,
        /// Signalbox's encoding: the anchor, and the position at which the suffix starts.
        anchor: BlockHash,
        start: usize,
    },
    /// A worker evicted blocks `from..to` of a prompt.
    Remove {
        worker: usize,
        chain: usize,
        from: usize,
        to: usize,
        /// Signalbox's encoding: the number of the operation that used the blocks last.
        used: u64,
    },
}

/// Consecutive requests, and the operations that they cause.
pub(crate) type Batch = (std::ops::Range<usize>, Vec<Operation>);

/// All requests in batches: each batch has queries, followed by the operations that they cause.
#[derive(Debug)]
pub(crate) struct OperationStream<'a> {
    pub(crate) chains: &'a [Vec<BlockHash>],
    pub(crate) workers: usize,
    pub(crate) capacity: usize,
    pub(crate) batches: Vec<Batch>,
    /// Number of stored or evicted blocks.
    pub(crate) blocks: usize,
    /// Number of pairs of endpoint and block at the end.
    pub(crate) resident: usize,
    /// Number of different blocks that any worker holds at the end.
    pub(crate) distinct: usize,
}

/// Returns the block chains of the prompts and a description of their source.
pub(crate) fn chains(args: &Args) -> anyhow::Result<(Vec<Vec<BlockHash>>, String)> {
    let (items, source) = match &args.trace {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let sha256 = checksum(text.as_bytes());
            (signalbox_workload::trace::parse(&text)?, format!("trace `{name}` with SHA-256 `{sha256}`"))
        }
        None => {
            let shape = Conversation { requests: args.requests, ..Conversation::default() };
            let items = conversation(&shape, &mut StdRng::seed_from_u64(args.seed));
            (items, format!("generated conversations, seed {}", args.seed))
        }
    };
    let block_bytes = args.block_tokens * BYTES_PER_TOKEN as u32;
    let chains = items.iter().map(|item| chain(&item.prompt, block_bytes)).filter(|chain| !chain.is_empty());
    Ok((chains.collect(), format!("{source}; blocks of {block_bytes} bytes")))
}

fn chain(prompt: &Prompt, block_bytes: u32) -> Vec<BlockHash> {
    let mut hasher = ChainHasher::new("model", block_bytes);
    hasher.update(prompt.text().as_bytes());
    hasher.finish()
}

impl<'a> OperationStream<'a> {
    /// Creates the stream of requests with these prompts, in batches of `batch` requests.
    pub(crate) fn new(chains: &'a [Vec<BlockHash>], workers: usize, capacity: usize, batch: usize) -> Self {
        let mut fleet = WorkerFleet::new(workers, capacity);
        let batch = batch.max(1);
        let starts = (0..chains.len()).step_by(batch);
        let batches: Vec<_> = starts
            .map(|start| {
                let requests = start..(start + batch).min(chains.len());
                let operations = requests.clone().flat_map(|at| fleet.send(at, &chains[at])).collect();
                (requests, operations)
            })
            .collect();
        let operations = batches.iter().flat_map(|(_, operations): &Batch| operations);
        let blocks = operations.map(|operation| operation.blocks(chains)).sum();
        let resident = (0..workers).map(|worker| fleet.index_writer.placed_blocks(key(worker))).sum();
        let distinct = fleet.index_writer.index().len();
        Self { chains, workers, capacity, batches, blocks, resident, distinct }
    }

    /// Returns the batches, each with the number of its first operation.
    pub(crate) fn numbered_batches(&self) -> impl Iterator<Item = (u64, &Batch)> {
        self.batches.iter().scan(0, |first, batch| {
            let number = *first;
            *first += batch.1.len() as u64;
            Some((number, batch))
        })
    }

    /// Describes the stream.
    pub(crate) fn describe(&self) -> String {
        let [capacity, requests, blocks, resident, distinct] =
            [self.capacity, self.chains.len(), self.blocks, self.resident, self.distinct]
                .map(|number| thousands(number as u64));
        format!(
            "{requests} requests; each endpoint has room for {capacity} blocks; {blocks} blocks stored or removed, {resident} resident at the end, {distinct} distinct"
        )
    }
}

impl Operation {
    /// Returns the number of blocks that the worker stores or evicts.
    fn blocks(&self, chains: &[Vec<BlockHash>]) -> usize {
        match self {
            Self::Store { chain, held, .. } => chains[*chain].len() - held,
            Self::Remove { from, to, .. } => to - from,
        }
    }
}

/// Returns the endpoint key of a worker.
pub(crate) fn key(worker: usize) -> EndpointKey {
    EndpointKey::of(&format!("worker-{worker}"))
}

/// Workers with LRU caches. They determine the operations and are not measured.
struct WorkerFleet {
    index_writer: IndexWriter,
    lengths: MatchLengths,
    workers: usize,
    capacity: usize,
    /// End of the remaining blocks of each request, by worker and request.
    ends: HashMap<(usize, u64), usize>,
}

impl WorkerFleet {
    fn new(workers: usize, capacity: usize) -> Self {
        let (index_writer, lengths) = (IndexWriter::default(), MatchLengths::default());
        Self { index_writer, lengths, workers, capacity, ends: HashMap::new() }
    }

    fn send(&mut self, request: usize, chain: &[BlockHash]) -> Vec<Operation> {
        self.index_writer.index().lookup_into(chain, &mut self.lengths);
        let held: HashMap<EndpointKey, usize> = {
            let endpoints = self.lengths.slots().endpoints().zip(self.lengths.blocks());
            endpoints.filter_map(|(of, blocks)| Some((of?, *blocks as usize))).collect()
        };
        let of = |worker: usize| held.get(&key(worker)).copied().unwrap_or(0);
        let best =
            (0..self.workers).max_by_key(|worker| (of(*worker), std::cmp::Reverse(*worker))).unwrap_or(0);
        let has_affinity = of(best) * AFFINITY_DIVISOR >= chain.len();
        let worker =
            if has_affinity { best } else { (request.wrapping_mul(0x9e37_79b9) >> 7) % self.workers };
        let (anchor, start) = anchor(chain, self.lengths.longest());
        let store = Operation::Store { worker, chain: request, held: of(worker), anchor, start };
        let used = request as u64;
        self.index_writer
            .place(key(worker), anchor, &chain[start..], used)
            .expect("the anchor was looked up above");
        self.ends.insert((worker, used), chain.len());
        std::iter::once(store).chain(self.make_room(worker)).collect()
    }

    fn make_room(&mut self, worker: usize) -> Vec<Operation> {
        let mut removed = Vec::new();
        loop {
            let surplus = self.index_writer.placed_blocks(key(worker)).saturating_sub(self.capacity);
            let Some((used, blocks)) =
                self.index_writer.least_recently_used(key(worker), surplus).filter(|_| surplus > 0)
            else {
                return removed;
            };
            self.index_writer.evict(key(worker), used, blocks).expect("the use was returned above");
            let end = self.ends.get_mut(&(worker, used)).expect("every request has an entry");
            let (from, to) = (*end - blocks as usize, *end);
            *end = from;
            removed.push(Operation::Remove { worker, chain: used as usize, from, to, used });
        }
    }
}
