//! A reference model that is simple enough to be correct by inspection: the set of prefixes that each
//! endpoint holds.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_prefix::{Lookup, Match, Residency};
use signalbox_types::{BlockHash, EndpointKey};

pub(crate) type Prompt = Vec<u8>;

/// Returns a chain with one block for each byte of `prompt`. The hash of a block is a hash of the prefix up
/// to it.
pub(crate) fn chain(prompt: &[u8]) -> Vec<BlockHash> {
    let fold = |hash: &mut u64, byte: &u8| {
        *hash = (*hash ^ (u64::from(*byte) + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).max(1);
        Some(BlockHash(*hash))
    };
    prompt.iter().scan(7, fold).collect()
}

#[derive(Default)]
pub(crate) struct ReferenceModel {
    /// Last use of each prefix, by endpoint.
    pub(crate) placed: BTreeMap<u64, BTreeMap<Prompt, u64>>,
    pub(crate) confirmed: BTreeMap<(u64, Residency), BTreeSet<Prompt>>,
}

impl ReferenceModel {
    pub(crate) fn place(&mut self, endpoint: u64, prompt: &[u8], used: u64) {
        let placed = self.placed.entry(endpoint).or_default();
        placed.extend((1..=prompt.len()).map(|end| (prompt[..end].to_vec(), used)));
    }

    /// Returns when each leading prefix of `prompt` was last used, as far as the endpoint was sent it.
    pub(crate) fn last_uses(&self, endpoint: u64, prompt: &[u8]) -> Vec<u64> {
        let Some(placed) = self.placed.get(&endpoint) else { return Vec::new() };
        (1..=prompt.len()).map_while(|end| placed.get(&prompt[..end]).copied()).collect()
    }

    /// Returns the time of the least recent use, and how many prefixes were last used then, at most `limit`.
    pub(crate) fn least_recently_used(&self, endpoint: u64, limit: usize) -> Option<(u64, u32)> {
        let placed = self.placed.get(&endpoint)?;
        let least_recently_used = *placed.values().min()?;
        let count = placed.values().filter(|used| **used == least_recently_used).count();
        Some((least_recently_used, count.min(limit) as u32))
    }

    /// Returns the endpoint with the least recent use of all.
    pub(crate) fn least_recently_used_endpoint(&self) -> Option<EndpointKey> {
        let oldest =
            |(endpoint, placed): (&u64, &BTreeMap<Prompt, u64>)| Some((*placed.values().min()?, *endpoint));
        self.placed.iter().filter_map(oldest).min().map(|(_, endpoint)| EndpointKey(endpoint))
    }

    /// Removes the `blocks` longest of the prefixes that were last used at `used`.
    pub(crate) fn evict(&mut self, endpoint: u64, used: u64, blocks: u32) {
        let placed = self.placed.get_mut(&endpoint).unwrap();
        for _ in 0..blocks {
            let longest = placed.iter().filter(|(_, of)| **of == used).map(|(prompt, _)| prompt);
            let longest = longest.max_by_key(|prompt| prompt.len()).unwrap().clone();
            let is_needed =
                placed.keys().any(|other| other.len() > longest.len() && other.starts_with(&longest));
            assert!(!is_needed, "only the end of a prompt can be evicted");
            placed.remove(&longest);
        }
    }

    pub(crate) fn confirm(&mut self, endpoint: u64, residency: Residency, prompt: &[u8], from: usize) {
        let blocks = (from + 1..=prompt.len()).map(|end| prompt[..end].to_vec());
        self.confirmed.entry((endpoint, residency)).or_default().extend(blocks);
    }

    pub(crate) fn unconfirm(&mut self, endpoint: u64, residency: Residency, prompt: &[u8], from: usize) {
        let confirmed = self.confirmed.entry((endpoint, residency)).or_default();
        (from + 1..=prompt.len()).for_each(|end| {
            confirmed.remove(&prompt[..end]);
        });
    }

    pub(crate) fn unconfirm_all(&mut self, endpoint: u64) {
        self.confirmed.retain(|(of, _), _| *of != endpoint);
    }

    pub(crate) fn remove_endpoint(&mut self, endpoint: u64) {
        self.placed.remove(&endpoint);
        self.unconfirm_all(endpoint);
    }

    /// Returns the fastest residency that the engine reported; the device, if the prefix was only placed.
    fn residency(&self, endpoint: u64, prefix: &[u8]) -> Option<Residency> {
        let is_in = |residency: &Residency| {
            self.confirmed.get(&(endpoint, *residency)).is_some_and(|confirmed| confirmed.contains(prefix))
        };
        let placed = || self.placed.get(&endpoint)?.get(prefix).map(|_| Residency::Device);
        Residency::ALL.into_iter().find(is_in).or_else(placed)
    }

    /// Returns how many leading bytes of `prompt` are known, because an endpoint holds them or a longer
    /// prefix.
    pub(crate) fn known_len(&self, prompt: &[u8]) -> usize {
        let placed = self.placed.values().flat_map(BTreeMap::keys);
        let all = placed.chain(self.confirmed.values().flatten());
        let common = |other: &Prompt| other.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        all.map(common).max().unwrap_or(0)
    }

    pub(crate) fn lookup(&self, endpoints: std::ops::Range<u64>, prompt: &[u8]) -> Lookup {
        let mut matches: Vec<_> = endpoints
            .filter_map(|endpoint| {
                let residencies: Vec<Residency> =
                    (1..=prompt.len()).map_while(|end| self.residency(endpoint, &prompt[..end])).collect();
                let count = |residency| residencies.iter().filter(|of| **of == residency).count();
                let (endpoint, blocks) = (EndpointKey(endpoint), residencies.len());
                let (host_blocks, disk_blocks) = (count(Residency::Host), count(Residency::Disk));
                (blocks > 0).then_some(Match { endpoint, blocks, host_blocks, disk_blocks })
            })
            .collect();
        matches.sort_unstable_by_key(|of| std::cmp::Reverse((of.blocks, of.endpoint)));
        Lookup { longest: matches.first().map_or(0, |of| of.blocks), matches }
    }
}
