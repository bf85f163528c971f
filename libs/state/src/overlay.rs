//! Placements that this process made and the pool has not echoed yet, laid over the view at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use signalbox_prefix::{Lookup, Match};
use signalbox_types::{BlockHash, EndpointKey};
use smallvec::SmallVec;

use crate::outbox::PlacedPrompt;

/// A chain that an endpoint holds by one of this process's decisions.
#[derive(Clone, Debug)]
struct Run {
    endpoint: EndpointKey,
    chain: Arc<[BlockHash]>,
    /// Where what the view did not know begins.
    start: usize,
}

impl Run {
    fn is_of(&self, placed: &PlacedPrompt) -> bool {
        self.endpoint == placed.endpoint && Arc::ptr_eq(&self.chain, &placed.chain)
    }

    /// How many of `blocks`, which begin where the run does, it covers.
    fn covers(&self, blocks: &[BlockHash]) -> usize {
        self.chain[self.start..].iter().zip(blocks).take_while(|(own, asked)| own == asked).count()
    }
}

/// Chains that endpoints hold by this process's latest decisions, found by their first block that the view did not know.
#[derive(Debug, Default)]
pub struct Overlay {
    runs: DashMap<BlockHash, SmallVec<[Run; 1]>>,
    placements: AtomicUsize,
}

impl Overlay {
    /// Lays a placement over the view, until it is lifted.
    pub fn place(&self, placed: &PlacedPrompt) {
        self.placements.fetch_add(1, Ordering::Relaxed);
        if let Some(first) = placed.chain.get(placed.held) {
            let (endpoint, chain) = (placed.endpoint, Arc::clone(&placed.chain));
            self.runs.entry(*first).or_default().push(Run { endpoint, chain, start: placed.held });
        }
    }

    /// Takes away what [`Self::place`] laid for the same placement.
    pub fn lift(&self, placed: &PlacedPrompt) {
        let less_one = |placements: usize| Some(placements.saturating_sub(1));
        let _ = self.placements.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one);
        let Some(first) = placed.chain.get(placed.held) else { return };
        self.runs.remove_if_mut(first, |_, runs| {
            if let Some(at) = runs.iter().position(|run| run.is_of(placed)) {
                runs.swap_remove(at);
            }
            runs.is_empty()
        });
    }

    /// Takes everything away: who kept count of the placements is gone. What it would have lifted later is lifted for nothing.
    pub fn clear(&self) {
        self.runs.clear();
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
    pub fn extend(&self, chain: &[BlockHash], lookup: &mut Lookup) {
        if self.is_empty() {
            return;
        }
        let ends = lookup.held.iter().map(|of| of.blocks).collect();
        let known =
            self.go_on(chain, ends, |endpoint, at, end| extend_match(&mut lookup.held, endpoint, at, end));
        lookup.known = lookup.known.max(known);
        lookup.held.sort_unstable_by_key(|of| std::cmp::Reverse(of.blocks));
    }

    /// Goes on along `chain` where matches end in the view: `extend_match` is told which endpoint's match would extend_match from where to where, and
    /// says whether it does now. Says how far the longest of them does.
    ///
    /// A run begins where the view ended for its endpoint, so only the places where a match ends are looked at.
    pub(crate) fn go_on(
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

/// Lets the match of `endpoint` extend_match from `at`, if it comes so far, to `end`; says whether it grew.
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
    fn a_match_goes_on_where_the_view_ends() {
        let overlay = Overlay::default();
        overlay.place(&placed(A, 6, 2));
        overlay.place(&placed(B, 3, 0));
        let mut lookup = Lookup { known: 2, held: held(&[(A, 2)]) };
        overlay.extend(&chain(8), &mut lookup);
        assert_eq!(Lookup { known: 6, held: held(&[(A, 6), (B, 3)]) }, lookup);
    }

    #[test]
    fn a_run_begins_where_another_one_ends() {
        let overlay = Overlay::default();
        overlay.place(&placed(A, 3, 0));
        overlay.place(&placed(A, 6, 3));
        let mut lookup = Lookup::default();
        overlay.extend(&chain(5), &mut lookup);
        assert_eq!(Lookup { known: 5, held: held(&[(A, 5)]) }, lookup);
    }

    #[test]
    fn a_gap_is_not_crossed() {
        let overlay = Overlay::default();
        overlay.place(&placed(A, 6, 3));
        let mut lookup = Lookup { known: 2, held: held(&[(A, 2)]) };
        overlay.extend(&chain(8), &mut lookup);
        assert_eq!(Lookup { known: 2, held: held(&[(A, 2)]) }, lookup);
    }

    #[test]
    fn another_prompt_matches_as_far_as_it_is_the_same() {
        let overlay = Overlay::default();
        overlay.place(&placed(A, 6, 1));
        let mut other = chain(3);
        other.push(BlockHash(99));
        let mut lookup = Lookup { known: 1, held: held(&[(A, 1)]) };
        overlay.extend(&other, &mut lookup);
        assert_eq!(held(&[(A, 3)]), lookup.held);
    }

    #[test]
    fn what_two_placements_cover_stays_until_both_are_lifted() {
        let overlay = Overlay::default();
        let (long, short) = (placed(A, 4, 0), placed(A, 2, 0));
        overlay.place(&long);
        overlay.place(&short);
        overlay.lift(&long);
        let mut lookup = Lookup::default();
        overlay.extend(&chain(4), &mut lookup);
        assert_eq!(held(&[(A, 2)]), lookup.held);
        overlay.lift(&short);
        assert!(overlay.is_empty() && overlay.runs.is_empty());
    }
}
