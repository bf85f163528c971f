//! Reads the memory that placements will need, for many of them at once: the processor then waits for all of it together, not
//! for one placement after the other.

use std::hint::black_box;

use signalbox_types::{BlockHash, EndpointKey};

use super::IndexWriter;
use super::stored_run::BlockRef;

impl IndexWriter {
    /// Reads what placements at these endpoints, each after an anchor, will need, and the evictions that follow them. Changes
    /// nothing.
    pub fn read_ahead(&self, placements: impl Iterator<Item = (EndpointKey, BlockHash)>) {
        // In steps: within one, no placement waits for what another one reads.
        let blocks = placements.flat_map(|(endpoint, anchor)| self.next_blocks(endpoint, anchor)).flatten();
        let blocks: Vec<BlockRef> = blocks.collect();
        let head_and_block = |at: &BlockRef| {
            let stored = self.store.run(at.run)?;
            Some((stored.blocks[0], stored.blocks.get(at.offset as usize)))
        };
        let read: Vec<_> = blocks.iter().filter_map(head_and_block).collect();
        let published = self.index().runs.pin();
        black_box(read.iter().filter(|(head, _)| published.get(head).is_some()).count());
        black_box(read);
    }

    /// Returns where the anchor is, and the block that is evicted next from the endpoint.
    fn next_blocks(&self, endpoint: EndpointKey, anchor: BlockHash) -> [Option<BlockRef>; 2] {
        let anchor = self.store.find_anchor(anchor).ok().flatten();
        let oldest = self.endpoints.get(&endpoint).and_then(|held| held.tails.first_key_value());
        [anchor, oldest.map(|(_, tail)| tail.last)]
    }
}
