//! `ChainIndex` of `kv-index`, queried with `score_into`, which does not allocate.

use std::sync::Arc;

use kv_index::{ChainBlockMap, ChainIndex, ContentHash, SequenceHash, StoredBlock};
use signalbox_types::BlockHash;

use super::{PrefixIndex, SharedIndex};
use crate::operations::{Operation, OperationStream};

pub(crate) struct KvIndex {
    workers: Vec<(u32, ChainBlockMap)>,
    reader: Reader,
}

/// The index with a buffer for the scores.
pub(crate) struct Reader {
    index: Arc<ChainIndex>,
    scores: Vec<u32>,
}

pub(crate) enum Write {
    Store { worker: usize, parent: Option<SequenceHash>, blocks: Vec<StoredBlock> },
    Remove { worker: usize, hashes: Vec<SequenceHash> },
}

impl<'a> PrefixIndex<'a> for KvIndex {
    type Writes = Vec<Write>;
    type Query = Vec<ContentHash>;
    type Found = ();

    const NAME: &'static str = "kv-index 2.0.0, ChainIndex";

    fn new(stream: &OperationStream<'a>) -> Self {
        let index = ChainIndex::with_max_workers(stream.workers);
        let intern = |worker| {
            index.intern_worker(&format!("worker-{worker}")).expect("the index has room for all workers")
        };
        let workers = (0..stream.workers).map(|worker| (intern(worker), ChainBlockMap::new())).collect();
        Self { workers, reader: Reader { index: Arc::new(index), scores: vec![0; stream.workers] } }
    }

    fn prepare_writes(stream: &OperationStream<'a>, operations: &[Operation], _first: u64) -> Self::Writes {
        let chains = stream.chains;
        let hash = |block: &BlockHash| SequenceHash(block.0);
        let stored =
            |block: &BlockHash| StoredBlock { seq_hash: hash(block), content_hash: ContentHash(block.0) };
        let write = |operation: &Operation| match *operation {
            Operation::Store { worker, chain, held, .. } => {
                let parent = held.checked_sub(1).map(|last| hash(&chains[chain][last]));
                Write::Store { worker, parent, blocks: chains[chain][held..].iter().map(stored).collect() }
            }
            Operation::Remove { worker, chain, from, to, .. } => {
                Write::Remove { worker, hashes: chains[chain][from..to].iter().rev().map(hash).collect() }
            }
        };
        operations.iter().map(write).collect()
    }

    fn prepare_query(chain: &[BlockHash]) -> Self::Query {
        chain.iter().map(|block| ContentHash(block.0)).collect()
    }

    fn write(&mut self, writes: &mut Self::Writes) {
        let index = &self.reader.index;
        for write in writes {
            match write {
                Write::Store { worker, parent, blocks } => {
                    let (id, map) = &mut self.workers[*worker];
                    index.apply_stored(*id, blocks, *parent, map).expect("the operations are valid");
                }
                Write::Remove { worker, hashes } => {
                    let (id, map) = &mut self.workers[*worker];
                    index.apply_removed(*id, hashes, map);
                }
            }
        }
    }

    fn query(&mut self, query: &mut Self::Query) {
        Self::read(&mut self.reader, query);
    }

    fn score_sum(&self, found: &()) -> u64 {
        Self::read_sum(&self.reader, found)
    }
}

impl SharedIndex<'_> for KvIndex {
    type Reader = Reader;

    fn reader(&self) -> Reader {
        Reader { index: Arc::clone(&self.reader.index), scores: vec![0; self.workers.len()] }
    }

    fn read(reader: &mut Reader, query: &mut Self::Query) {
        let Reader { index, scores } = reader;
        scores.fill(0);
        index.score_into(query, |block| block.0, false, |worker, score| scores[worker as usize] = score);
    }

    fn read_sum(reader: &Reader, _found: &()) -> u64 {
        reader.scores.iter().map(|score| u64::from(*score)).sum()
    }
}
