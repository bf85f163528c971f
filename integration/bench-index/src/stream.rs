//! The stream of operations: what each request asks, where it goes, and what has to go to make room.

use std::collections::HashMap;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use signalbox_prefix::{Column, Residents, anchor};
use signalbox_types::{BlockHash, EndpointKey};
use signalbox_workload::generate::{Conversation, conversation};

use crate::args::Args;

/// A request goes to the worker that holds most of its prompt if it holds at least this part of it, to any other otherwise.
const FOLLOWS_FROM: usize = 2;

/// What happens to an index.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A worker was sent a prompt.
    Store {
        worker: usize,
        chain: usize,
        /// How many leading blocks it held before.
        held: usize,
        /// As Signalbox tells it: the anchor, and where what is told begins.
        anchor: BlockHash,
        start: usize,
    },
    /// A worker gave up blocks `from..to` of a prompt.
    Remove {
        worker: usize,
        chain: usize,
        from: usize,
        to: usize,
        /// As Signalbox tells it: the number of the operation that used them last.
        used: u64,
    },
}

/// All requests, cut into pieces: what is asked before a piece, and what happens in it.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    pub(crate) chains: &'a [Vec<BlockHash>],
    pub(crate) workers: usize,
    pub(crate) capacity: usize,
    /// Which requests, and what happens because of them.
    pub(crate) pieces: Vec<(std::ops::Range<usize>, Vec<Operation>)>,
    /// Blocks that are stored or given up.
    pub(crate) blocks: usize,
    /// Pairs of endpoint and block at the end.
    pub(crate) resident: usize,
    /// Blocks that anyone holds at the end.
    pub(crate) distinct: usize,
}

const PIECES: usize = 12;

/// The prompts of a trace, and what it is.
pub(crate) fn chains(args: &Args) -> anyhow::Result<(Vec<Vec<BlockHash>>, String)> {
    let (items, source) = match &args.trace {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (signalbox_workload::trace::parse(&text)?, name)
        }
        None => {
            let shape = Conversation { requests: args.requests, ..Conversation::default() };
            let items = conversation(&shape, &mut StdRng::seed_from_u64(args.seed));
            (items, format!("generated conversations, seed {}", args.seed))
        }
    };
    let chains =
        items.iter().map(|item| item.prompt.chain(args.block_tokens)).filter(|chain| !chain.is_empty());
    Ok((chains.collect(), format!("{source}, blocks of {} tokens", args.block_tokens)))
}

impl<'a> Stream<'a> {
    pub(crate) fn new(chains: &'a [Vec<BlockHash>], workers: usize, capacity: usize) -> Self {
        let mut fleet = Fleet::new(workers, capacity);
        let length = chains.len().div_ceil(PIECES).max(1);
        let starts = (0..chains.len()).step_by(length);
        let pieces: Vec<_> = starts
            .map(|start| {
                let requests = start..(start + length).min(chains.len());
                let operations = requests.clone().flat_map(|at| fleet.send(at, &chains[at])).collect();
                (requests, operations)
            })
            .collect();
        let operations = pieces.iter().flat_map(|(_, operations): &(_, Vec<Operation>)| operations);
        let blocks = operations.map(|each| each.blocks(chains)).sum();
        let resident = (0..workers).map(|worker| fleet.residents.held(key(worker))).sum();
        let distinct = fleet.residents.index().len();
        Self { chains, workers, capacity, pieces, blocks, resident, distinct }
    }
}

impl Operation {
    /// Blocks that the worker gets or gives up.
    fn blocks(&self, chains: &[Vec<BlockHash>]) -> usize {
        match self {
            Self::Store { chain, held, .. } => chains[*chain].len() - held,
            Self::Remove { from, to, .. } => to - from,
        }
    }
}

/// Names a worker.
pub(crate) fn key(worker: usize) -> EndpointKey {
    EndpointKey::of(&format!("worker-{worker}"))
}

/// Workers that keep what they used last. It decides what happens and is never measured itself.
struct Fleet {
    residents: Residents,
    column: Column,
    workers: usize,
    capacity: usize,
    /// By worker and request, where what is left of the request's own blocks ends.
    ends: HashMap<(usize, u64), usize>,
}

impl Fleet {
    fn new(workers: usize, capacity: usize) -> Self {
        let (residents, column) = (Residents::default(), Column::default());
        Self { residents, column, workers, capacity, ends: HashMap::new() }
    }

    fn send(&mut self, request: usize, chain: &[BlockHash]) -> Vec<Operation> {
        self.residents.index().lookup_into(chain, &mut self.column);
        let held: HashMap<EndpointKey, usize> = {
            let endpoints = self.column.slots().endpoints().iter().zip(self.column.blocks());
            endpoints.filter_map(|(of, blocks)| Some(((*of)?, *blocks as usize))).collect()
        };
        let of = |worker: usize| held.get(&key(worker)).copied().unwrap_or(0);
        let best =
            (0..self.workers).max_by_key(|worker| (of(*worker), std::cmp::Reverse(*worker))).unwrap_or(0);
        let follows = of(best) * FOLLOWS_FROM >= chain.len();
        let worker = if follows { best } else { (request.wrapping_mul(0x9e37_79b9) >> 7) % self.workers };
        let (anchor, start) = anchor(chain, self.column.known());
        let store = Operation::Store { worker, chain: request, held: of(worker), anchor, start };
        let used = request as u64;
        self.residents.place(key(worker), anchor, &chain[start..], used).expect("it was looked up just now");
        self.ends.insert((worker, used), chain.len());
        std::iter::once(store).chain(self.make_room(worker)).collect()
    }

    fn make_room(&mut self, worker: usize) -> Vec<Operation> {
        let mut removed = Vec::new();
        loop {
            let surplus = self.residents.held(key(worker)).saturating_sub(self.capacity);
            let Some((used, blocks)) = self.residents.oldest(key(worker), surplus).filter(|_| surplus > 0)
            else {
                return removed;
            };
            self.residents.evict(key(worker), used, blocks).expect("it was named just now");
            let end = self.ends.get_mut(&(worker, used)).expect("every request has an end");
            let (from, to) = (*end - blocks as usize, *end);
            *end = from;
            removed.push(Operation::Remove { worker, chain: used as usize, from, to, used });
        }
    }
}
