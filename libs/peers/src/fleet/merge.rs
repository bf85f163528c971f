//! Merges what the aggregators tell. Pure.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_types::{PeerAddress, PoolId};
use signalbox_wire::{FleetState, ServedPool};

/// The pools and the aggregators, as all reachable aggregators together know them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Whether an aggregator that knows the pools has been heard. Until then `pools` is empty.
    pub is_synced: bool,
    /// The pools.
    pub pools: BTreeMap<PoolId, ServedPool>,
    /// One address of each live aggregator, sorted.
    pub aggregators: Vec<PeerAddress>,
}

/// What the merger learns.
#[derive(Clone, Debug)]
pub(super) enum FleetInput {
    /// The addresses from the settings, looked up.
    Given(Vec<PeerAddress>),
    /// An aggregator sent its state.
    Received(PeerAddress, FleetState),
    /// The stream to an aggregator ended.
    Ended(PeerAddress),
}

/// Merges the states of the connected aggregators.
///
/// A pool exists while any of them that is synced lists it. If they disagree about it, the one counts that
/// changed its mind last: an aggregator that is cut off from the API server keeps its last state.
#[derive(Debug)]
pub(super) struct FleetMerger {
    given: Vec<PeerAddress>,
    /// The connected aggregators, in the order in which they connected.
    connected: Vec<Heard>,
    changes: u64,
    fleet: Fleet,
}

/// The last state of a connected aggregator.
#[derive(Debug)]
struct Heard {
    from: PeerAddress,
    state: FleetState,
    /// Per pool the number of the change that the aggregator reported last; absent if it never reported any.
    changed: BTreeMap<PoolId, u64>,
}

impl Heard {
    /// Returns the address by which the aggregator is known to all.
    fn own_address(&self) -> &PeerAddress {
        self.state.aggregators.first().unwrap_or(&self.from)
    }
}

impl FleetMerger {
    pub(super) fn new(given: Vec<PeerAddress>) -> Self {
        Self { given, connected: Vec::new(), changes: 0, fleet: Fleet::default() }
    }

    pub(super) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Returns the addresses to keep a stream open to.
    pub(super) fn targets(&self) -> BTreeSet<PeerAddress> {
        self.given.iter().chain(&self.fleet.aggregators).cloned().collect()
    }

    pub(super) fn handle(&mut self, input: FleetInput) {
        match input {
            FleetInput::Given(given) => self.given = given,
            FleetInput::Received(from, state) => self.receive(from, state),
            FleetInput::Ended(from) => self.connected.retain(|heard| heard.from != from),
        }
        self.merge();
    }

    /// Forgets the connected aggregators whose address `is_target` rejects.
    pub(super) fn retain(&mut self, is_target: impl Fn(&PeerAddress) -> bool) {
        self.connected.retain(|heard| is_target(&heard.from));
        self.merge();
    }

    fn receive(&mut self, from: PeerAddress, state: FleetState) {
        let Some(heard) = self.connected.iter_mut().find(|heard| heard.from == from) else {
            self.connected.push(Heard { from, state, changed: BTreeMap::new() });
            return;
        };
        let before = std::mem::replace(&mut heard.state, state);
        for (pool, served) in &heard.state.pools {
            if before.pools.get(pool).is_some_and(|before| before != served) {
                self.changes += 1;
                heard.changed.insert(pool.clone(), self.changes);
            }
        }
        heard.changed.retain(|pool, _| heard.state.pools.contains_key(pool));
    }

    fn merge(&mut self) {
        if !self.connected.is_empty() {
            self.fleet.aggregators = self.aggregators().into_iter().collect();
        }
        if self.connected.iter().any(|heard| heard.state.is_synced) {
            self.fleet.is_synced = true;
            self.fleet.pools = self.pools();
        }
    }

    /// Returns one address per aggregator: the one that reached it first, or the one by which others know it.
    fn aggregators(&self) -> BTreeSet<PeerAddress> {
        let mut reached = BTreeMap::new();
        for heard in &self.connected {
            reached.entry(heard.own_address()).or_insert(&heard.from);
        }
        let named = self.connected.iter().flat_map(|heard| &heard.state.aggregators);
        let named = named.filter(|address| !reached.contains_key(address));
        reached.values().copied().chain(named).cloned().collect()
    }

    fn pools(&self) -> BTreeMap<PoolId, ServedPool> {
        let mut merged: BTreeMap<PoolId, ((u64, u64), ServedPool)> = BTreeMap::new();
        for heard in self.connected.iter().filter(|heard| heard.state.is_synced) {
            for (pool, served) in &heard.state.pools {
                let changed = heard.changed.get(pool).copied().unwrap_or_default();
                let rank = (served.created_ms, changed);
                if merged.get(pool).is_none_or(|(highest, _)| *highest < rank) {
                    merged.insert(pool.clone(), (rank, *served));
                }
            }
        }
        merged.into_iter().map(|(pool, (_, served))| (pool, served)).collect()
    }
}

#[cfg(test)]
mod tests;
