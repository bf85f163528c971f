//! The one writer of an [`Index`]: what each endpoint holds, in which order it was used, and what it sums up to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use signalbox_types::{BlockHash, EndpointKey};
use thiserror::Error;

use crate::forest::Forest;
use crate::held::{Held, Tail, sum_of_use};
use crate::index::Index;
use crate::kept::{At, MARK_EVERY, Use};
use crate::slots::{Slot, Slots};

/// A change does not fit what is held: the writer and the source of its changes have diverged, or the source is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misfit {
    /// A block that it names is not where it says.
    #[error("block {block:016x} is not where it was said to be", block = .0.0)]
    Block(BlockHash),
    /// An endpoint holds nothing that it used then, or something that it used then or later.
    #[error("what was used at {0} is not what it was said to be")]
    Use(u64),
}

/// Where a placement of `chain` begins of which `known` leading blocks are known: the block that it names as its anchor
/// ([`BlockHash::ROOT`] if none is known), and how many blocks come before what it names itself.
///
/// Only every sixteenth block can be an anchor, so up to 15 blocks are named although they are known. In return nobody has to find any
/// block by its hash but these few.
pub fn anchor(chain: &[BlockHash], known: usize) -> (BlockHash, usize) {
    anchor_after(BlockHash::ROOT, chain, known)
}

/// As [`anchor()`], for what follows an anchor: where it begins if `known` blocks of `suffix` are known too.
pub fn anchor_after(anchor: BlockHash, suffix: &[BlockHash], known: usize) -> (BlockHash, usize) {
    // Blocks from one anchor to the next; the first block of a chain is one.
    let to_mark = if anchor == BlockHash::ROOT { 0 } else { MARK_EVERY as usize - 1 };
    match known.min(suffix.len()).checked_sub(to_mark + 1) {
        None => (anchor, 0),
        Some(more) => {
            let mark = to_mark + more - more % MARK_EVERY as usize;
            (suffix[mark], mark + 1)
        }
    }
}

/// The single writer of an [`Index`].
#[derive(Debug, Default)]
pub struct Residents {
    pub(crate) forest: Forest,
    pub(crate) held: BTreeMap<EndpointKey, Held>,
    pub(crate) path: Vec<(u32, u32)>,
}

impl Residents {
    /// The index, for readers.
    pub fn index(&self) -> &Arc<Index> {
        self.forest.index()
    }

    /// How many blocks `endpoint` was sent and still holds.
    pub fn held(&self, endpoint: EndpointKey) -> usize {
        self.held.get(&endpoint).map_or(0, |held| held.placed)
    }

    /// The wrapping sum over what `endpoint` holds and when it was used. It depends on that alone, not on how it came about.
    pub fn digest(&self, endpoint: EndpointKey) -> u64 {
        self.held.get(&endpoint).map_or(0, |held| held.digest)
    }

    /// The wrapping sum over all endpoints of [`Self::digest`].
    pub fn total_digest(&self) -> u64 {
        self.held.values().fold(0, |sum, held| sum.wrapping_add(held.digest))
    }

    /// About how many bytes of memory all this takes.
    pub fn bytes(&self) -> usize {
        self.forest.bytes()
    }

    /// How many leading blocks of `suffix`, which follows `anchor`, anyone holds, or needs to reach others that are held.
    ///
    /// # Errors
    /// [`Misfit`] when `anchor` is not known, or what follows the known blocks cannot: [`Self::place`] would refuse it too.
    pub fn known(&self, anchor: BlockHash, suffix: &[BlockHash]) -> Result<usize, Misfit> {
        let (at, known) = self.forest.advance(self.forest.resolve(anchor)?, suffix);
        self.forest.admit(at, &suffix[known..])?;
        Ok(known)
    }

    /// Notes that `endpoint` was sent, at `used`, the prompt that ends with `suffix`, which follows `anchor`: it holds all its
    /// blocks. An `anchor` of [`BlockHash::ROOT`] means that the prompt is `suffix`; any other must be one that [`anchor`] gives.
    /// `used` grows with every call for the endpoint.
    ///
    /// Costs a step for each run that the prompt passes through, and for each block that nobody held.
    ///
    /// # Errors
    /// [`Misfit`] when `anchor` is not known, `suffix` cannot follow it, or `used` is not later than before; then nothing has changed.
    pub fn place(
        &mut self,
        endpoint: EndpointKey,
        anchor: BlockHash,
        suffix: &[BlockHash],
        used: u64,
    ) -> Result<(), Misfit> {
        let latest = self.held.get(&endpoint).and_then(|held| held.tails.last_key_value());
        if latest.is_some_and(|(latest, _)| *latest >= used) {
            return Err(Misfit::Use(used));
        }
        let anchor = self.forest.resolve(anchor)?;
        let Some(last) = self.forest.grow(anchor, suffix)? else { return Ok(()) };
        self.reserve(endpoint);
        self.forest.path(Some(last), &mut self.path);
        let Some(held) = self.held.get_mut(&endpoint) else { return Ok(()) };
        let mut blocks = 0;
        for (run, end) in self.path.drain(..) {
            blocks += end;
            let of = Use { used, slot: held.slot, end };
            renew(&mut self.forest, (endpoint, held), run, of);
        }
        held.tails.insert(used, Tail { last, blocks });
        held.add(self.forest.block(last).map_or(0, |block| sum_of_use(endpoint, block, used)));
        Ok(())
    }

    /// Takes from `endpoint` the last `blocks` of what it used at `used`, which nothing it holds was used before.
    ///
    /// # Errors
    /// [`Misfit`] when it used anything earlier, or fewer blocks then. Where something does not hang together, too; then not all is gone.
    pub fn evict(&mut self, endpoint: EndpointKey, used: u64, blocks: u32) -> Result<(), Misfit> {
        let held = self.held.get_mut(&endpoint).ok_or(Misfit::Use(used))?;
        let mut oldest =
            held.tails.first_entry().filter(|tail| *tail.key() == used).ok_or(Misfit::Use(used))?;
        let Tail { last, blocks: there } = *oldest.get();
        let rest = there.checked_sub(blocks).ok_or(Misfit::Use(used))?;
        oldest.get_mut().blocks = rest;
        let sum = |forest: &Forest, at| forest.block(at).map_or(0, |block| sum_of_use(endpoint, block, used));
        held.subtract(sum(&self.forest, last));
        held.placed -= blocks as usize;
        let slot = held.slot;
        let before = give_up(&mut self.forest, last, Use { used, slot, end: 0 }, blocks)?;
        let Some(held) = self.held.get_mut(&endpoint) else { return Ok(()) };
        match before.filter(|_| rest > 0) {
            Some(last) => {
                held.tails.insert(used, Tail { last, blocks: rest });
                held.add(sum(&self.forest, last));
            }
            None => {
                held.tails.remove(&used);
            }
        }
        if held.was_confirmed {
            self.index().removals.fetch_add(1, Ordering::AcqRel);
        }
        self.release_if_empty(endpoint);
        Ok(())
    }

    /// When what `endpoint` has not used for the longest time was used, and how many of its blocks, at most `limit`, were used then
    /// and not since: what [`Self::evict`] shall be asked to take to make room.
    pub fn oldest(&self, endpoint: EndpointKey, limit: usize) -> Option<(u64, u32)> {
        let (used, tail) = self.held.get(&endpoint)?.tails.first_key_value()?;
        Some((*used, tail.blocks.min(u32::try_from(limit).unwrap_or(u32::MAX))))
    }

    /// The endpoint that holds what was not used for the longest time of all that endpoints were sent.
    pub fn stalest(&self) -> Option<EndpointKey> {
        let oldest = |held: &Held| held.tails.first_key_value().map(|(used, _)| *used);
        let oldest = self.held.iter().filter_map(|(endpoint, held)| Some((oldest(held)?, *endpoint)));
        oldest.min().map(|(_, endpoint)| endpoint)
    }

    /// Forgets all that `endpoint` holds, at the cost of what it holds.
    pub fn forget(&mut self, endpoint: EndpointKey) {
        self.unconfirm_all(endpoint);
        let tails = self.held.get(&endpoint).map_or(0, |held| held.tails.len());
        for _ in 0..tails {
            let Some((used, blocks)) = self.oldest(endpoint, usize::MAX) else { break };
            if self.evict(endpoint, used, blocks).is_err() {
                break;
            }
        }
    }

    /// Makes `endpoint` one of those that have a slot.
    pub(crate) fn reserve(&mut self, endpoint: EndpointKey) -> Slot {
        if let Some(held) = self.held.get(&endpoint) {
            return held.slot;
        }
        let mut slots = Slots::clone(&self.index().slots());
        let slot = slots.take(endpoint);
        self.index().set_slots(slots);
        self.held.insert(endpoint, Held::new(slot));
        slot
    }

    /// Gives the slot of an endpoint back that holds nothing any more.
    pub(crate) fn release_if_empty(&mut self, endpoint: EndpointKey) {
        if !self.held.get(&endpoint).is_some_and(Held::is_empty) {
            return;
        }
        if let Some(held) = self.held.remove(&endpoint) {
            let mut slots = Slots::clone(&self.index().slots());
            slots.give_back(held.slot);
            self.index().set_slots(slots);
            self.index().removals.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Notes that the first blocks of a run were used, and shows readers if any of them are new to the endpoint.
fn renew(forest: &mut Forest, (endpoint, held): (EndpointKey, &mut Held), run: u32, new: Use) {
    let Some(kept) = forest.run_mut(run) else { return };
    let uses = kept.uses.len();
    let mut ended: smallvec::SmallVec<[(u64, At); 2]> = smallvec::smallvec![];
    let more =
        kept.renew(new, |used, blocks| ended.extend(held.shrink(used, blocks).map(|last| (used, last))));
    let uses = kept.uses.len() as isize - uses as isize;
    held.placed += more as usize;
    forest.uses = forest.uses.wrapping_add_signed(uses);
    for (used, last) in ended {
        held.subtract(forest.block(last).map_or(0, |block| sum_of_use(endpoint, block, used)));
    }
    if more > 0 {
        forest.show(run);
    }
}

/// Takes `blocks` blocks of one use from `last` towards the root; says which block comes before them.
fn give_up(forest: &mut Forest, last: At, of: Use, blocks: u32) -> Result<Option<At>, Misfit> {
    let (mut next, mut left) = (Some(last), blocks);
    while let Some(At { run, offset }) = next.filter(|_| left > 0) {
        let kept = forest.run_mut(run).ok_or(Misfit::Use(of.used))?;
        let uses = kept.uses.len();
        let taken = kept.shorten(Use { end: offset + 1, ..of }, left).ok_or(Misfit::Use(of.used))?;
        let gone = uses - kept.uses.len();
        next = if taken <= offset { Some(At { run, offset: offset - taken }) } else { kept.parent };
        left -= taken;
        forest.uses -= gone;
        forest.trim(run);
    }
    if left == 0 { Ok(next) } else { Err(Misfit::Use(of.used)) }
}
