//! Algorithms without an index.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IteratorRandom, index};
use signalbox_types::Load;

use super::chooser::{Arriving, Choice, Chooser};

/// A random endpoint.
pub(super) struct Random;

/// Each endpoint in turn; the number is that of the latest.
pub(super) struct RoundRobin(pub(super) usize);

/// The endpoint with the fewest requests: own ones, and others that its metrics show.
pub(super) struct LeastLoad;

/// Of two random endpoints, the one with fewer own prompt tokens in flight, or else with fewer own requests.
pub(super) struct TwoChoices;

/// Each endpoint in proportion to its weight, spread as evenly as possible.
pub(super) struct WeightedRoundRobin {
    weights: Vec<f64>,
    credit: Vec<f64>,
}

impl Chooser for Random {
    fn choose(&mut self, arriving: &Arriving<'_>, rng: &mut SmallRng) -> Choice {
        Choice::of(rng.random_range(0..arriving.inputs.view.endpoints.len()))
    }
}

impl Chooser for RoundRobin {
    fn choose(&mut self, arriving: &Arriving<'_>, _rng: &mut SmallRng) -> Choice {
        self.0 = (self.0 + 1) % arriving.inputs.view.endpoints.len();
        Choice::of(self.0)
    }
}

impl Chooser for LeastLoad {
    fn choose(&mut self, arriving: &Arriving<'_>, rng: &mut SmallRng) -> Choice {
        let requests = |at| {
            let unbooked = arriving.inputs.view.endpoints[at].observed.unbooked_requests;
            u64::from(load(arriving, at).requests) + u64::from(unbooked)
        };
        Choice::of(least(0..arriving.inputs.view.endpoints.len(), rng, requests))
    }
}

impl Chooser for TwoChoices {
    fn choose(&mut self, arriving: &Arriving<'_>, rng: &mut SmallRng) -> Choice {
        let count = arriving.inputs.view.endpoints.len();
        let drawn = index::sample(rng, count, count.min(2)).into_vec();
        let booked = |at| {
            let load = load(arriving, at);
            (load.prefill_tokens, load.requests)
        };
        Choice::of(least(drawn.into_iter(), rng, booked))
    }
}

impl WeightedRoundRobin {
    pub(super) fn new(weights: Vec<f64>) -> Self {
        Self { credit: vec![0.0; weights.len()], weights }
    }
}

impl Chooser for WeightedRoundRobin {
    /// Every endpoint gains its weight as credit; the one with the highest credit is chosen and pays the sum of
    /// all weights.
    fn choose(&mut self, _arriving: &Arriving<'_>, _rng: &mut SmallRng) -> Choice {
        let Self { weights, credit } = self;
        credit.iter_mut().zip(&*weights).for_each(|(credit, weight)| *credit += weight);
        let highest = (0..credit.len()).max_by(|one, other| credit[*one].total_cmp(&credit[*other]));
        let highest = highest.unwrap_or(0);
        credit[highest] -= weights.iter().sum::<f64>();
        Choice::of(highest)
    }
}

/// Returns the load that the replica knows of.
pub(super) fn load(arriving: &Arriving<'_>, at: usize) -> Load {
    arriving.inputs.local.load_at(at)
}

/// Returns the position with the least value; ties are broken at random.
pub(super) fn least<V: PartialOrd>(
    positions: impl Iterator<Item = usize>,
    rng: &mut SmallRng,
    value: impl Fn(usize) -> V,
) -> usize {
    let mut least: Option<V> = None;
    let mut equals = Vec::new();
    for at in positions {
        let value = value(at);
        if least.as_ref().is_none_or(|least| value < *least) {
            least = Some(value);
            equals.clear();
            equals.push(at);
        } else if least.as_ref() == Some(&value) {
            equals.push(at);
        }
    }
    equals.into_iter().choose(rng).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn ties_are_broken_at_random_among_the_least() {
        let mut rng = SmallRng::seed_from_u64(1);
        let values = [3, 1, 2, 1];
        let chosen: Vec<_> = (0..50).map(|_| least(0..4, &mut rng, |at| values[at])).collect();
        assert!(chosen.contains(&1) && chosen.contains(&3));
        assert!(chosen.iter().all(|at| [1, 3].contains(at)));
    }
}
