//! Finds the endpoint with the least recent use.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use signalbox_types::EndpointKey;

use super::endpoint_blocks::EndpointBlocks;
use crate::identity_hasher::EndpointMap;

/// The number of outdated entries that are kept in any case.
const MAX_OUTDATED: usize = 64;

/// Every endpoint that was sent a prompt, by the time of its least recent use or an earlier time.
///
/// The least recent use of an endpoint only gets later. So an entry is corrected when it comes first, and nothing has to be
/// done with each placement and eviction.
#[derive(Debug, Default)]
pub(super) struct EvictionOrder {
    /// An endpoint that held nothing for a while may have several entries.
    entries: BinaryHeap<Reverse<(u64, EndpointKey)>>,
}

impl EvictionOrder {
    /// Creates the order of these endpoints.
    pub(super) fn new(endpoints: &EndpointMap<EndpointBlocks>) -> Self {
        let entry = |(endpoint, held): (&EndpointKey, &EndpointBlocks)| {
            held.oldest_use().map(|used| Reverse((used, *endpoint)))
        };
        Self { entries: endpoints.iter().filter_map(entry).collect() }
    }

    /// Adds an endpoint that was sent its first prompt at `used`.
    pub(super) fn add(&mut self, used: u64, endpoint: EndpointKey) {
        self.entries.push(Reverse((used, endpoint)));
    }

    /// Returns whether so many entries are outdated that it should be created anew for `endpoints`.
    pub(super) fn is_outdated(&self, endpoints: usize) -> bool {
        self.entries.len() > 2 * endpoints + MAX_OUTDATED
    }

    /// Returns the endpoint with the least recent use; of several, the one with the lowest key.
    pub(super) fn first(&mut self, endpoints: &EndpointMap<EndpointBlocks>) -> Option<EndpointKey> {
        while let Some(mut first) = self.entries.peek_mut() {
            let Reverse((used, endpoint)) = *first;
            match endpoints.get(&endpoint).and_then(EndpointBlocks::oldest_use) {
                Some(oldest) if oldest == used => return Some(endpoint),
                Some(oldest) => *first = Reverse((oldest, endpoint)),
                None => drop(PeekMut::pop(first)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::{BlockHash, EndpointKey};

    use crate::writer::IndexWriter;

    #[test]
    fn outdated_entries_are_bounded_and_do_not_count() {
        let (mut writer, busy, idle) = (IndexWriter::default(), EndpointKey(1), EndpointKey(2));
        writer.place(idle, BlockHash::ROOT, &[BlockHash(2)], 1).unwrap();
        for used in 2..1_000 {
            writer.place(busy, BlockHash::ROOT, &[BlockHash(1)], used).unwrap();
            writer.evict(busy, used, 1).unwrap();
        }
        assert!(writer.eviction_order.entries.len() < 100);
        writer.place(busy, BlockHash::ROOT, &[BlockHash(1)], 1_000).unwrap();
        assert_eq!(Some(idle), writer.least_recently_used_endpoint());
        writer.place(idle, BlockHash::ROOT, &[BlockHash(2)], 1_001).unwrap();
        assert_eq!(Some(busy), writer.least_recently_used_endpoint());
        [(busy, 1_000), (idle, 1_001)].into_iter().for_each(|(of, used)| writer.evict(of, used, 1).unwrap());
        assert_eq!(None, writer.least_recently_used_endpoint());
    }
}
