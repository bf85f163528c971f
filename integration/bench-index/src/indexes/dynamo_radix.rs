//! `RadixTree` of `dynamo-kv-router`, which a single task owns.

use dynamo_kv_router::RadixTree;
use dynamo_kv_router::protocols::{
    ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, OverlapScores, RouterEvent,
};
use signalbox_types::BlockHash;

use super::PrefixIndex;
use crate::operations::{Operation, OperationStream};

pub(crate) struct DynamoRadix {
    tree: RadixTree,
}

impl<'a> PrefixIndex<'a> for DynamoRadix {
    type Writes = Vec<RouterEvent>;
    type Query = Vec<LocalBlockHash>;
    type Found = OverlapScores;

    const NAME: &'static str = "dynamo-kv-router 1.6.1, RadixTree";

    fn new(_stream: &OperationStream<'a>) -> Self {
        Self { tree: RadixTree::new() }
    }

    fn prepare_writes(stream: &OperationStream<'a>, operations: &[Operation], first: u64) -> Self::Writes {
        events(stream, operations, first)
    }

    fn prepare_query(chain: &[BlockHash]) -> Self::Query {
        local(chain)
    }

    fn write(&mut self, writes: &mut Self::Writes) {
        for event in writes.drain(..) {
            self.tree.apply_event(event).expect("the operations are valid");
        }
    }

    fn query(&mut self, query: &mut Self::Query) -> OverlapScores {
        self.tree.find_matches(std::mem::take(query), false)
    }

    fn score_sum(&self, found: &OverlapScores) -> u64 {
        sum(found)
    }
}

pub(super) fn sum(overlap: &OverlapScores) -> u64 {
    overlap.scores.values().map(|score| u64::from(*score)).sum()
}

pub(super) fn local(chain: &[BlockHash]) -> Vec<LocalBlockHash> {
    chain.iter().map(|block| LocalBlockHash(block.0)).collect()
}

/// Converts operations to the events of an engine.
pub(super) fn events(stream: &OperationStream<'_>, operations: &[Operation], first: u64) -> Vec<RouterEvent> {
    let operations = operations.iter().zip(first..);
    operations.filter_map(|(operation, id)| event(stream.chains, operation, id)).collect()
}

fn event(chains: &[Vec<BlockHash>], operation: &Operation, event_id: u64) -> Option<RouterEvent> {
    let hash = |block: &BlockHash| ExternalSequenceBlockHash(block.0);
    let (worker, data) = match *operation {
        Operation::Store { worker, chain, held, .. } => {
            let stored = |block: &BlockHash| KvCacheStoredBlockData {
                block_hash: hash(block),
                tokens_hash: LocalBlockHash(block.0),
                mm_extra_info: None,
            };
            let blocks: Vec<_> = chains[chain][held..].iter().map(stored).collect();
            let parent_hash = held.checked_sub(1).map(|last| hash(&chains[chain][last]));
            if blocks.is_empty() {
                return None;
            }
            (worker, KvCacheEventData::Stored(KvCacheStoreData { parent_hash, start_position: None, blocks }))
        }
        Operation::Remove { worker, chain, from, to, .. } => {
            let block_hashes = chains[chain][from..to].iter().rev().map(hash).collect();
            (worker, KvCacheEventData::Removed(KvCacheRemoveData { block_hashes }))
        }
    };
    Some(RouterEvent::new(worker as u64, KvCacheEvent { event_id, data, dp_rank: 0 }))
}
