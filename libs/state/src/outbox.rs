//! Placements on their way to the pool's owner: numbered, kept until they come back in the pool's state, sent again if need be.

use std::collections::VecDeque;
use std::sync::Arc;

use signalbox_prefix::anchor;
use signalbox_types::{BlockHash, EndpointKey, Incarnation};

use crate::feedback::Placement;
use crate::overlay::Overlay;

/// Blocks in one batch of placements, unless its first alone has more: about 0.5 MB on the wire.
const BLOCKS_PER_BATCH: usize = 65_536;

/// Blocks of all prompts on their way together, beyond which there is no room for more: 32 MB.
const PENDING_BLOCKS: usize = 4 << 20;

/// A placement counts as so many blocks at least.
const BLOCKS_AT_LEAST: usize = 64;

/// A prompt that was just sent to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPrompt {
    /// Where.
    pub endpoint: EndpointKey,
    /// To which life of the model server.
    pub incarnation: Incarnation,
    /// The whole prompt's blocks.
    pub chain: Arc<[BlockHash]>,
    /// How many of them the pool knew, this process's own earlier placements included.
    pub known: usize,
    /// How many of them the endpoint held.
    pub held: usize,
}

impl PlacedPrompt {
    fn numbered(&self, number: u64, known: usize) -> Placement {
        let (anchor, start) = anchor(&self.chain, known);
        let suffix = self.chain[start..].into();
        Placement { number, endpoint: self.endpoint, incarnation: self.incarnation, anchor, suffix }
    }
}

#[derive(Debug)]
struct Pending {
    number: u64,
    placed: PlacedPrompt,
    placed_at_ms: u64,
}

/// Placements on their way. Whoever puts one in has laid it over the view; the outbox lifts it when it is done with it.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: VecDeque<Pending>,
    pending_blocks: usize,
    latest: u64,
    sent: u64,
}

impl Outbox {
    /// Takes a placement in.
    pub fn put(&mut self, now_ms: u64, placed: PlacedPrompt) {
        self.latest += 1;
        self.pending_blocks += placed.chain.len();
        self.pending.push_back(Pending { number: self.latest, placed, placed_at_ms: now_ms });
    }

    /// The placements that were not sent yet, at most `limit` and as many as one message has room for; they count as sent now.
    pub fn take_unsent(&mut self, limit: usize) -> Vec<Placement> {
        let mut blocks = 0;
        let fits = |placement: &Placement| {
            blocks += placement.suffix.len();
            blocks <= BLOCKS_PER_BATCH || blocks == placement.suffix.len()
        };
        let unsent = self.pending.range(self.position_after(self.sent)..).take(limit);
        let unsent = unsent.map(|pending| pending.placed.numbered(pending.number, pending.placed.known));
        let unsent: Vec<_> = unsent.take_while(fits).collect();
        self.sent = unsent.last().map_or(self.sent, |placement| placement.number);
        unsent
    }

    /// The whole chain of a placement whose anchor the owner does not know; `None` when it was given up.
    pub fn whole_chain(&self, number: u64) -> Option<Placement> {
        let at = self.pending.binary_search_by_key(&number, |pending| pending.number).ok()?;
        let pending = &self.pending[at];
        Some(pending.placed.numbered(number, 0))
    }

    /// The connection is a new one, or the owner is: all that is pending counts as unsent.
    pub fn send_again(&mut self) {
        self.sent = self.pending.front().map_or(self.latest, |first| first.number - 1);
    }

    /// The pool's state has all placements up to `number`.
    pub fn acknowledged(&mut self, number: u64, overlay: &Overlay) {
        self.drop_while(overlay, |pending| pending.number <= number);
    }

    /// Gives up what has been pending for `deadline_ms`; says how many.
    pub fn expire(&mut self, now_ms: u64, deadline_ms: u64, overlay: &Overlay) -> usize {
        self.drop_while(overlay, |pending| now_ms.saturating_sub(pending.placed_at_ms) >= deadline_ms)
    }

    /// Whether it can take another placement: with the owner out of reach they would gather without end.
    pub fn has_room(&self) -> bool {
        self.pending_blocks < PENDING_BLOCKS && self.pending.len() < PENDING_BLOCKS / BLOCKS_AT_LEAST
    }

    /// Whether placements wait to be sent.
    pub fn has_unsent(&self) -> bool {
        self.pending.back().is_some_and(|pending| pending.number > self.sent)
    }

    /// Number of placements on their way.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is on its way.
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
                overlay.lift(&placed);
                dropped += 1;
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(known: usize) -> PlacedPrompt {
        let chain = (1..=20).map(BlockHash).collect();
        PlacedPrompt { endpoint: EndpointKey(9), incarnation: Incarnation(1), chain, known, held: 0 }
    }

    fn put(outbox: &mut Outbox, overlay: &Overlay, now_ms: u64, placed: PlacedPrompt) {
        overlay.place(&placed);
        outbox.put(now_ms, placed);
    }

    #[test]
    fn what_travels_is_the_anchor_and_what_is_new() {
        let (mut outbox, overlay) = (Outbox::default(), Overlay::default());
        put(&mut outbox, &overlay, 0, placed(18));
        let sent = outbox.take_unsent(10);
        assert_eq!((BlockHash(17), &[18, 19, 20].map(BlockHash)[..]), (sent[0].anchor, &*sent[0].suffix));
        assert!(outbox.take_unsent(10).is_empty());
        let whole = outbox.whole_chain(1).unwrap();
        assert_eq!((BlockHash::ROOT, 20), (whole.anchor, whole.suffix.len()));
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_and_given_up_in_the_end() {
        let (mut outbox, overlay) = (Outbox::default(), Overlay::default());
        (0..3).for_each(|now_ms| put(&mut outbox, &overlay, now_ms, placed(0)));
        assert_eq!(3, outbox.take_unsent(10).len());
        outbox.acknowledged(1, &overlay);
        outbox.send_again();
        let again: Vec<_> = outbox.take_unsent(10).iter().map(|placement| placement.number).collect();
        assert_eq!(vec![2, 3], again);
        assert_eq!(1, outbox.expire(101, 100, &overlay));
        assert_eq!(1, outbox.expire(102, 100, &overlay));
        assert!(outbox.is_empty() && overlay.is_empty());
    }
}
