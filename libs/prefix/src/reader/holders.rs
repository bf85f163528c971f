//! The endpoints that were sent blocks of a run. The writer changes them while readers read them.

use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::endpoint_slots::Slot;

/// Up to this many holders are a list; beyond it, the holders of the whole run are a bit set.
const FEW_HOLDERS: usize = 16;

/// An endpoint that was sent prompts which start with the first `end` blocks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) slot: Slot,
    pub(crate) end: u32,
}

/// A place for a holder, which can be read while it changes. It is vacant if its holder has no blocks.
#[derive(Debug, Default)]
pub(super) struct Place(AtomicU64);

impl Place {
    fn new(Holder { slot, end }: Holder) -> Self {
        Self(AtomicU64::new(u64::from(slot) << u32::BITS | u64::from(end)))
    }

    fn get(&self) -> Holder {
        let both = self.0.load(Ordering::Acquire);
        Holder { slot: (both >> u32::BITS) as Slot, end: both as u32 }
    }

    fn set(&self, holder: Holder) {
        self.0.store(Self::new(holder).0.into_inner(), Ordering::Release);
    }
}

/// The endpoints that were sent blocks of a run.
#[derive(Debug)]
pub(super) enum Holders {
    Few(SmallVec<[Place; 2]>),
    Many {
        /// One bit for each slot: the endpoints that were sent the whole run.
        whole: Box<[AtomicU64]>,
        /// The endpoints that were sent only the beginning.
        partial: Box<[Place]>,
    },
}

impl Holders {
    /// Creates the holders of a run of `len` blocks. They are in order of slot.
    pub(super) fn new(holders: impl Iterator<Item = Holder>, len: u32) -> Self {
        let holders: SmallVec<[Holder; FEW_HOLDERS]> = holders.collect();
        if holders.len() <= FEW_HOLDERS {
            return Self::Few(with_room(&holders).collect());
        }
        let slots = holders.last().map_or(0, |last| last.slot as usize + 1);
        let mut whole = vec![0_u64; slots.div_ceil(64)];
        let (complete, partial): (Vec<_>, Vec<_>) = holders.iter().partition(|holder| holder.end >= len);
        for Holder { slot, .. } in complete {
            whole[slot as usize / 64] |= 1 << (slot % 64);
        }
        let whole = whole.into_iter().map(AtomicU64::new).collect();
        Self::Many { whole, partial: with_room(&partial).collect() }
    }

    /// Changes how many of the `len` blocks of the run one endpoint was sent. Returns whether there was room for that; if
    /// not, nothing has changed.
    ///
    /// A reader at the same time may miss the endpoint, if it was sent the whole run and no longer is.
    pub(super) fn set(&self, holder: Holder, len: u32) -> bool {
        match self {
            Self::Few(few) => set_in(few, holder),
            Self::Many { whole, partial } => {
                let Some(word) = whole.get(holder.slot as usize / 64) else { return false };
                let bit = 1 << (holder.slot % 64);
                if holder.end >= len {
                    word.fetch_or(bit, Ordering::AcqRel);
                    return set_in(partial, Holder { end: 0, ..holder });
                }
                let has_room = set_in(partial, holder);
                if has_room {
                    word.fetch_and(!bit, Ordering::AcqRel);
                }
                has_room
            }
        }
    }

    /// Extends the matches `ends` by the first `matching` blocks of the run, which starts at position `at`. Returns the end of
    /// the longest match.
    pub(super) fn extend(&self, at: u32, matching: u32, ends: &mut [u32]) -> u32 {
        let mut longest = 0;
        let extend = |place: &Place| {
            let Holder { slot, end } = place.get();
            let new_end = at + end.min(matching);
            if let Some(end_of_match) = ends.get_mut(slot as usize).filter(|_| end > 0) {
                *end_of_match = new_end;
                longest = longest.max(new_end);
            }
        };
        match self {
            Self::Few(few) => few.iter().for_each(extend),
            Self::Many { whole, partial } => {
                partial.iter().for_each(extend);
                if extend_whole(whole, at + matching, ends) == Extended::Some {
                    longest = at + matching;
                }
            }
        }
        longest
    }
}

/// Returns places for these holders, and vacant ones for the next: as many as it takes for a power of two.
fn with_room(holders: &[Holder]) -> impl Iterator<Item = Place> {
    let room = holders.len().next_power_of_two() - holders.len();
    holders.iter().copied().map(Place::new).chain(std::iter::repeat_with(Place::default).take(room))
}

/// Sets how many blocks an endpoint was sent. Returns whether there was a place for it, or none is needed.
fn set_in(places: &[Place], holder: Holder) -> bool {
    let is_own = |place: &&Place| {
        let Holder { slot, end } = place.get();
        slot == holder.slot && end > 0
    };
    let own = places.iter().find(is_own);
    if own.is_none() && holder.end == 0 {
        return true;
    }
    let place = own.or_else(|| places.iter().find(|place| place.get().end == 0));
    place.map(|place| place.set(holder)).is_some()
}

/// Whether any match was extended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extended {
    None,
    Some,
}

/// Sets the matches of all slots in the bit set `whole` to `new_end`.
fn extend_whole(whole: &[AtomicU64], new_end: u32, ends: &mut [u32]) -> Extended {
    let mut extended = Extended::None;
    for (word, ends) in whole.iter().zip(ends.chunks_mut(64)) {
        let mut rest = word.load(Ordering::Acquire);
        if rest == u64::MAX {
            ends.fill(new_end);
            extended = Extended::Some;
            continue;
        }
        while rest != 0 {
            if let Some(end) = ends.get_mut(rest.trailing_zeros() as usize) {
                *end = new_end;
                extended = Extended::Some;
            }
            rest &= rest - 1;
        }
    }
    extended
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    const LEN: u32 = 5;
    const SLOTS: u32 = 150;

    fn holders(model: &BTreeMap<Slot, u32>) -> Holders {
        Holders::new(model.iter().map(|(slot, end)| Holder { slot: *slot, end: *end }), LEN)
    }

    proptest! {
        #[test]
        fn changed_holders_are_as_new_ones(
            first in btree_map(0..SLOTS, 1..=LEN, 0..60),
            changes in vec((0..SLOTS, 0..=LEN), 1..200),
            matching in 1..=LEN,
        ) {
            let mut model = first;
            let mut changed = holders(&model);
            for (slot, end) in changes {
                model.insert(slot, end);
                model.retain(|_, end| *end > 0);
                if !changed.set(Holder { slot, end }, LEN) {
                    changed = holders(&model);
                }
                let (mut ends, mut expected) = (vec![0; SLOTS as usize], vec![0; SLOTS as usize]);
                let longest = changed.extend(10, matching, &mut ends);
                model.iter().for_each(|(slot, end)| expected[*slot as usize] = 10 + (*end).min(matching));
                prop_assert_eq!(expected.iter().max(), Some(&longest));
                prop_assert_eq!(expected, ends);
            }
        }
    }

    #[test]
    fn lists_and_bit_sets_have_room_for_changes() {
        for count in [3, 100] {
            let model: BTreeMap<_, _> = (0..count).map(|slot| (slot, LEN)).collect();
            let holders = holders(&model);
            assert!(holders.set(Holder { slot: 1, end: 0 }, LEN));
            assert!(holders.set(Holder { slot: count, end: LEN }, LEN));
        }
    }
}
