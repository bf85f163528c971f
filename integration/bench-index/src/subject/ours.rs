//! Signalbox's own, with the order of use by which the pool's owner evicts, which the others do not keep.

use std::sync::Arc;

use signalbox_prefix::{Column, Index, Residents};
use signalbox_types::{BlockHash, EndpointKey};

use super::Subject;
use crate::stream::{Operation, Stream, key};

pub(crate) struct Ours {
    residents: Residents,
    index: Arc<Index>,
    column: Column,
}

pub(crate) enum Write<'a> {
    Place { endpoint: EndpointKey, anchor: BlockHash, suffix: &'a [BlockHash], used: u64 },
    Evict { endpoint: EndpointKey, used: u64, blocks: u32 },
}

impl<'a> Subject<'a> for Ours {
    type Writes = Vec<Write<'a>>;
    type Query = Vec<BlockHash>;

    const NAME: &'static str = "signalbox";

    fn new(_stream: &Stream<'a>) -> Self {
        let residents = Residents::default();
        let index = Arc::clone(residents.index());
        Self { residents, index, column: Column::default() }
    }

    fn prepare(stream: &Stream<'a>, operations: &[Operation], _first: u64) -> Self::Writes {
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

    fn ask(chain: &[BlockHash]) -> Self::Query {
        chain.to_vec()
    }

    fn write(&mut self, writes: Self::Writes) {
        for write in writes {
            let outcome = match write {
                Write::Place { endpoint, anchor, suffix, used } => {
                    self.residents.place(endpoint, anchor, suffix, used)
                }
                Write::Evict { endpoint, used, blocks } => self.residents.evict(endpoint, used, blocks),
            };
            outcome.expect("the stream fits");
        }
    }

    fn query(&mut self, query: &mut Self::Query) {
        self.index.lookup_into(query, &mut self.column);
    }

    fn sum(&self) -> u64 {
        self.column.blocks().iter().map(|blocks| u64::from(*blocks)).sum()
    }
}
