//! What a look-up finds.

use std::sync::Arc;

use signalbox_types::EndpointKey;
use smallvec::SmallVec;

use crate::slots::{Slot, Slots};
use crate::tier::Tier;

/// How many leading blocks of a chain each endpoint holds, by the endpoints' numbers in the index. Meant to be used again and again.
#[derive(Clone, Debug, Default)]
pub struct Column {
    pub(crate) slots: Arc<Slots>,
    pub(crate) blocks: Vec<u32>,
    pub(crate) slower: SmallVec<[Slower; 4]>,
    pub(crate) known: u32,
}

/// Blocks of one endpoint's match that an engine keeps elsewhere than on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slower {
    pub(crate) slot: Slot,
    pub(crate) tier: Tier,
    pub(crate) blocks: u32,
}

/// How much of a chain an endpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Who holds it.
    pub endpoint: EndpointKey,
    /// How many leading blocks.
    pub blocks: usize,
    /// How many of them it keeps in host memory.
    pub host: usize,
    /// How many of them it keeps on disk.
    pub disk: usize,
}

impl Match {
    /// A match that is all on the device.
    pub fn on_device(endpoint: EndpointKey, blocks: usize) -> Self {
        Self { endpoint, blocks, host: 0, disk: 0 }
    }
}

/// How much of a chain is held, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// How many leading blocks an endpoint holds at most.
    pub known: usize,
    /// Those that hold at least the first block, the one that holds most first.
    pub held: Vec<Match>,
}

impl Column {
    /// Which endpoint each number stands for.
    pub fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// For each number how many leading blocks its endpoint holds.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// How many leading blocks an endpoint holds at most.
    pub fn known(&self) -> usize {
        self.known as usize
    }

    /// The parts of matches that are not on the device: number, tier and blocks, each number and tier at most once.
    pub fn slower(&self) -> impl Iterator<Item = (usize, Tier, usize)> {
        self.slower.iter().map(|slower| (slower.slot as usize, slower.tier, slower.blocks as usize))
    }

    /// The matches of the endpoints that hold at least the first block, the longest first.
    pub fn to_lookup(&self) -> Lookup {
        let on = |slot: usize, tier: Tier| {
            self.slower().find(|(of, on, _)| (*of, *on) == (slot, tier)).map_or(0, |(_, _, blocks)| blocks)
        };
        let holders = self.slots.endpoints().iter().zip(&self.blocks).enumerate();
        let mut held: Vec<Match> = holders
            .filter_map(|(slot, (endpoint, blocks))| {
                let endpoint = (*endpoint).filter(|_| *blocks > 0)?;
                let (host, disk) = (on(slot, Tier::Host), on(slot, Tier::Disk));
                Some(Match { endpoint, blocks: *blocks as usize, host, disk })
            })
            .collect();
        held.sort_unstable_by_key(|of| std::cmp::Reverse((of.blocks, of.endpoint)));
        Lookup { known: self.known(), held }
    }

    pub(crate) fn reset(&mut self) {
        self.blocks.clear();
        self.blocks.resize(self.slots.endpoints().len(), 0);
        self.slower.clear();
        self.known = 0;
    }

    pub(crate) fn count_slower(&mut self, slot: Slot, tier: Tier, blocks: u32) {
        match self.slower.iter_mut().find(|slower| (slower.slot, slower.tier) == (slot, tier)) {
            Some(slower) => slower.blocks += blocks,
            None => self.slower.push(Slower { slot, tier, blocks }),
        }
    }
}
