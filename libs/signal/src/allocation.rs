//! Divides the replicas that a role needs among its Deployments, by cost.

/// A Deployment that can take a part of the load of a role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Offer {
    /// How many reference replicas one replica of it equals.
    pub(crate) strength: f64,
    /// What one replica of it costs.
    pub(crate) cost: f64,
    /// How many replicas of it serve.
    pub(crate) serving: u32,
    /// The most that it is known to get; `None` if it was never refused more.
    pub(crate) limit: Option<u32>,
}

/// Returns how many replicas of each Deployment are needed for the work of `need` reference replicas. The one with the lowest
/// cost for its strength comes first. What it cannot get is given to the next one, and a dearer one keeps its replicas until
/// cheaper ones serve in their place: those that the work of `needed_now` reference replicas takes.
pub(crate) fn allocate(need: f64, needed_now: f64, offers: &[Offer]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..offers.len()).collect();
    let price = |at: &usize| offers[*at].cost / offers[*at].strength;
    order.sort_by(|a, b| price(a).total_cmp(&price(b)));
    let mut allocated = vec![0.0; offers.len()];
    let (mut planned, mut served) = (0.0, 0.0);
    for (place, at) in order.iter().enumerate() {
        let Offer { strength, serving, limit, .. } = offers[*at];
        let is_last = place + 1 == order.len();
        let in_full = ((need - planned) / strength).max(0.0);
        let can_get = limit.filter(|_| !is_last).map_or(in_full, |limit| in_full.min(f64::from(limit)));
        // What cheaper ones do not serve yet, this one goes on serving, as far as it does.
        let meanwhile = ((needed_now - served) / strength).clamp(0.0, f64::from(serving));
        allocated[*at] = can_get.max(meanwhile);
        planned += can_get * strength;
        // Only whole replicas serve.
        served += f64::from(serving).min(can_get.ceil()) * strength;
    }
    allocated
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BIG: Offer = Offer { strength: 2.0, cost: 3.0, serving: 0, limit: None };
    const SMALL: Offer = Offer { strength: 1.0, cost: 1.0, serving: 0, limit: None };

    #[test]
    fn cheapest_for_its_strength_comes_first() {
        assert_eq!(vec![0.0, 4.0], allocate(4.0, 4.0, &[BIG, SMALL]));
        assert_eq!(vec![2.0, 0.0], allocate(4.0, 4.0, &[Offer { cost: 1.5, ..BIG }, SMALL]));
    }

    #[test]
    fn what_the_cheapest_cannot_get_goes_to_the_next() {
        assert_eq!(vec![1.5, 1.0], allocate(4.0, 4.0, &[BIG, Offer { limit: Some(1), ..SMALL }]));
    }

    #[test]
    fn dearer_replicas_stay_until_cheaper_ones_serve() {
        let big = Offer { serving: 2, ..BIG };
        assert_eq!(vec![2.0, 4.0], allocate(4.0, 4.0, &[big, SMALL]));
        assert_eq!(vec![1.0, 4.0], allocate(4.0, 4.0, &[big, Offer { serving: 2, ..SMALL }]));
        assert_eq!(vec![0.0, 4.0], allocate(4.0, 4.0, &[big, Offer { serving: 4, ..SMALL }]));
    }

    proptest! {
        #[test]
        fn load_is_always_covered(
            need in 0.0..50.0_f64,
            offers in prop::collection::vec((0.1..4.0_f64, 0.1..4.0_f64, 0..20_u32, prop::option::of(0..9_u32)), 1..5)
        ) {
            let offers: Vec<_> = offers
                .into_iter()
                .map(|(strength, cost, serving, limit)| Offer { strength, cost, serving, limit })
                .collect();
            let covered: f64 = allocate(need, need, &offers).iter().zip(&offers).map(|(count, of)| count * of.strength).sum();
            prop_assert!(covered >= need - 1e-6);
        }
    }
}
