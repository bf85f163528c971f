//! Placements that this process made and the pool has not echoed yet, laid over the view at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use signalbox_prefix::Lookup;
use signalbox_types::{BlockHash, EndpointKey};
use smallvec::SmallVec;

/// Blocks that endpoints hold by this process's latest decisions.
#[derive(Debug, Default)]
pub struct Overlay {
    /// How many placements say that an endpoint holds a block.
    blocks: DashMap<BlockHash, SmallVec<[(EndpointKey, u32); 2]>>,
    placements: AtomicUsize,
}

impl Overlay {
    /// Lays `blocks` at `endpoint` over the view, until they are lifted.
    pub fn place(&self, endpoint: EndpointKey, blocks: &[BlockHash]) {
        self.placements.fetch_add(1, Ordering::Relaxed);
        for block in blocks {
            let mut holders = self.blocks.entry(*block).or_default();
            match holders.iter_mut().find(|(of, _)| *of == endpoint) {
                Some((_, count)) => *count += 1,
                None => holders.push((endpoint, 1)),
            }
        }
    }

    /// Takes away what [`Self::place`] laid with the same arguments.
    pub fn lift(&self, endpoint: EndpointKey, blocks: &[BlockHash]) {
        let less_one = |placements: usize| Some(placements.saturating_sub(1));
        let _ = self.placements.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one);
        for block in blocks {
            self.blocks.remove_if_mut(block, |_, holders| {
                if let Some((_, count)) = holders.iter_mut().find(|(of, _)| *of == endpoint) {
                    *count -= 1;
                }
                holders.retain(|(_, count)| *count > 0);
                holders.is_empty()
            });
        }
    }

    /// Takes everything away: who kept count of the placements is gone. What it would have lifted later is lifted for nothing.
    pub fn clear(&self) {
        self.blocks.clear();
        self.placements.store(0, Ordering::Relaxed);
    }

    /// Number of placements laid over the view.
    pub fn len(&self) -> usize {
        self.placements.load(Ordering::Relaxed)
    }

    /// Whether nothing is laid over the view.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Extends what the view says of `chain` by what is laid over it.
    ///
    /// A placement covers an endpoint's chain from where the view ended, so only the places where a match ends are looked at.
    pub fn extend(&self, chain: &[BlockHash], lookup: &mut Lookup) {
        if self.is_empty() {
            return;
        }
        let mut ends: SmallVec<[usize; 8]> = lookup.held.iter().map(|(_, depth)| *depth).collect();
        ends.push(0);
        ends.sort_unstable();
        ends.dedup();
        for end in ends {
            let reached = self.extend_from(end, chain, lookup);
            lookup.known = lookup.known.max(reached);
        }
        lookup.held.sort_unstable_by_key(|(_, depth)| std::cmp::Reverse(*depth));
    }

    fn extend_from(&self, end: usize, chain: &[BlockHash], lookup: &mut Lookup) -> usize {
        let mut at = end;
        while let Some(holders) = chain.get(at).and_then(|block| self.blocks.get(block)) {
            let extended = holders.iter().filter(|(endpoint, _)| advance(lookup, *endpoint, at)).count();
            if extended == 0 {
                break;
            }
            at += 1;
        }
        at
    }
}

/// Lets the match of `endpoint` grow from `at` blocks to one more, if that is where it ends.
fn advance(lookup: &mut Lookup, endpoint: EndpointKey, at: usize) -> bool {
    match lookup.held.iter_mut().find(|(of, _)| *of == endpoint) {
        Some((_, depth)) if *depth == at => *depth = at + 1,
        None if at == 0 => lookup.held.push((endpoint, 1)),
        Some(_) | None => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: EndpointKey = EndpointKey(1);
    const B: EndpointKey = EndpointKey(2);

    fn chain(blocks: u64) -> Vec<BlockHash> {
        (1..=blocks).map(BlockHash).collect()
    }

    #[test]
    fn a_match_goes_on_where_the_view_ends() {
        let overlay = Overlay::default();
        overlay.place(A, &chain(6)[2..]);
        overlay.place(B, &chain(3));
        let mut lookup = Lookup { known: 2, held: vec![(A, 2)] };
        overlay.extend(&chain(8), &mut lookup);
        assert_eq!(Lookup { known: 6, held: vec![(A, 6), (B, 3)] }, lookup);
    }

    #[test]
    fn a_gap_is_not_crossed() {
        let overlay = Overlay::default();
        overlay.place(A, &chain(6)[3..]);
        let mut lookup = Lookup { known: 2, held: vec![(A, 2)] };
        overlay.extend(&chain(8), &mut lookup);
        assert_eq!(Lookup { known: 2, held: vec![(A, 2)] }, lookup);
    }

    #[test]
    fn what_two_placements_cover_stays_until_both_are_lifted() {
        let overlay = Overlay::default();
        overlay.place(A, &chain(4));
        overlay.place(A, &chain(2));
        overlay.lift(A, &chain(4));
        let mut lookup = Lookup::default();
        overlay.extend(&chain(4), &mut lookup);
        assert_eq!(vec![(A, 2)], lookup.held);
        overlay.lift(A, &chain(2));
        assert!(overlay.is_empty() && overlay.blocks.is_empty());
    }
}
