//! The load that replicas put on one endpoint.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use signalbox_types::{Load, Origin};
use smallvec::SmallVec;

/// The load that each replica put on an endpoint, ordered by origin. No entry is zero. The sum is kept, because it is
/// read more often than a load changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loads {
    by_origin: SmallVec<[(Origin, Load); 4]>,
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
}

impl Loads {
    /// Returns the loads that are not zero, ordered by origin.
    pub fn entries(&self) -> &[(Origin, Load)] {
        &self.by_origin
    }

    /// Returns the load of `origin`.
    pub fn of(&self, origin: Origin) -> Load {
        self.position(origin).map_or(Load::ZERO, |at| self.by_origin[at].1)
    }

    /// Returns the sum of all loads.
    pub fn sum(&self) -> Load {
        self.sum.load()
    }

    /// Returns the sum of all loads except that of `origin`.
    pub fn sum_without(&self, origin: Origin) -> Load {
        self.sum.replaced(self.of(origin), Load::ZERO).load()
    }

    /// Sets the load of `origin` and returns the one before.
    pub fn set(&mut self, origin: Origin, load: Load) -> Load {
        let before = match (self.position(origin), load == Load::ZERO) {
            (Ok(at), true) => self.by_origin.remove(at).1,
            (Ok(at), false) => std::mem::replace(&mut self.by_origin[at].1, load),
            (Err(_), true) => Load::ZERO,
            (Err(at), false) => {
                self.by_origin.insert(at, (origin, load));
                Load::ZERO
            }
        };
        self.sum = self.sum.replaced(before, load);
        before
    }

    fn position(&self, origin: Origin) -> Result<usize, usize> {
        self.by_origin.binary_search_by_key(&origin, |(of, _)| *of)
    }
}

/// Copies the loads at once; the derived implementation copies one after the other.
impl Clone for Loads {
    fn clone(&self) -> Self {
        Self { by_origin: SmallVec::from_slice(&self.by_origin), sum: self.sum }
    }
}

/// Of two loads of one origin, the later one counts.
impl FromIterator<(Origin, Load)> for Loads {
    fn from_iter<I: IntoIterator<Item = (Origin, Load)>>(loads: I) -> Self {
        let mut collected = Self::default();
        for (origin, load) in loads {
            collected.set(origin, load);
        }
        collected
    }
}

impl Serialize for Loads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_origin.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Loads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<(Origin, Load)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    use super::*;

    fn load() -> impl Strategy<Value = Load> {
        let count = || prop_oneof![0..3_u32, Just(u32::MAX)];
        let loads = (count(), count(), prop_oneof![0..3_u64, Just(u64::MAX)]);
        loads.prop_map(|(requests, prefills, prefill_tokens)| Load { requests, prefills, prefill_tokens })
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_entries(changes in vec((0..6_u64, load()), 0..40), own in 0..6_u64) {
            let mut loads = Loads::default();
            for (origin, load) in changes {
                let before = loads.of(Origin(origin));
                prop_assert_eq!(before, loads.set(Origin(origin), load));
                prop_assert_eq!(load, loads.of(Origin(origin)));
                let sum = |without| {
                    let others = loads.entries().iter().filter(|(of, _)| Some(*of) != without);
                    others.fold(Load::ZERO, |sum, (_, load)| sum + *load)
                };
                prop_assert_eq!(sum(None), loads.sum());
                prop_assert_eq!(sum(Some(Origin(own))), loads.sum_without(Origin(own)));
                assert!(loads.entries().iter().all(|(_, load)| *load != Load::ZERO));
                assert!(loads.entries().iter().is_sorted_by(|(a, _), (b, _)| a < b));
            }
        }

        #[test]
        fn the_order_of_entries_does_not_matter(origins in vec(any::<u64>(), 0..20)) {
            let load = Load { requests: 1, ..Load::ZERO };
            let ordered: Loads = origins.iter().map(|origin| (Origin(*origin), load)).collect();
            let reversed: Loads = origins.iter().rev().map(|origin| (Origin(*origin), load)).collect();
            prop_assert_eq!(ordered.clone(), reversed);
            prop_assert_eq!(ordered.clone(), ordered.entries().iter().copied().collect());
        }
    }
}
