//! Keeps placements until the pool state contains them, and sends them again if necessary.

use std::collections::VecDeque;

use super::overlay::Overlay;
use super::placed_prompt::PlacedPrompt;
use crate::reports::Placement;

/// The maximum number of blocks of all pending prompts: 32 MB.
const MAX_PENDING_BLOCKS: usize = 4 << 20;

/// The minimum number of blocks that a placement counts for.
const MIN_BLOCKS_PER_PLACEMENT: usize = 64;

#[derive(Debug)]
struct Pending {
    number: u64,
    placed: PlacedPrompt,
    placed_at_ms: u64,
}

/// Placements on their way to the pool's owner, numbered. The caller adds each to the overlay before it adds
/// it here; the outbox removes it from the overlay when it is acknowledged or dropped.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: VecDeque<Pending>,
    pending_blocks: usize,
    latest: u64,
    sent: u64,
}

impl Outbox {
    /// Adds a placement.
    pub fn push(&mut self, now_ms: u64, placed: PlacedPrompt) {
        self.latest += 1;
        self.pending_blocks += placed.chain.len();
        self.pending.push_back(Pending { number: self.latest, placed, placed_at_ms: now_ms });
    }

    /// Returns the unsent placements, at most `limit` and as many as fit into one message, and marks them as
    /// sent.
    pub fn take_unsent(&mut self, limit: usize) -> Vec<Placement> {
        let mut blocks = 0;
        let fits = |placement: &Placement| {
            blocks += placement.suffix.len();
            blocks <= Placement::MAX_BLOCKS
        };
        let unsent = self.pending.range(self.position_after(self.sent)..).take(limit);
        let unsent = unsent.map(|pending| pending.placed.to_placement(pending.number, pending.placed.known));
        let unsent: Vec<_> = unsent.take_while(fits).collect();
        self.sent = unsent.last().map_or(self.sent, |placement| placement.number);
        unsent
    }

    /// Returns the whole chain of a placement whose anchor the owner does not know; `None` if the placement
    /// was dropped.
    pub fn whole_chain(&self, number: u64) -> Option<Placement> {
        let at = self.pending.binary_search_by_key(&number, |pending| pending.number).ok()?;
        let pending = &self.pending[at];
        Some(pending.placed.to_placement(number, 0))
    }

    /// Marks all pending placements as unsent, because the stream or the owner is new.
    pub fn resend_all(&mut self) {
        self.sent = self.pending.front().map_or(self.latest, |first| first.number - 1);
    }

    /// Removes the placements up to `number`, which the pool state now contains.
    pub fn acknowledge(&mut self, number: u64, overlay: &Overlay) {
        self.drop_while(overlay, |pending| pending.number <= number);
    }

    /// Drops the placements that have been pending for `timeout_ms` and returns their number.
    pub fn expire(&mut self, now_ms: u64, timeout_ms: u64, overlay: &Overlay) -> usize {
        self.drop_while(overlay, |pending| now_ms.saturating_sub(pending.placed_at_ms) >= timeout_ms)
    }

    /// Returns whether there is room for another placement. Placements would accumulate without bound while
    /// the owner is unreachable.
    pub fn has_room(&self) -> bool {
        self.pending_blocks < MAX_PENDING_BLOCKS
            && self.pending.len() < MAX_PENDING_BLOCKS / MIN_BLOCKS_PER_PLACEMENT
    }

    /// Returns whether there are unsent placements.
    pub fn has_unsent(&self) -> bool {
        self.pending.back().is_some_and(|pending| pending.number > self.sent)
    }

    /// Returns the number of pending placements.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Returns whether there are no pending placements.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    fn position_after(&self, number: u64) -> usize {
        self.pending.partition_point(|pending| pending.number <= number)
    }

    fn drop_while(&mut self, overlay: &Overlay, is_done: impl Fn(&Pending) -> bool) -> usize {
        let mut dropped = 0;
        while self.pending.front().is_some_and(&is_done) {
            if let Some(Pending { placed, .. }) = self.pending.pop_front() {
                self.pending_blocks -= placed.chain.len();
                overlay.remove(&placed);
                dropped += 1;
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::{BlockHash, EndpointKey, Incarnation};

    use super::*;

    fn placed(known: usize) -> PlacedPrompt {
        let chain = (1..=20).map(BlockHash).collect();
        PlacedPrompt { endpoint: EndpointKey(9), incarnation: Incarnation(1), chain, known, held: 0 }
    }

    fn push(outbox: &mut Outbox, overlay: &Overlay, now_ms: u64, placed: PlacedPrompt) {
        overlay.place(&placed);
        outbox.push(now_ms, placed);
    }

    #[test]
    fn placement_contains_the_anchor_and_the_new_blocks() {
        let (mut outbox, overlay) = (Outbox::default(), Overlay::default());
        push(&mut outbox, &overlay, 0, placed(18));
        let sent = outbox.take_unsent(10);
        assert_eq!((BlockHash(17), &[18, 19, 20].map(BlockHash)[..]), (sent[0].anchor, &*sent[0].suffix));
        assert!(outbox.take_unsent(10).is_empty());
        let whole = outbox.whole_chain(1).unwrap();
        assert_eq!((BlockHash::ROOT, 20), (whole.anchor, whole.suffix.len()));
    }

    #[test]
    fn unacknowledged_placements_are_resent_and_finally_dropped() {
        let (mut outbox, overlay) = (Outbox::default(), Overlay::default());
        (0..3).for_each(|now_ms| push(&mut outbox, &overlay, now_ms, placed(0)));
        assert_eq!(3, outbox.take_unsent(10).len());
        outbox.acknowledge(1, &overlay);
        outbox.resend_all();
        let again: Vec<_> = outbox.take_unsent(10).iter().map(|placement| placement.number).collect();
        assert_eq!(vec![2, 3], again);
        assert_eq!(1, outbox.expire(101, 100, &overlay));
        assert_eq!(1, outbox.expire(102, 100, &overlay));
        assert!(outbox.is_empty() && overlay.is_empty());
    }
}
