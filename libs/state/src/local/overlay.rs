//! Applies the placements of this process on top of the view until the pool acknowledges them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use signalbox_prefix::{Lookup, Match};
use signalbox_types::{BlockHash, EndpointKey};
use smallvec::SmallVec;

use super::placed_prompt::PlacedPrompt;

/// A chain that an endpoint holds because of one of this process's decisions.
#[derive(Clone, Debug)]
struct Run {
    endpoint: EndpointKey,
    chain: Arc<[BlockHash]>,
    /// The position of the first block that the endpoint did not hold in the view.
    start: usize,
}

impl Run {
    fn belongs_to(&self, placed: &PlacedPrompt) -> bool {
        self.endpoint == placed.endpoint && Arc::ptr_eq(&self.chain, &placed.chain)
    }

    /// Returns how many of `blocks`, which start where the run does, the run covers.
    fn covers(&self, blocks: &[BlockHash]) -> usize {
        self.chain[self.start..].iter().zip(blocks).take_while(|(own, other)| own == other).count()
    }
}

/// The unacknowledged placements of this process, found by their first block that the endpoint did not hold
/// in the view.
#[derive(Debug, Default)]
pub struct Overlay {
    runs: DashMap<BlockHash, SmallVec<[Run; 1]>>,
    placements: AtomicUsize,
}

impl Overlay {
    /// Adds a placement.
    pub fn place(&self, placed: &PlacedPrompt) {
        self.placements.fetch_add(1, Ordering::Relaxed);
        if let Some(first) = placed.chain.get(placed.held) {
            let (endpoint, chain) = (placed.endpoint, Arc::clone(&placed.chain));
            self.runs.entry(*first).or_default().push(Run { endpoint, chain, start: placed.held });
        }
    }

    /// Removes a placement that was added with [`Self::place`].
    pub fn remove(&self, placed: &PlacedPrompt) {
        let decrement = |placements: usize| Some(placements.saturating_sub(1));
        let _ = self.placements.fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement);
        let Some(first) = placed.chain.get(placed.held) else { return };
        self.runs.remove_if_mut(first, |_, runs| {
            if let Some(at) = runs.iter().position(|run| run.belongs_to(placed)) {
                runs.swap_remove(at);
            }
            runs.is_empty()
        });
    }

    /// Removes all placements, because the outbox that kept track of them is gone. Removing one of them later
    /// has no effect.
    pub fn clear(&self) {
        self.runs.clear();
        self.placements.store(0, Ordering::Relaxed);
    }

    /// Returns the number of placements.
    pub fn len(&self) -> usize {
        self.placements.load(Ordering::Relaxed)
    }

    /// Returns whether there are no placements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Extends the matches of `chain` in the view by the placements of the overlay.
    pub fn extend(&self, chain: &[BlockHash], lookup: &mut Lookup) {
        if self.is_empty() {
            return;
        }
        let ends = lookup.matches.iter().map(|of| of.blocks).collect();
        let known = self.extend_matches(chain, ends, |endpoint, at, end| {
            extend_match(&mut lookup.matches, endpoint, at, end)
        });
        lookup.longest = lookup.longest.max(known);
        lookup.matches.sort_unstable_by_key(|of| std::cmp::Reverse(of.blocks));
    }

    /// Extends matches along `chain` from where they end in the view. `extend_match` gets an endpoint and the
    /// positions from and to which its match would grow, and returns whether the match grew. Returns the
    /// length of the longest match that grew.
    ///
    /// A run starts where the view ends for its endpoint, so only the positions where matches end are
    /// checked.
    pub(crate) fn extend_matches(
        &self,
        chain: &[BlockHash],
        mut ends: BTreeSet<usize>,
        mut extend_match: impl FnMut(EndpointKey, usize, usize) -> bool,
    ) -> usize {
        let mut longest = 0;
        ends.insert(0);
        while let Some(at) = ends.pop_first() {
            let Some(runs) = chain.get(at).and_then(|block| self.runs.get(block)) else { continue };
            for run in runs.iter() {
                let end = at + run.covers(&chain[at..]);
                if extend_match(run.endpoint, at, end) {
                    ends.insert(end);
                    longest = longest.max(end);
                }
            }
        }
        longest
    }
}

/// Extends the match of `endpoint` to `end` if it reaches `at`. Returns whether it grew.
fn extend_match(held: &mut Vec<Match>, endpoint: EndpointKey, at: usize, end: usize) -> bool {
    match held.iter_mut().find(|of| of.endpoint == endpoint) {
        Some(of) if of.blocks >= at && of.blocks < end => of.blocks = end,
        None if at == 0 && end > 0 => held.push(Match::on_device(endpoint, end)),
        Some(_) | None => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use signalbox_types::Incarnation;

    use super::*;

    const A: EndpointKey = EndpointKey(1);
    const B: EndpointKey = EndpointKey(2);

    fn held(matches: &[(EndpointKey, usize)]) -> Vec<Match> {
        matches.iter().map(|(endpoint, blocks)| Match::on_device(*endpoint, *blocks)).collect()
    }

    fn chain(blocks: u64) -> Vec<BlockHash> {
        (1..=blocks).map(BlockHash).collect()
    }

    fn placed(endpoint: EndpointKey, blocks: u64, held: usize) -> PlacedPrompt {
        PlacedPrompt { endpoint, incarnation: Incarnation(0), chain: chain(blocks).into(), known: held, held }
    }

    #[test]
    fn match_continues_where_the_view_ends() {
        let overlay = Overlay::default();
        overlay.place(&placed(A, 6, 2));
        overlay.place(&placed(B, 3, 0));
        let mut lookup = Lookup { longest: 2, matches: held(&[(A, 2)]) };
        overlay.extend(&chain(8), &mut lookup);
        assert_eq!(Lookup { longest: 6, matches: held(&[(A, 6), (B, 3)]) }, lookup);
    }

    #[test]
    fn run_continues_where_another_ends() {
        let overlay = Overlay::default();
        overlay.place(&placed(A, 3, 0));
        overlay.place(&placed(A, 6, 3));
        let mut lookup = Lookup::default();
        overlay.extend(&chain(5), &mut lookup);
        assert_eq!(Lookup { longest: 5, matches: held(&[(A, 5)]) }, lookup);
    }

    #[test]
    fn gap_ends_a_match() {
        let overlay = Overlay::default();
        overlay.place(&placed(A, 6, 3));
        let mut lookup = Lookup { longest: 2, matches: held(&[(A, 2)]) };
        overlay.extend(&chain(8), &mut lookup);
        assert_eq!(Lookup { longest: 2, matches: held(&[(A, 2)]) }, lookup);
    }

    #[test]
    fn different_prompt_matches_up_to_the_difference() {
        let overlay = Overlay::default();
        overlay.place(&placed(A, 6, 1));
        let mut other = chain(3);
        other.push(BlockHash(99));
        let mut lookup = Lookup { longest: 1, matches: held(&[(A, 1)]) };
        overlay.extend(&other, &mut lookup);
        assert_eq!(held(&[(A, 3)]), lookup.matches);
    }

    #[test]
    fn blocks_of_two_placements_stay_until_both_are_removed() {
        let overlay = Overlay::default();
        let (long, short) = (placed(A, 4, 0), placed(A, 2, 0));
        overlay.place(&long);
        overlay.place(&short);
        overlay.remove(&long);
        let mut lookup = Lookup::default();
        overlay.extend(&chain(4), &mut lookup);
        assert_eq!(held(&[(A, 2)]), lookup.matches);
        overlay.remove(&short);
        assert!(overlay.is_empty() && overlay.runs.is_empty());
    }
}
