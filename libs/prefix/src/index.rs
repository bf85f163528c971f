//! What readers see: which endpoints hold which block.

use std::hash::{BuildHasherDefault, Hasher};

use dashmap::DashMap;
use signalbox_types::{BlockHash, EndpointKey};
use smallvec::SmallVec;

/// An endpoint that holds a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who holds it.
    pub endpoint: EndpointKey,
    /// The seq of the change that last named the block, or a block after it that is gone again, at this endpoint.
    pub touched: u64,
    /// How many of the blocks that follow this one the endpoint holds too.
    pub(crate) children: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) parent: BlockHash,
    pub(crate) holders: SmallVec<[Holder; 2]>,
}

impl Node {
    pub(crate) fn holder_mut(&mut self, endpoint: EndpointKey) -> Option<&mut Holder> {
        self.holders.iter_mut().find(|holder| holder.endpoint == endpoint)
    }

    pub(crate) fn is_held_by(&self, endpoint: EndpointKey) -> bool {
        self.holders.iter().any(|holder| holder.endpoint == endpoint)
    }
}

/// Block hashes are uniform already; hashing them again would only cost time.
#[derive(Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Which endpoints hold which block of which prompts. Written by one [`crate::Residents`], read by any number of tasks.
///
/// Whoever holds a block holds all blocks before it, so along a chain the set of holders only shrinks. A reader that
/// runs while the writer writes may see a placement half done; it then sees a match that is too short.
#[derive(Debug, Default)]
pub struct Index {
    pub(crate) nodes: DashMap<BlockHash, Node, BuildHasherDefault<AsIs>>,
}

/// How much of a prompt is held, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// How many leading blocks are held by anyone.
    pub known: usize,
    /// For each endpoint that holds at least the first block: how many leading blocks it holds. Longest first.
    pub held: Vec<(EndpointKey, usize)>,
}

impl Index {
    /// Who holds how much of `chain`.
    ///
    /// Costs O(c · log n) block look-ups for a chain of n blocks whose set of holders changes c times along it.
    pub fn lookup(&self, chain: &[BlockHash]) -> Lookup {
        let known = chain.partition_point(|block| self.nodes.contains_key(block));
        let mut held: Vec<(EndpointKey, usize)> = Vec::new();
        let mut end = known;
        while end > 0 {
            let here = self.append_holders(&mut held, chain[end - 1], end);
            end = chain[..end - 1].partition_point(|block| self.count(*block) > here);
        }
        Lookup { known, held }
    }

    /// Whether anyone holds `block`.
    pub fn contains(&self, block: BlockHash) -> bool {
        self.nodes.contains_key(&block)
    }

    /// Number of distinct blocks held by anyone.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn count(&self, block: BlockHash) -> usize {
        self.nodes.get(&block).map_or(0, |node| node.holders.len())
    }

    /// Notes that the holders of `block` which are not in `held` yet hold `depth` blocks; says how many hold it.
    fn append_holders(&self, held: &mut Vec<(EndpointKey, usize)>, block: BlockHash, depth: usize) -> usize {
        let Some(node) = self.nodes.get(&block) else { return 0 };
        let longer = held.len();
        for holder in &node.holders {
            if !held[..longer].iter().any(|(endpoint, _)| *endpoint == holder.endpoint) {
                held.push((holder.endpoint, depth));
            }
        }
        node.holders.len()
    }
}
