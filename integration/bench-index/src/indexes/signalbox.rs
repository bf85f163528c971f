//! Signalbox's index. It includes the order of use by which the pool's owner evicts; the other indexes do not
//! keep one.

use std::sync::Arc;

use signalbox_prefix::{Index, IndexWriter, MatchLengths};
use signalbox_types::{BlockHash, EndpointKey};

use super::{PrefixIndex, SharedIndex};
use crate::operations::{Operation, OperationStream, key};

pub(crate) struct Signalbox {
    index_writer: IndexWriter,
    reader: Reader,
}

/// The index with a buffer for the lengths of matches.
pub(crate) struct Reader {
    index: Arc<Index>,
    lengths: MatchLengths,
}

pub(crate) enum Write<'a> {
    Place { endpoint: EndpointKey, anchor: BlockHash, suffix: &'a [BlockHash], used: u64 },
    Evict { endpoint: EndpointKey, used: u64, blocks: u32 },
}

impl<'a> PrefixIndex<'a> for Signalbox {
    type Writes = Vec<Write<'a>>;
    type Query = Vec<BlockHash>;
    type Found = ();

    const NAME: &'static str = "signalbox";

    fn new(_stream: &OperationStream<'a>) -> Self {
        let index_writer = IndexWriter::default();
        let reader = new_reader(&index_writer);
        Self { index_writer, reader }
    }

    fn prepare_writes(stream: &OperationStream<'a>, operations: &[Operation], _first: u64) -> Self::Writes {
        let chains = stream.chains;
        let write = |operation: &Operation| match *operation {
            Operation::Store { worker, chain, anchor, start, .. } => {
                let (endpoint, suffix) = (key(worker), &chains[chain][start..]);
                Write::Place { endpoint, anchor, suffix, used: chain as u64 }
            }
            Operation::Remove { worker, from, to, used, .. } => {
                Write::Evict { endpoint: key(worker), used, blocks: (to - from) as u32 }
            }
        };
        operations.iter().map(write).collect()
    }

    fn prepare_query(chain: &[BlockHash]) -> Self::Query {
        chain.to_vec()
    }

    fn write(&mut self, writes: &mut Self::Writes) {
        for write in writes {
            let outcome = match *write {
                Write::Place { endpoint, anchor, suffix, used } => {
                    self.index_writer.place(endpoint, anchor, suffix, used)
                }
                Write::Evict { endpoint, used, blocks } => self.index_writer.evict(endpoint, used, blocks),
            };
            outcome.expect("the operations are valid");
        }
    }

    fn query(&mut self, query: &mut Self::Query) {
        Self::read(&mut self.reader, query);
    }

    fn score_sum(&self, found: &()) -> u64 {
        Self::read_sum(&self.reader, found)
    }
}

impl SharedIndex<'_> for Signalbox {
    type Reader = Reader;

    fn reader(&self) -> Reader {
        new_reader(&self.index_writer)
    }

    fn read(reader: &mut Reader, query: &mut Self::Query) {
        reader.index.lookup_into(query, &mut reader.lengths);
    }

    fn read_sum(reader: &Reader, _found: &()) -> u64 {
        reader.lengths.blocks().iter().map(|blocks| u64::from(*blocks)).sum()
    }
}

fn new_reader(index_writer: &IndexWriter) -> Reader {
    Reader { index: Arc::clone(index_writer.index()), lengths: MatchLengths::default() }
}
