//! The parts of a run that engines keep, by endpoint and residency.

use crate::endpoint_slots::Slot;
use crate::residency::Residency;

/// The blocks `from..to` of a run that an endpoint's engine keeps in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    pub(crate) slot: Slot,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) residency: Residency,
}

impl Extent {
    /// Returns how many of the first `upto` blocks have `residency` as their fastest residency. All `extents`
    /// belong to one endpoint.
    pub(crate) fn count_at(extents: &[Self], residency: Residency, upto: u32) -> u32 {
        Self::count_at_or_faster(extents, residency, upto)
            - faster(residency).map_or(0, |faster| Self::count_at_or_faster(extents, faster, upto))
    }

    /// Returns how many of the first `upto` blocks have `residency` or a faster one. `extents` are in order
    /// of `from`.
    fn count_at_or_faster(extents: &[Self], residency: Residency, upto: u32) -> u32 {
        let (mut count, mut end) = (0, 0);
        for extent in extents.iter().filter(|extent| extent.residency <= residency) {
            let (from, to) = (extent.from.max(end), extent.to.min(upto));
            if from < to {
                (count, end) = (count + (to - from), to);
            }
        }
        count
    }

    /// Adds `new` to `extents` and returns the parts of it that were not covered before.
    pub(crate) fn add(extents: &mut Vec<Self>, new: Self) -> Vec<(u32, u32)> {
        let (mut merged, mut gaps, mut at) = (new, Vec::new(), new.from);
        extents.retain(|old| {
            if (old.slot, old.residency) != (new.slot, new.residency)
                || old.to < new.from
                || old.from > new.to
            {
                return true;
            }
            if at < old.from {
                gaps.push((at, old.from));
            }
            at = at.max(old.to);
            merged = Self { from: merged.from.min(old.from), to: merged.to.max(old.to), ..merged };
            false
        });
        if at < new.to {
            gaps.push((at, new.to));
        }
        let index = extents.partition_point(|old| *old < merged);
        extents.insert(index, merged);
        gaps
    }

    /// Removes `removed` from `extents` and returns the parts of it that were covered.
    pub(crate) fn remove(extents: &mut Vec<Self>, removed: Self) -> Vec<(u32, u32)> {
        let (mut rest, mut taken) = (Vec::with_capacity(extents.len() + 1), Vec::new());
        for old in extents.drain(..) {
            let (from, to) = (old.from.max(removed.from), old.to.min(removed.to));
            if (old.slot, old.residency) != (removed.slot, removed.residency) || from >= to {
                rest.push(old);
                continue;
            }
            taken.push((from, to));
            rest.extend((old.from < from).then_some(Self { to: from, ..old }));
            rest.extend((to < old.to).then_some(Self { from: to, ..old }));
        }
        rest.sort_unstable();
        *extents = rest;
        taken
    }
}

fn faster(residency: Residency) -> Option<Residency> {
    match residency {
        Residency::Device => None,
        Residency::Host => Some(Residency::Device),
        Residency::Disk => Some(Residency::Host),
    }
}
