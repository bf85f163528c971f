//! Where an engine keeps blocks, by what it says itself.

use crate::slots::Slot;

/// Where an engine keeps a block, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// In the accelerator's memory.
    Device,
    /// In host memory.
    Host,
    /// On disk.
    Disk,
}

impl Tier {
    /// All, the fastest first.
    pub const ALL: [Self; 3] = [Self::Device, Self::Host, Self::Disk];
}

/// Blocks `from..to` of a run that an endpoint keeps in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    pub(crate) slot: Slot,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) tier: Tier,
}

impl Extent {
    /// How many of the first `upto` blocks have `tier` as the fastest of the tiers that `extents`, all of one endpoint, name.
    pub(crate) fn counted(extents: &[Self], tier: Tier, upto: u32) -> u32 {
        Self::covered(extents, tier, upto)
            - faster(tier).map_or(0, |faster| Self::covered(extents, faster, upto))
    }

    /// How many of the first `upto` blocks are in `tier` or a faster one. `extents` are in order of where they begin.
    fn covered(extents: &[Self], tier: Tier, upto: u32) -> u32 {
        let (mut count, mut end) = (0, 0);
        for extent in extents.iter().filter(|extent| extent.tier <= tier) {
            let (from, to) = (extent.from.max(end), extent.to.min(upto));
            if from < to {
                (count, end) = (count + (to - from), to);
            }
        }
        count
    }

    /// Adds `from..to` of a slot and tier to `extents`; gives the parts that were not there before.
    pub(crate) fn add(extents: &mut Vec<Self>, new: Self) -> Vec<(u32, u32)> {
        let (mut merged, mut gaps, mut at) = (new, Vec::new(), new.from);
        extents.retain(|old| {
            if (old.slot, old.tier) != (new.slot, new.tier) || old.to < new.from || old.from > new.to {
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
        let place = extents.partition_point(|old| *old < merged);
        extents.insert(place, merged);
        gaps
    }

    /// Takes `gone` away from `extents`; gives the parts that were there.
    pub(crate) fn remove(extents: &mut Vec<Self>, gone: Self) -> Vec<(u32, u32)> {
        let (mut rest, mut taken) = (Vec::with_capacity(extents.len() + 1), Vec::new());
        for old in extents.drain(..) {
            let (from, to) = (old.from.max(gone.from), old.to.min(gone.to));
            if (old.slot, old.tier) != (gone.slot, gone.tier) || from >= to {
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

fn faster(tier: Tier) -> Option<Tier> {
    match tier {
        Tier::Device => None,
        Tier::Host => Some(Tier::Device),
        Tier::Disk => Some(Tier::Host),
    }
}
