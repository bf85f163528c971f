//! A reference that is too simple to be wrong: for each endpoint the set of prefixes that it holds.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_prefix::{Lookup, Match, Tier};
use signalbox_types::{BlockHash, EndpointKey};

pub(crate) type Prompt = Vec<u8>;

/// One block for each byte; a block's hash is one of the prefix that it stands for.
pub(crate) fn chain(prompt: &[u8]) -> Vec<BlockHash> {
    let fold = |hash: &mut u64, byte: &u8| {
        *hash = (*hash ^ (u64::from(*byte) + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).max(1);
        Some(BlockHash(*hash))
    };
    prompt.iter().scan(7, fold).collect()
}

#[derive(Default)]
pub(crate) struct Naive {
    /// When an endpoint last used a prefix.
    pub(crate) placed: BTreeMap<u64, BTreeMap<Prompt, u64>>,
    pub(crate) confirmed: BTreeMap<(u64, Tier), BTreeSet<Prompt>>,
}

impl Naive {
    pub(crate) fn place(&mut self, endpoint: u64, prompt: &[u8], used: u64) {
        let placed = self.placed.entry(endpoint).or_default();
        placed.extend((1..=prompt.len()).map(|end| (prompt[..end].to_vec(), used)));
    }

    /// When the least recently used prefixes were used, and how many of them are no prefix of any used later.
    pub(crate) fn oldest(&self, endpoint: u64, limit: usize) -> Option<(u64, u32)> {
        let placed = self.placed.get(&endpoint)?;
        let oldest = *placed.values().min()?;
        let count = placed.values().filter(|used| **used == oldest).count();
        Some((oldest, count.min(limit) as u32))
    }

    /// Drops the longest of the prefixes that were used at `used`.
    pub(crate) fn evict(&mut self, endpoint: u64, used: u64, blocks: u32) {
        let placed = self.placed.get_mut(&endpoint).unwrap();
        for _ in 0..blocks {
            let longest = placed.iter().filter(|(_, of)| **of == used).map(|(prompt, _)| prompt);
            let longest = longest.max_by_key(|prompt| prompt.len()).unwrap().clone();
            let leads = placed.keys().any(|other| other.len() > longest.len() && other.starts_with(&longest));
            assert!(!leads, "only the end of what is held may go");
            placed.remove(&longest);
        }
    }

    pub(crate) fn confirm(&mut self, endpoint: u64, tier: Tier, prompt: &[u8], from: usize) {
        let blocks = (from + 1..=prompt.len()).map(|end| prompt[..end].to_vec());
        self.confirmed.entry((endpoint, tier)).or_default().extend(blocks);
    }

    pub(crate) fn unconfirm(&mut self, endpoint: u64, tier: Tier, prompt: &[u8], from: usize) {
        let confirmed = self.confirmed.entry((endpoint, tier)).or_default();
        (from + 1..=prompt.len()).for_each(|end| {
            confirmed.remove(&prompt[..end]);
        });
    }

    pub(crate) fn unconfirm_all(&mut self, endpoint: u64) {
        self.confirmed.retain(|(of, _), _| *of != endpoint);
    }

    pub(crate) fn forget(&mut self, endpoint: u64) {
        self.placed.remove(&endpoint);
        self.unconfirm_all(endpoint);
    }

    /// The fastest tier that the engine named; the device, where the endpoint was only sent the prefix.
    fn tier(&self, endpoint: u64, prefix: &[u8]) -> Option<Tier> {
        let is_in = |tier: &Tier| {
            self.confirmed.get(&(endpoint, *tier)).is_some_and(|confirmed| confirmed.contains(prefix))
        };
        let placed = || self.placed.get(&endpoint)?.get(prefix).map(|_| Tier::Device);
        Tier::ALL.into_iter().find(is_in).or_else(placed)
    }

    /// How much of a prompt is there, as a way to other prompts at least.
    pub(crate) fn there(&self, prompt: &[u8]) -> usize {
        let placed = self.placed.values().flat_map(BTreeMap::keys);
        let all = placed.chain(self.confirmed.values().flatten());
        let common = |other: &Prompt| other.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        all.map(common).max().unwrap_or(0)
    }

    pub(crate) fn lookup(&self, endpoints: std::ops::Range<u64>, prompt: &[u8]) -> Lookup {
        let mut held: Vec<_> = endpoints
            .filter_map(|endpoint| {
                let tiers: Vec<Tier> =
                    (1..=prompt.len()).map_while(|end| self.tier(endpoint, &prompt[..end])).collect();
                let count = |tier| tiers.iter().filter(|of| **of == tier).count();
                let (endpoint, blocks) = (EndpointKey(endpoint), tiers.len());
                let (host, disk) = (count(Tier::Host), count(Tier::Disk));
                (blocks > 0).then_some(Match { endpoint, blocks, host, disk })
            })
            .collect();
        held.sort_unstable_by_key(|of| std::cmp::Reverse((of.blocks, of.endpoint)));
        Lookup { known: held.first().map_or(0, |of| of.blocks), held }
    }
}
