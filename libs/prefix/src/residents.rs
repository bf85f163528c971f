//! The one writer of an [`Index`]: what each endpoint holds, in which order it was used, and what it sums up to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signalbox_types::{BlockHash, EndpointKey};
use smallvec::smallvec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::index::{Holder, Index, Node};

/// A change names a block that should be there and is not: the writer and the source of its changes have diverged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing(pub BlockHash);

/// A block with its holders, as it stands in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The block.
    pub hash: BlockHash,
    /// The one before it, [`BlockHash::ROOT`] for the first of a chain.
    pub parent: BlockHash,
    /// Who holds it, and the seq of the change that last named it there.
    pub holders: Vec<(EndpointKey, u64)>,
}

/// What one endpoint holds.
#[derive(Clone, Debug, Default)]
struct Held {
    blocks: usize,
    digest: u64,
    /// The blocks that nothing held follows, least recently touched first.
    leaves: BTreeSet<(u64, BlockHash)>,
}

/// Whether an endpoint held a block already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    New,
    Before,
}

/// The single writer of an [`Index`].
#[derive(Debug, Default)]
pub struct Residents {
    index: Arc<Index>,
    held: BTreeMap<EndpointKey, Held>,
}

impl Residents {
    /// Builds the index that a snapshot describes.
    ///
    /// # Errors
    /// [`Missing`] when a block's parent is not held where the block is.
    pub fn from_blocks(blocks: Vec<Block>) -> Result<Self, Missing> {
        let mut residents = Self::default();
        let mut links = Vec::new();
        for Block { hash, parent, holders } in blocks {
            let as_holder = |(endpoint, touched): &(EndpointKey, u64)| Holder {
                endpoint: *endpoint,
                touched: *touched,
                children: 0,
            };
            let node = Node { parent, holders: holders.iter().map(as_holder).collect() };
            residents.index.nodes.insert(hash, node);
            for (endpoint, touched) in holders {
                let held = residents.held.entry(endpoint).or_default();
                held.blocks += 1;
                held.digest = held.digest.wrapping_add(digest(endpoint, hash, touched));
                held.leaves.insert((touched, hash));
                links.push((endpoint, parent));
            }
        }
        for (endpoint, parent) in links {
            let touched = residents.add_child(endpoint, parent)?;
            residents.forget_leaf(endpoint, parent, touched);
        }
        Ok(residents)
    }

    /// The index, for readers.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// How many blocks `endpoint` holds.
    pub fn held(&self, endpoint: EndpointKey) -> usize {
        self.held.get(&endpoint).map_or(0, |held| held.blocks)
    }

    /// The wrapping sum over the blocks that `endpoint` holds and when they were touched.
    pub fn digest(&self, endpoint: EndpointKey) -> u64 {
        self.held.get(&endpoint).map_or(0, |held| held.digest)
    }

    /// The wrapping sum over all endpoints of [`Self::digest`].
    pub fn total_digest(&self) -> u64 {
        self.held.values().fold(0, |sum, held| sum.wrapping_add(held.digest))
    }

    /// Every block with its holders, in no particular order.
    pub fn blocks(&self) -> Vec<Block> {
        let to_block = |entry: dashmap::mapref::multiple::RefMulti<'_, BlockHash, Node>| Block {
            hash: *entry.key(),
            parent: entry.parent,
            holders: entry.holders.iter().map(|holder| (holder.endpoint, holder.touched)).collect(),
        };
        self.index.nodes.iter().map(to_block).collect()
    }

    /// Notes that `endpoint` holds `anchor`, everything before it, and the chain `suffix` that follows it, and that the
    /// last of these blocks was used at `touched`. An `anchor` of [`BlockHash::ROOT`] means that the chain begins with `suffix`.
    ///
    /// # Errors
    /// [`Missing`] when nobody holds `anchor`; then nothing has changed.
    pub fn place(
        &mut self,
        endpoint: EndpointKey,
        anchor: BlockHash,
        suffix: &[BlockHash],
        touched: u64,
    ) -> Result<(), Missing> {
        let mut chain = self.unheld_ancestors(endpoint, anchor)?;
        chain.reverse();
        let mut last = anchor;
        chain.extend(suffix.iter().map(|block| (*block, std::mem::replace(&mut last, *block))));
        self.hold_chain(endpoint, &chain, touched)?;
        self.touch(endpoint, last, touched);
        Ok(())
    }

    /// Notes that `endpoint` gave up `blocks` blocks: `leaf`, and from there towards the beginning of its chain.
    ///
    /// # Errors
    /// [`Missing`] when one of them is not held by `endpoint` or is followed by a block that is.
    pub fn evict(&mut self, endpoint: EndpointKey, leaf: BlockHash, blocks: u32) -> Result<(), Missing> {
        let mut block = leaf;
        for _ in 0..blocks {
            block = self.release(endpoint, block)?;
        }
        Ok(())
    }

    /// Forgets all that `endpoint` holds. Costs what it holds.
    pub fn forget(&mut self, endpoint: EndpointKey) {
        while let Some((touched, leaf)) =
            self.held.get(&endpoint).and_then(|held| held.leaves.first().copied())
        {
            self.forget_leaf(endpoint, leaf, touched);
            let mut block = leaf;
            while let Ok(parent) = self.release(endpoint, block) {
                block = parent;
            }
        }
        self.held.remove(&endpoint);
    }

    /// The leaf of `endpoint` that has not been used for the longest time, and how many blocks, at most `limit`, are as
    /// old and go with it: what [`Self::evict`] shall be asked to take to make room.
    pub fn oldest(&self, endpoint: EndpointKey, limit: usize) -> Option<(BlockHash, u32)> {
        let (touched, leaf) = self.held.get(&endpoint)?.leaves.first().copied()?;
        let mut blocks = 1;
        let mut parent = self.index.nodes.get(&leaf)?.parent;
        while (blocks as usize) < limit {
            let Some(node) = self.index.nodes.get(&parent) else { break };
            let Some(holder) = node.holders.iter().find(|holder| holder.endpoint == endpoint) else { break };
            if holder.children > 1 || holder.touched > touched {
                break;
            }
            blocks += 1;
            parent = node.parent;
        }
        Some((leaf, blocks))
    }

    /// `anchor` and the blocks before it that `endpoint` does not hold, each with its parent, from the anchor backwards.
    fn unheld_ancestors(
        &self,
        endpoint: EndpointKey,
        anchor: BlockHash,
    ) -> Result<Vec<(BlockHash, BlockHash)>, Missing> {
        let mut unheld = Vec::new();
        let mut block = anchor;
        while block != BlockHash::ROOT {
            let node = self.index.nodes.get(&block).ok_or(Missing(block))?;
            if node.is_held_by(endpoint) {
                break;
            }
            unheld.push((block, node.parent));
            block = node.parent;
        }
        Ok(unheld)
    }

    /// Holds consecutive blocks, each given with the one before it. Only where a run of them that were not held before ends is a
    /// leaf; a chain of n blocks costs n look-ups and no more than two leaves.
    fn hold_chain(
        &mut self,
        endpoint: EndpointKey,
        chain: &[(BlockHash, BlockHash)],
        touched: u64,
    ) -> Result<(), Missing> {
        let (mut blocks, mut sum, mut latest) = (0, 0_u64, BlockHash::ROOT);
        for (block, parent) in chain {
            if self.hold(endpoint, *block, *parent, touched) == Holding::Before {
                self.note_leaf(endpoint, std::mem::replace(&mut latest, BlockHash::ROOT));
                continue;
            }
            let holder_touched = self.add_child(endpoint, *parent)?;
            if *parent != latest {
                self.forget_leaf(endpoint, *parent, holder_touched);
            }
            (blocks, sum, latest) = (blocks + 1, sum.wrapping_add(digest(endpoint, *block, touched)), *block);
        }
        let held = self.held.entry(endpoint).or_default();
        held.blocks += blocks;
        held.digest = held.digest.wrapping_add(sum);
        self.note_leaf(endpoint, latest);
        Ok(())
    }

    fn hold(&self, endpoint: EndpointKey, block: BlockHash, parent: BlockHash, touched: u64) -> Holding {
        let fresh = || Node { parent, holders: smallvec![] };
        let mut node = self.index.nodes.entry(block).or_insert_with(fresh);
        if node.is_held_by(endpoint) {
            return Holding::Before;
        }
        node.holders.push(Holder { endpoint, touched, children: 0 });
        Holding::New
    }

    /// Counts one more held block after `parent`, and says when that was touched.
    fn add_child(&self, endpoint: EndpointKey, parent: BlockHash) -> Result<u64, Missing> {
        if parent == BlockHash::ROOT {
            return Ok(0);
        }
        let mut node = self.index.nodes.get_mut(&parent).ok_or(Missing(parent))?;
        let holder = node.holder_mut(endpoint).ok_or(Missing(parent))?;
        holder.children += 1;
        Ok(holder.touched)
    }

    fn note_leaf(&mut self, endpoint: EndpointKey, block: BlockHash) {
        let Some(node) = self.index.nodes.get(&block) else { return };
        let own = node.holders.iter().find(|holder| holder.endpoint == endpoint && holder.children == 0);
        if let Some(holder) = own {
            self.held.entry(endpoint).or_default().leaves.insert((holder.touched, block));
        }
    }

    fn forget_leaf(&mut self, endpoint: EndpointKey, block: BlockHash, touched: u64) {
        if let Some(held) = self.held.get_mut(&endpoint) {
            held.leaves.remove(&(touched, block));
        }
    }

    fn touch(&mut self, endpoint: EndpointKey, block: BlockHash, touched: u64) {
        let Some(mut node) = self.index.nodes.get_mut(&block) else { return };
        let Some(holder) = node.holder_mut(endpoint) else { return };
        let Some(held) = self.held.get_mut(&endpoint) else { return };
        let before = std::mem::replace(&mut holder.touched, touched);
        held.digest = held
            .digest
            .wrapping_sub(digest(endpoint, block, before))
            .wrapping_add(digest(endpoint, block, touched));
        if held.leaves.remove(&(before, block)) {
            held.leaves.insert((touched, block));
        }
    }

    /// Gives up `block`, a leaf, and says which block came before it.
    fn release(&mut self, endpoint: EndpointKey, block: BlockHash) -> Result<BlockHash, Missing> {
        let (parent, touched) = self.drop_holder(endpoint, block)?;
        let held = self.held.get_mut(&endpoint).ok_or(Missing(block))?;
        held.blocks -= 1;
        held.digest = held.digest.wrapping_sub(digest(endpoint, block, touched));
        held.leaves.remove(&(touched, block));
        if self.remove_child(endpoint, parent) {
            self.inherit_touch(endpoint, parent, touched);
        }
        Ok(parent)
    }

    fn drop_holder(&self, endpoint: EndpointKey, block: BlockHash) -> Result<(BlockHash, u64), Missing> {
        let mut node = self.index.nodes.get_mut(&block).ok_or(Missing(block))?;
        let at = node.holders.iter().position(|holder| holder.endpoint == endpoint && holder.children == 0);
        let holder = node.holders.remove(at.ok_or(Missing(block))?);
        let (parent, orphaned) = (node.parent, node.holders.is_empty());
        drop(node);
        if orphaned {
            self.index.nodes.remove(&block);
        }
        Ok((parent, holder.touched))
    }

    /// Counts one held block less after `parent`; says whether there is such a parent.
    fn remove_child(&mut self, endpoint: EndpointKey, parent: BlockHash) -> bool {
        let Some(mut node) = self.index.nodes.get_mut(&parent) else { return false };
        let Some(holder) = node.holder_mut(endpoint) else { return false };
        holder.children -= 1;
        if holder.children == 0
            && let Some(held) = self.held.get_mut(&endpoint)
        {
            held.leaves.insert((holder.touched, parent));
        }
        true
    }

    /// A block is as recently used as the most recent of the blocks that followed it.
    fn inherit_touch(&mut self, endpoint: EndpointKey, block: BlockHash, touched: u64) {
        let own = self.index.nodes.get(&block).and_then(|node| {
            node.holders.iter().find(|holder| holder.endpoint == endpoint).map(|holder| holder.touched)
        });
        if own.is_some_and(|own| own < touched) {
            self.touch(endpoint, block, touched);
        }
    }
}

fn digest(endpoint: EndpointKey, block: BlockHash, touched: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&block.0.to_le_bytes());
    bytes[8..].copy_from_slice(&touched.to_le_bytes());
    xxh3_64_with_seed(&bytes, endpoint.0)
}
