//! Stores all runs, and publishes them to readers.

mod capture;
mod publication;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use signalbox_types::BlockHash;

use self::capture::Capture;
pub(super) use self::publication::Lost;
use super::error::IndexError;
use super::stored_run::{BlockRef, StoredRun};
use crate::anchor::ANCHOR_INTERVAL;
use crate::identity_hasher::BuildIdentityHasher;
use crate::reader::Index;
use crate::shared_prefix::shared_prefix_len;

/// A run with more uses does not grow, because the published run would have to be rebuilt.
const MAX_USES_TO_GROW: usize = 8;

/// Maximum number of blocks in a run, so that a run in a snapshot has a bounded size.
const MAX_RUN_BLOCKS: usize = 4_096;

/// A run grows if its length is at most [`GROWTH_FACTOR`] × the added blocks + [`GROWTH_ALLOWANCE`], because
/// growing copies all its blocks.
const GROWTH_FACTOR: usize = 4;
const GROWTH_ALLOWANCE: usize = 32;

/// Approximate memory of one run without its blocks and uses, in bytes.
const RUN_BYTES: usize = 320;

/// Approximate memory of one use, in bytes.
const USE_BYTES: usize = 72;

/// Approximate memory of one entry in the map of anchors, in bytes.
const ANCHOR_BYTES: usize = 32;

/// All runs, and a map to the blocks that changes can refer to by hash.
#[derive(Debug, Default)]
pub(super) struct RunStore {
    index: Arc<Index>,
    runs: Vec<Option<StoredRun>>,
    /// Free indexes in `runs`.
    vacant: Vec<u32>,
    /// Positions of the possible anchors and of each run's first block.
    anchors: HashMap<BlockHash, BlockRef, BuildIdentityHasher>,
    /// Memory of all blocks, in bytes.
    block_bytes: usize,
    /// Number of uses in all runs.
    pub(super) uses: usize,
    /// What copies runs before they change.
    capture: Option<Capture>,
    /// The steps of all such copies.
    pub(super) early_steps: usize,
}

impl RunStore {
    pub(super) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    pub(super) fn run(&self, run: u32) -> Option<&StoredRun> {
        self.runs.get(run as usize)?.as_ref()
    }

    pub(super) fn run_mut(&mut self, run: u32) -> Option<&mut StoredRun> {
        self.capture_before_change(run);
        self.runs.get_mut(run as usize)?.as_mut()
    }

    /// Takes a run out, to remove it or to put it back after it has changed.
    fn take_run(&mut self, run: u32) -> Option<StoredRun> {
        self.capture_before_change(run);
        self.runs.get_mut(run as usize)?.take()
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &StoredRun> {
        self.runs.iter().flatten()
    }

    /// Returns the block at `at`.
    pub(super) fn block(&self, at: BlockRef) -> Option<BlockHash> {
        self.run(at.run)?.blocks().get(at.offset as usize).copied()
    }

    /// Returns the run whose first block is `head`.
    pub(super) fn run_starting_with(&self, head: BlockHash) -> Option<u32> {
        self.anchors.get(&head).filter(|at| at.offset == 0).map(|at| at.run)
    }

    /// Returns the approximate memory use of all runs, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let runs = self.runs.len() - self.vacant.len();
        self.block_bytes + runs * RUN_BYTES + self.uses * USE_BYTES + self.anchors.len() * ANCHOR_BYTES
    }

    /// Returns the position of `anchor`; `None` for the root.
    ///
    /// Whether an anchor is found depends only on the blocks that are held, not on how they are divided into
    /// runs.
    pub(super) fn find_anchor(&self, anchor: BlockHash) -> Result<Option<BlockRef>, IndexError> {
        if anchor == BlockHash::ROOT {
            return Ok(None);
        }
        let at = self.anchors.get(&anchor).copied();
        let is_anchor = |at: &BlockRef| self.position(*at).is_multiple_of(ANCHOR_INTERVAL);
        at.filter(is_anchor).map(Some).ok_or(IndexError::Block(anchor))
    }

    /// Follows `chain` from `at` as far as its blocks are stored. Returns the last stored block and the
    /// number of blocks followed.
    pub(super) fn follow(&self, mut at: Option<BlockRef>, chain: &[BlockHash]) -> (Option<BlockRef>, usize) {
        let mut known = 0;
        while known < chain.len() {
            if let Some(position) = &mut at
                && let Some(run) = self.run(position.run)
            {
                let shared =
                    shared_prefix_len(&run.blocks()[position.offset as usize + 1..], &chain[known..]);
                position.offset += shared as u32;
                known += shared;
            }
            let next = chain.get(known).and_then(|head| self.run_starting_with(*head));
            match next.filter(|run| self.run(*run).is_some_and(|run| run.parent == at)) {
                Some(run) => (at, known) = (Some(BlockRef { run, offset: 0 }), known + 1),
                None => break,
            }
        }
        (at, known)
    }

    /// Checks that the `new` blocks, which are not stored yet, can follow `at`: none is the root or is stored
    /// elsewhere.
    pub(super) fn check_new_blocks(&self, at: Option<BlockRef>, new: &[BlockHash]) -> Result<(), IndexError> {
        let start = at.map_or(0, |at| self.position(at) + 1);
        let to_anchor = (ANCHOR_INTERVAL - start % ANCHOR_INTERVAL) % ANCHOR_INTERVAL;
        let anchors = new.iter().skip(to_anchor as usize).step_by(ANCHOR_INTERVAL as usize);
        let taken = new.first().into_iter().chain(anchors).find(|block| self.anchors.contains_key(block));
        match taken.or_else(|| new.iter().find(|block| **block == BlockHash::ROOT)) {
            Some(block) => Err(IndexError::Block(*block)),
            None => Ok(()),
        }
    }

    /// Follows `chain` from `at` to its end and adds the blocks that are not stored. The caller must record a
    /// holder of the added blocks before any other change. Readers do not see them yet.
    pub(super) fn extend_chain(
        &mut self,
        at: Option<BlockRef>,
        chain: &[BlockHash],
    ) -> Result<Option<BlockRef>, IndexError> {
        let (at, known) = self.follow(at, chain);
        let new = &chain[known..];
        if new.is_empty() {
            return Ok(at);
        }
        self.check_new_blocks(at, new)?;
        Ok(new.chunks(MAX_RUN_BLOCKS).fold(at, |at, new| Some(self.append(at, new))))
    }

    /// Adds `new` blocks, none of which is stored, and returns the position of the last one.
    fn append(&mut self, at: Option<BlockRef>, new: &[BlockHash]) -> BlockRef {
        let run = match at {
            Some(position) if self.can_grow(position, new.len()) => self.grow(position.run, new),
            _ => self.insert(StoredRun::new(new.into(), at, at.map_or(0, |at| self.position(at) + 1))),
        };
        BlockRef { run, offset: self.run(run).map_or(0, |stored| stored.len - 1) }
    }

    /// Fills `path` with the runs that lead to `at`, in the order of the chain, each with the number of its
    /// blocks on the way.
    pub(super) fn path(&self, at: Option<BlockRef>, path: &mut Vec<(u32, u32)>) {
        path.clear();
        let mut next = at;
        while let Some(BlockRef { run, offset }) = next {
            path.push((run, offset + 1));
            next = self.run(run).and_then(|stored| stored.parent);
        }
        path.reverse();
    }

    /// Returns how many blocks of the chain come before the one at `at`.
    pub(super) fn position(&self, at: BlockRef) -> u32 {
        self.run(at.run).map_or(0, |stored| stored.start + at.offset)
    }

    /// Stores a run and adds it to the branches of its parent.
    pub(super) fn insert(&mut self, stored: StoredRun) -> u32 {
        let run = self.vacant.pop().unwrap_or(self.runs.len() as u32);
        if run as usize == self.runs.len() {
            self.runs.push(None);
        }
        self.capture_before_change(run);
        if let Some(BlockRef { run, offset }) = stored.parent
            && let Some(parent) = self.run_mut(run)
        {
            parent.add_branch(offset);
        }
        self.block_bytes += stored.blocks.len() * 8;
        self.index.blocks.fetch_add(stored.len as usize, Ordering::Relaxed);
        self.index_anchors(run, &stored, 0);
        self.runs[run as usize] = Some(stored);
        run
    }

    fn can_grow(&self, at: BlockRef, by: usize) -> bool {
        self.run(at.run).is_some_and(|stored| {
            at.offset + 1 == stored.len
                && stored.uses.len() <= MAX_USES_TO_GROW
                && stored.len as usize <= by * GROWTH_FACTOR + GROWTH_ALLOWANCE
                && stored.len as usize + by <= MAX_RUN_BLOCKS
        })
    }

    fn grow(&mut self, run: u32, new: &[BlockHash]) -> u32 {
        let Some(mut stored) = self.take_run(run) else { return run };
        let from = stored.len;
        self.block_bytes -= stored.blocks.len() * 8;
        stored.blocks = stored.blocks().iter().chain(new).copied().collect();
        stored.len = stored.blocks.len() as u32;
        self.block_bytes += stored.blocks.len() * 8;
        self.index.blocks.fetch_add(new.len(), Ordering::Relaxed);
        self.index_anchors(run, &stored, from);
        self.runs[run as usize] = Some(stored);
        run
    }

    fn index_anchors(&mut self, run: u32, stored: &StoredRun, from: u32) {
        for offset in stored.indexed_offsets(from..stored.len) {
            self.anchors.insert(stored.blocks[offset as usize], BlockRef { run, offset });
        }
    }

    fn unindex_anchors(&mut self, run: u32, stored: &StoredRun, from: u32) {
        for offset in stored.indexed_offsets(from..stored.len) {
            let block = stored.blocks[offset as usize];
            if self.anchors.get(&block) == Some(&BlockRef { run, offset }) {
                self.anchors.remove(&block);
            }
        }
    }

    /// Truncates a run to `len` blocks. Releases memory if at least half of it is unused.
    fn truncate(&mut self, run: u32, len: u32) {
        if self.run(run).is_none_or(|stored| stored.len <= len) {
            return;
        }
        let Some(mut stored) = self.take_run(run) else { return };
        self.unindex_anchors(run, &stored, len);
        self.index.blocks.fetch_sub((stored.len - len) as usize, Ordering::Relaxed);
        stored.len = len;
        if stored.blocks.len() >= 2 * len as usize {
            self.block_bytes -= (stored.blocks.len() - len as usize) * 8;
            stored.blocks = stored.blocks().into();
        }
        self.runs[run as usize] = Some(stored);
    }

    fn remove(&mut self, run: u32) -> Option<BlockRef> {
        let stored = self.take_run(run)?;
        self.vacant.push(run);
        self.unindex_anchors(run, &stored, 0);
        self.block_bytes -= stored.blocks.len() * 8;
        self.index.blocks.fetch_sub(stored.len as usize, Ordering::Relaxed);
        self.index.runs.pin().remove(&stored.blocks[0]);
        stored.parent
    }
}
