//! The part of the pool state that tells up to which number it contains the placements of each origin.

use signalbox_types::Origin;

use super::{PoolState, digest};

impl PoolState {
    /// Returns, for each origin, the number up to which this state contains its placements.
    pub fn acknowledgements(&self) -> impl ExactSizeIterator<Item = (Origin, u64)> {
        self.acknowledged.iter().map(|(origin, number)| (*origin, *number))
    }

    /// Returns the number up to which this state contains the placements of `origin`; 0 if it contains none.
    pub fn acknowledged(&self, origin: Origin) -> u64 {
        self.acknowledged.get(&origin).copied().unwrap_or(0)
    }

    pub(super) fn expire(&mut self, origin: Origin) {
        for (endpoint, load) in self.loads.expire(origin) {
            digest::replace_part(&mut self.digest.loads, digest::of_load(endpoint, origin, load), 0);
        }
        self.acknowledge(origin, None);
        self.expire_flows(origin);
    }

    pub(super) fn acknowledge(&mut self, origin: Origin, number: Option<u64>) {
        let before = match number {
            Some(number) => self.acknowledged.insert(origin, number),
            None => self.acknowledged.remove(&origin),
        };
        let sum = |number: Option<u64>| number.map_or(0, |number| digest::of_acknowledged(origin, number));
        digest::replace_part(&mut self.digest.loads, sum(before), sum(number));
    }
}
