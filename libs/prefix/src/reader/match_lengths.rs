//! The results of a lookup.

use std::sync::Arc;

use signalbox_types::EndpointKey;
use smallvec::SmallVec;

use crate::endpoint_slots::{EndpointSlots, Slot};
use crate::residency::Residency;

/// How many leading blocks of a chain each endpoint holds, by slot. A buffer that is meant to be reused for
/// many lookups.
#[derive(Clone, Debug, Default)]
pub struct MatchLengths {
    pub(super) slots: Arc<EndpointSlots>,
    pub(super) blocks: Vec<u32>,
    off_device: SmallVec<[OffDevice; 4]>,
    pub(super) longest: u32,
}

/// The blocks of one endpoint's match that its engine keeps in host memory or on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OffDevice {
    slot: Slot,
    residency: Residency,
    blocks: u32,
}

/// How much of a chain one endpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Endpoint that holds the blocks.
    pub endpoint: EndpointKey,
    /// Number of leading blocks that the endpoint holds.
    pub blocks: usize,
    /// Number of these blocks that are in host memory.
    pub host_blocks: usize,
    /// Number of these blocks that are on disk.
    pub disk_blocks: usize,
}

impl Match {
    /// Returns a match whose blocks are all on the device.
    pub fn on_device(endpoint: EndpointKey, blocks: usize) -> Self {
        Self { endpoint, blocks, host_blocks: 0, disk_blocks: 0 }
    }
}

/// How much of a chain endpoints hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Length of the longest match, in blocks.
    pub longest: usize,
    /// Matches of the endpoints that hold at least the first block, the longest first.
    pub matches: Vec<Match>,
}

impl MatchLengths {
    /// Returns the endpoint of each slot.
    pub fn slots(&self) -> &Arc<EndpointSlots> {
        &self.slots
    }

    /// Returns the number of leading blocks that the endpoint of each slot holds.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// Returns the number of leading blocks that `endpoint` holds.
    pub fn held_by(&self, endpoint: EndpointKey) -> usize {
        let holders = (0..).zip(&self.blocks).filter(|(_, blocks)| **blocks > 0);
        let mut own = holders.filter(|(slot, _)| self.slots.endpoint(*slot) == Some(endpoint));
        own.next().map_or(0, |(_, blocks)| *blocks as usize)
    }

    /// Returns the length of the longest match, in blocks.
    pub fn longest(&self) -> usize {
        self.longest as usize
    }

    /// Returns the parts of matches that are not on the device: slot, residency and number of blocks. Each
    /// slot and residency occurs at most once.
    pub fn off_device(&self) -> impl Iterator<Item = (usize, Residency, usize)> {
        self.off_device.iter().map(|part| (part.slot as usize, part.residency, part.blocks as usize))
    }

    /// Returns the matches of the endpoints that hold at least the first block, the longest first.
    pub fn to_lookup(&self) -> Lookup {
        let off_device = |slot: usize, residency: Residency| {
            self.off_device()
                .find(|(of, at, _)| (*of, *at) == (slot, residency))
                .map_or(0, |(_, _, blocks)| blocks)
        };
        let holders = self.slots.endpoints().zip(&self.blocks).enumerate();
        let mut matches: Vec<Match> = holders
            .filter_map(|(slot, (endpoint, blocks))| {
                let endpoint = endpoint.filter(|_| *blocks > 0)?;
                let host_blocks = off_device(slot, Residency::Host);
                let disk_blocks = off_device(slot, Residency::Disk);
                Some(Match { endpoint, blocks: *blocks as usize, host_blocks, disk_blocks })
            })
            .collect();
        matches.sort_unstable_by_key(|found| std::cmp::Reverse((found.blocks, found.endpoint)));
        Lookup { longest: self.longest(), matches }
    }

    pub(super) fn reset(&mut self) {
        self.blocks.clear();
        self.blocks.resize(self.slots.len(), 0);
        self.off_device.clear();
        self.longest = 0;
    }

    pub(super) fn add_off_device(&mut self, slot: Slot, residency: Residency, blocks: u32) {
        match self.off_device.iter_mut().find(|part| (part.slot, part.residency) == (slot, residency)) {
            Some(part) => part.blocks += blocks,
            None => self.off_device.push(OffDevice { slot, residency, blocks }),
        }
    }
}
