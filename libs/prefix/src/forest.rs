//! All runs, as the writer keeps them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use signalbox_types::BlockHash;

use crate::index::{BuildAsIs, Index};
use crate::kept::{At, Kept, MARK_EVERY};
use crate::residents::Misfit;
use crate::shown::common;

/// A run that more endpoints use does not grow: what is shown of it would have to be built anew.
const GROWS_WITH_USES: usize = 8;

/// No run has more blocks, so that what travels of one has bounded size.
const BLOCKS_PER_RUN: usize = 4_096;

/// A run may be so many times longer than what is added to it, and so many blocks more: its blocks are copied when it grows.
const GROWS_TIMES: usize = 4;
const GROWS_ANYWAY: usize = 32;

/// About the memory of one run, without its blocks and uses; of one use; of one mark.
const RUN_BYTES: usize = 320;
const USE_BYTES: usize = 72;
const MARK_BYTES: usize = 32;

/// All runs, and where the blocks are that changes can name.
#[derive(Debug, Default)]
pub(crate) struct Forest {
    index: Arc<Index>,
    runs: Vec<Option<Kept>>,
    vacant: Vec<u32>,
    marks: HashMap<BlockHash, At, BuildAsIs>,
    /// Of all blocks that are in memory.
    blocks_bytes: usize,
    /// Uses in all runs.
    pub(crate) uses: usize,
}

impl Forest {
    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    pub(crate) fn run(&self, run: u32) -> Option<&Kept> {
        self.runs.get(run as usize)?.as_ref()
    }

    pub(crate) fn run_mut(&mut self, run: u32) -> Option<&mut Kept> {
        self.runs.get_mut(run as usize)?.as_mut()
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = &Kept> {
        self.runs.iter().flatten()
    }

    /// The block at a place.
    pub(crate) fn block(&self, at: At) -> Option<BlockHash> {
        self.run(at.run)?.blocks().get(at.offset as usize).copied()
    }

    /// The run that begins with `head`.
    pub(crate) fn headed(&self, head: BlockHash) -> Option<u32> {
        self.marks.get(&head).filter(|at| at.offset == 0).map(|at| at.run)
    }

    /// About how much memory the runs take.
    pub(crate) fn bytes(&self) -> usize {
        let runs = self.runs.len() - self.vacant.len();
        self.blocks_bytes + runs * RUN_BYTES + self.uses * USE_BYTES + self.marks.len() * MARK_BYTES
    }

    /// Where `anchor` is; nowhere if it is the root.
    ///
    /// Whether an anchor is found depends on the blocks that are held alone, and not on how they are divided into runs.
    pub(crate) fn resolve(&self, anchor: BlockHash) -> Result<Option<At>, Misfit> {
        if anchor == BlockHash::ROOT {
            return Ok(None);
        }
        let at = self.marks.get(&anchor).copied();
        let is_mark = |at: &At| self.position(*at).is_multiple_of(MARK_EVERY);
        at.filter(is_mark).map(Some).ok_or(Misfit::Block(anchor))
    }

    /// Goes from `at` along `chain` as far as its blocks are there: to which block, and by how many.
    pub(crate) fn advance(&self, mut at: Option<At>, chain: &[BlockHash]) -> (Option<At>, usize) {
        let mut known = 0;
        while known < chain.len() {
            if let Some(place) = &mut at
                && let Some(run) = self.run(place.run)
            {
                let shared = common(&run.blocks()[place.offset as usize + 1..], &chain[known..]);
                place.offset += shared as u32;
                known += shared;
            }
            let next = chain.get(known).and_then(|head| self.headed(*head));
            match next.filter(|run| self.run(*run).is_some_and(|run| run.parent == at)) {
                Some(run) => (at, known) = (Some(At { run, offset: 0 }), known + 1),
                None => break,
            }
        }
        (at, known)
    }

    /// Whether blocks that are not there yet can follow `at`: none may be the root, or be found elsewhere.
    pub(crate) fn admit(&self, at: Option<At>, new: &[BlockHash]) -> Result<(), Misfit> {
        let start = at.map_or(0, |at| self.position(at) + 1);
        let to_mark = (MARK_EVERY - start % MARK_EVERY) % MARK_EVERY;
        let marks = new.iter().skip(to_mark as usize).step_by(MARK_EVERY as usize);
        let taken = new.first().into_iter().chain(marks).find(|block| self.marks.contains_key(block));
        match taken.or_else(|| new.iter().find(|block| **block == BlockHash::ROOT)) {
            Some(block) => Err(Misfit::Block(*block)),
            None => Ok(()),
        }
    }

    /// Goes from `at` to the end of `chain`, adding the blocks that are not there. What is added must be held before anything else
    /// is done; readers do not see it yet.
    pub(crate) fn grow(&mut self, at: Option<At>, chain: &[BlockHash]) -> Result<Option<At>, Misfit> {
        let (at, known) = self.advance(at, chain);
        let new = &chain[known..];
        if new.is_empty() {
            return Ok(at);
        }
        self.admit(at, new)?;
        Ok(new.chunks(BLOCKS_PER_RUN).fold(at, |at, new| Some(self.append(at, new))))
    }

    /// Adds blocks, none of which is there, and says where the last of them is.
    fn append(&mut self, at: Option<At>, new: &[BlockHash]) -> At {
        let run = match at {
            Some(place) if self.may_grow(place, new.len()) => self.extend(place.run, new),
            _ => self.add(Kept::new(new.into(), at, at.map_or(0, |at| self.position(at) + 1))),
        };
        At { run, offset: self.run(run).map_or(0, |kept| kept.len - 1) }
    }

    /// The runs that lead to `at`, the first of the chain first, each with how many of its blocks do.
    pub(crate) fn path(&self, at: Option<At>, path: &mut Vec<(u32, u32)>) {
        path.clear();
        let mut next = at;
        while let Some(At { run, offset }) = next {
            path.push((run, offset + 1));
            next = self.run(run).and_then(|kept| kept.parent);
        }
        path.reverse();
    }

    /// How many blocks come before the one at a place.
    pub(crate) fn position(&self, at: At) -> u32 {
        self.run(at.run).map_or(0, |kept| kept.start + at.offset)
    }

    /// Shows readers a run as it is now.
    pub(crate) fn show(&self, run: u32) {
        if let Some(kept) = self.run(run) {
            self.index.runs.pin().insert(kept.blocks[0], kept.shown());
        }
    }

    /// Shows readers a run after something of it was given up; what nobody needs any more goes.
    pub(crate) fn trim(&mut self, run: u32) {
        let mut next = Some(run);
        while let Some(run) = next.take() {
            let Some(needed) = self.run(run).map(Kept::needed) else { return };
            if needed > 0 {
                self.cut(run, needed);
                self.show(run);
            } else if let Some(At { run, offset }) = self.remove(run)
                && let Some(parent) = self.run_mut(run)
            {
                parent.unfork(offset);
                // Nothing that was needed before ends elsewhere.
                next = (offset + 1 == parent.len).then_some(run);
            }
        }
    }

    /// Takes a run in, under its parent.
    pub(crate) fn add(&mut self, kept: Kept) -> u32 {
        let run = self.vacant.pop().unwrap_or(self.runs.len() as u32);
        if run as usize == self.runs.len() {
            self.runs.push(None);
        }
        if let Some(At { run, offset }) = kept.parent
            && let Some(parent) = self.run_mut(run)
        {
            parent.fork(offset);
        }
        self.blocks_bytes += kept.blocks.len() * 8;
        self.index.blocks.fetch_add(kept.len as usize, Ordering::Relaxed);
        self.mark(run, &kept, 0);
        self.runs[run as usize] = Some(kept);
        run
    }

    fn may_grow(&self, at: At, by: usize) -> bool {
        self.run(at.run).is_some_and(|kept| {
            at.offset + 1 == kept.len
                && kept.uses.len() <= GROWS_WITH_USES
                && kept.len as usize <= by * GROWS_TIMES + GROWS_ANYWAY
                && kept.len as usize + by <= BLOCKS_PER_RUN
        })
    }

    fn extend(&mut self, run: u32, new: &[BlockHash]) -> u32 {
        let Some(mut kept) = self.runs[run as usize].take() else { return run };
        let from = kept.len;
        self.blocks_bytes -= kept.blocks.len() * 8;
        kept.blocks = kept.blocks().iter().chain(new).copied().collect();
        kept.len = kept.blocks.len() as u32;
        self.blocks_bytes += kept.blocks.len() * 8;
        self.index.blocks.fetch_add(new.len(), Ordering::Relaxed);
        self.mark(run, &kept, from);
        self.runs[run as usize] = Some(kept);
        run
    }

    fn mark(&mut self, run: u32, kept: &Kept, from: u32) {
        for offset in kept.marked(from..kept.len) {
            self.marks.insert(kept.blocks[offset as usize], At { run, offset });
        }
    }

    fn unmark(&mut self, run: u32, kept: &Kept, from: u32) {
        for offset in kept.marked(from..kept.len) {
            let block = kept.blocks[offset as usize];
            if self.marks.get(&block) == Some(&At { run, offset }) {
                self.marks.remove(&block);
            }
        }
    }

    /// Leaves `len` blocks of a run. Memory is given back when half of it is not needed.
    fn cut(&mut self, run: u32, len: u32) {
        let Some(mut kept) = self.runs[run as usize].take() else { return };
        if len < kept.len {
            self.unmark(run, &kept, len);
            self.index.blocks.fetch_sub((kept.len - len) as usize, Ordering::Relaxed);
            kept.len = len;
            if kept.blocks.len() >= 2 * len as usize {
                self.blocks_bytes -= (kept.blocks.len() - len as usize) * 8;
                kept.blocks = kept.blocks().into();
            }
        }
        self.runs[run as usize] = Some(kept);
    }

    fn remove(&mut self, run: u32) -> Option<At> {
        let kept = self.runs[run as usize].take()?;
        self.vacant.push(run);
        self.unmark(run, &kept, 0);
        self.blocks_bytes -= kept.blocks.len() * 8;
        self.index.blocks.fetch_sub(kept.len as usize, Ordering::Relaxed);
        self.index.runs.pin().remove(&kept.blocks[0]);
        kept.parent
    }
}
