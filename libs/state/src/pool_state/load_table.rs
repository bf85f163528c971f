//! The load that each replica put on each endpoint.

use signalbox_prefix::EndpointMap;
use signalbox_types::{EndpointKey, Load, Origin};

use super::live_loads::LiveLoads;

/// The load that each replica put on each endpoint of a pool, by slot. Views share it: decisions read the latest loads.
#[derive(Debug, Default)]
pub struct LoadTable {
    live: LiveLoads,
    /// What each slot is for, and the sum of the loads there.
    places: Vec<Place>,
    free: Vec<usize>,
    now_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    endpoint: EndpointKey,
    sum: Sum,
}

/// A sum of loads, which does not saturate as [`Load`] does: loads can be subtracted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    requests: u64,
    prefills: u64,
    prefill_tokens: u128,
}

impl Sum {
    /// Returns the sum with `before` replaced by `after`. `before` must be part of it.
    fn replaced(self, before: Load, after: Load) -> Self {
        Self {
            requests: self.requests - u64::from(before.requests) + u64::from(after.requests),
            prefills: self.prefills - u64::from(before.prefills) + u64::from(after.prefills),
            prefill_tokens: self.prefill_tokens - u128::from(before.prefill_tokens)
                + u128::from(after.prefill_tokens),
        }
    }

    fn load(self) -> Load {
        Load {
            requests: u32::try_from(self.requests).unwrap_or(u32::MAX),
            prefills: u32::try_from(self.prefills).unwrap_or(u32::MAX),
            prefill_tokens: u64::try_from(self.prefill_tokens).unwrap_or(u64::MAX),
        }
    }

    /// Returns whether the endpoint has started with a prompt when its sum changes to `after`: a prompt was completed,
    /// or the first one arrived.
    fn starts_prefill(self, after: Self) -> bool {
        after.prefills < self.prefills || (self.prefills == 0 && after.prefills > 0)
    }
}

impl LoadTable {
    /// Returns the load that `origin` put on an endpoint.
    pub fn of(&self, endpoint: EndpointKey, origin: Origin) -> Load {
        let column = self.live.columns().get(&origin);
        let load = column.zip(self.live.slot(endpoint)).map(|(column, slot)| column.get(slot));
        load.unwrap_or(Load::ZERO)
    }

    /// Returns the load that all replicas put on an endpoint.
    pub fn total(&self, endpoint: EndpointKey) -> Load {
        self.live.slot(endpoint).map_or(Load::ZERO, |slot| self.places[slot].sum.load())
    }

    /// Returns the load that all replicas put on an endpoint, and since when it has been processing its current prompt, in
    /// milliseconds.
    pub(crate) fn total_with_prefill(&self, endpoint: EndpointKey) -> (Load, u64) {
        let of = |slot: usize| (self.places[slot].sum.load(), self.live.prefill_began_ms(slot));
        self.live.slot(endpoint).map_or((Load::ZERO, self.now_ms), of)
    }

    /// Returns the loads at an endpoint that are not zero, ordered by origin.
    pub fn at(&self, endpoint: EndpointKey) -> Vec<(Origin, Load)> {
        let Some(slot) = self.live.slot(endpoint) else { return Vec::new() };
        let loads = self.live.columns().iter().map(|(origin, column)| (*origin, column.get(slot)));
        loads.filter(|(_, load)| *load != Load::ZERO).collect()
    }

    /// Returns what [`Self::at`] returns for each endpoint that has load. Takes time for the loads, not for each endpoint
    /// and origin.
    pub fn by_endpoint(&self) -> EndpointMap<Vec<(Origin, Load)>> {
        let mut by_slot = vec![Vec::new(); self.places.len()];
        for (origin, column) in self.live.columns() {
            column.loaded().for_each(|(slot, load)| by_slot[slot].push((*origin, load)));
        }
        let loaded = self.places.iter().zip(by_slot).filter(|(_, loads)| !loads.is_empty());
        loaded.map(|(place, loads)| (place.endpoint, loads)).collect()
    }

    /// Returns the loads of one origin that are not zero, ordered by endpoint.
    pub fn of_origin(&self, origin: Origin) -> Vec<(EndpointKey, Load)> {
        let Some(column) = self.live.columns().get(&origin) else { return Vec::new() };
        let loads = column.loaded().map(|(slot, load)| (self.places[slot].endpoint, load));
        let mut loads: Vec<_> = loads.collect();
        loads.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        loads
    }

    /// Returns the origins that have load.
    pub fn origins(&self) -> impl Iterator<Item = Origin> {
        let columns = self.live.columns().iter().filter(|(_, column)| !column.is_empty());
        columns.map(|(origin, _)| *origin)
    }

    /// Returns the loads as decisions read them.
    pub(crate) fn live(&self) -> &LiveLoads {
        &self.live
    }

    /// Sets the clock by which later prefills start, in milliseconds.
    pub(crate) fn record_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Goes on with another clock, at `now_ms`: when the endpoints started with their prompts is not known by it.
    pub(crate) fn restart_prefills(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        (0..self.places.len()).for_each(|slot| self.live.total(slot).set_prefill_began_ms(now_ms));
    }

    /// Continues where `before`, another state of the same pool, was: an endpoint that has not started with a prompt since
    /// then still processes the same one.
    pub(crate) fn continue_prefills_of(&mut self, before: &Self) {
        self.now_ms = before.now_ms;
        for (slot, place) in self.places.iter().enumerate() {
            let known = before.live.slot(place.endpoint);
            let same = known.filter(|at| !before.places[*at].sum.starts_prefill(place.sum));
            let began_ms = same.map_or(self.now_ms, |at| before.live.prefill_began_ms(at));
            self.live.total(slot).set_prefill_began_ms(began_ms);
        }
    }

    /// Adds an endpoint that the table does not have.
    pub(super) fn add(&mut self, endpoint: EndpointKey) {
        let place = Place { endpoint, sum: Sum::default() };
        let slot = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(slot) {
            Some(free) => *free = place,
            None => self.places.push(place),
        }
        self.live.assign(endpoint, slot);
        self.live.total(slot).set_prefill_began_ms(self.now_ms);
    }

    /// Removes an endpoint and returns its loads. A view that still has the endpoint reads that it has none, or the loads of
    /// the next one in its slot.
    pub(super) fn remove(&mut self, endpoint: EndpointKey) -> Vec<(Origin, Load)> {
        let loads = self.at(endpoint);
        for (origin, _) in &loads {
            self.set(endpoint, *origin, Load::ZERO);
        }
        self.free.extend(self.live.release(endpoint));
        loads
    }

    /// Sets a load and returns the one before; `None` if the endpoint is unknown.
    pub(super) fn set(&mut self, endpoint: EndpointKey, origin: Origin, load: Load) -> Option<Load> {
        let slot = self.live.slot(endpoint)?;
        if load == Load::ZERO && !self.live.columns().contains_key(&origin) {
            return Some(Load::ZERO);
        }
        let before = self.live.column_mut(origin).replace(slot, load);
        let place = &mut self.places[slot];
        let sum = place.sum.replaced(before, load);
        let total = self.live.total(slot);
        total.set_load(sum.load());
        if place.sum.starts_prefill(sum) {
            total.set_prefill_began_ms(self.now_ms);
        }
        place.sum = sum;
        Some(before)
    }

    /// Sets all loads of an origin to zero and returns them.
    pub(super) fn expire(&mut self, origin: Origin) -> Vec<(EndpointKey, Load)> {
        let loads = self.of_origin(origin);
        for (endpoint, _) in &loads {
            self.set(*endpoint, origin, Load::ZERO);
        }
        self.live.remove_column(origin);
        loads
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u64, u64, Load),
        Remove(u64),
        Expire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let count = || prop_oneof![0..3_u32, Just(u32::MAX)];
        let loads = (count(), count(), prop_oneof![0..3_u64, Just(u64::MAX)]);
        let load = loads.prop_map(|(requests, prefills, prefill_tokens)| Load {
            requests,
            prefills,
            prefill_tokens,
        });
        prop_oneof![
            12 => (0..40_u64, 0..6_u64, load).prop_map(|(at, of, load)| Step::Set(at, of, load)),
            1 => (0..40_u64).prop_map(Step::Remove),
            1 => (0..6_u64).prop_map(Step::Expire),
        ]
    }

    proptest! {
        #[test]
        fn table_behaves_like_a_map(steps in vec(step(), 1..120)) {
            let (mut table, mut model) = (LoadTable::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Set(at, of, load) => {
                        let (endpoint, origin) = (EndpointKey(at), Origin(of));
                        if table.live.slot(endpoint).is_none() {
                            prop_assert_eq!(None, table.set(endpoint, origin, load));
                            table.add(endpoint);
                        }
                        let before = model.insert((endpoint, origin), load);
                        prop_assert_eq!(Some(before.unwrap_or_default()), table.set(endpoint, origin, load));
                    }
                    Step::Remove(at) => {
                        table.remove(EndpointKey(at));
                        model.retain(|(of, _), _| *of != EndpointKey(at));
                    }
                    Step::Expire(of) => {
                        table.expire(Origin(of));
                        model.retain(|(_, origin), _| *origin != Origin(of));
                    }
                }
                model.retain(|_, load| *load != Load::ZERO);
                let mut by_endpoint = table.by_endpoint();
                for endpoint in (0..40).map(EndpointKey) {
                    prop_assert_eq!(by_endpoint.remove(&endpoint).unwrap_or_default(), table.at(endpoint));
                    let expected: Vec<_> =
                        model.iter().filter(|((at, _), _)| *at == endpoint).map(|((_, of), load)| (*of, *load)).collect();
                    prop_assert_eq!(expected.clone(), table.at(endpoint));
                    let total = expected.iter().fold(Load::ZERO, |sum, (_, load)| sum + *load);
                    prop_assert_eq!(total, table.total(endpoint));
                    prop_assert_eq!(total, table.live.slot(endpoint).map_or(Load::ZERO, |slot| table.live.total_at(slot)));
                }
                prop_assert!(by_endpoint.is_empty());
                for origin in (0..6).map(Origin) {
                    let expected: Vec<_> =
                        model.iter().filter(|((_, of), _)| *of == origin).map(|((at, _), load)| (*at, *load)).collect();
                    prop_assert_eq!(expected, table.of_origin(origin));
                }
            }
        }
    }

    #[test]
    fn readers_see_later_loads_and_their_own_are_left_out() {
        let (mut table, endpoint) = (LoadTable::default(), EndpointKey(7));
        let load = |requests| Load { requests, prefills: 1, prefill_tokens: 10 };
        table.add(endpoint);
        table.set(endpoint, Origin(1), load(1));
        let reader = table.live().clone();
        table.set(endpoint, Origin(1), load(2));
        table.set(endpoint, Origin(2), load(3));
        assert_eq!(5, reader.total_at(0).requests);
        assert_eq!(vec![load(3)], reader.without(Origin(1), &[0]));
        table.expire(Origin(1));
        assert_eq!(vec![load(3)], reader.without(Origin(1), &[0]));
    }
}
