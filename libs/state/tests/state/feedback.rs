//! Loads: the next full batch repairs loss, repetition and reordering of batches.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use proptest::sample::Index;
use signalbox_state::{Feedback, GaugeScope, Placement, Pool, PoolInput};
use signalbox_types::{EndpointKey, Load, Origin};

use crate::fixtures::random_steps::{ENDPOINTS, load};
use crate::fixtures::{config, endpoint, endpoint_spec, pool_of, pool_spec};

/// A batch with all gauges.
pub(crate) fn full_batch(
    origin: u64,
    seq: u64,
    gauges: Vec<(EndpointKey, Load)>,
    placements: Vec<Placement>,
) -> Feedback {
    Feedback { gauges, placements, ..Feedback::new(Origin(origin), seq, GaugeScope::All) }
}

pub(crate) fn partial_batch(
    origin: u64,
    seq: u64,
    gauges: Vec<(EndpointKey, Load)>,
    placements: Vec<Placement>,
) -> Feedback {
    Feedback { scope: GaugeScope::Changed, ..full_batch(origin, seq, gauges, placements) }
}

fn requests(requests: u32) -> Load {
    Load { requests, prefills: requests / 2, prefill_tokens: 0 }
}

/// Returns the loads of `origin` in the pool, without zeros.
pub(crate) fn loads_of(pool: &Pool, origin: u64) -> BTreeMap<EndpointKey, Load> {
    pool.pool_state().loads().of_origin(Origin(origin)).into_iter().collect()
}

/// Returns the batches with which a replica reports its gauges, and the gauges at the end.
fn batches_of(changes: &[(usize, Load, bool)]) -> (Vec<Feedback>, BTreeMap<EndpointKey, Load>) {
    let mut gauges = BTreeMap::new();
    let mut batches = Vec::new();
    for (seq, (at, load, contains_all)) in changes.iter().enumerate() {
        gauges.insert(endpoint(*at), *load);
        let seq = seq as u64;
        batches.push(match contains_all {
            true => full_batch(1, seq, gauges.clone().into_iter().collect(), Vec::new()),
            false => partial_batch(1, seq, vec![(endpoint(*at), *load)], Vec::new()),
        });
    }
    gauges.retain(|_, load| *load != Load::ZERO);
    (batches, gauges)
}

fn changes() -> impl Strategy<Value = Vec<(usize, Load, bool)>> {
    vec((0..ENDPOINTS, load(), any::<bool>()), 1..30)
}

proptest! {
    #[test]
    fn batches_in_order_give_the_load(changes in changes()) {
        let mut pool = pool_of(ENDPOINTS, config());
        let (batches, gauges) = batches_of(&changes);
        batches.into_iter().for_each(|batch| drop(pool.handle(0, PoolInput::Feedback(batch))));
        prop_assert_eq!(gauges, loads_of(&pool, 1));
    }

    #[test]
    fn a_full_batch_repairs_lost_and_reordered_batches(changes in changes(), arrived in vec(any::<Index>(), 0..40)) {
        let mut pool = pool_of(ENDPOINTS, config());
        let (batches, gauges) = batches_of(&changes);
        let mut deliver = |feedback: Feedback| drop(pool.handle(0, PoolInput::Feedback(feedback)));
        arrived.iter().for_each(|at| deliver(at.get(&batches).clone()));
        deliver(full_batch(1, changes.len() as u64, gauges.clone().into_iter().collect(), Vec::new()));
        arrived.iter().for_each(|at| deliver(at.get(&batches).clone()));
        prop_assert_eq!(gauges, loads_of(&pool, 1));
    }
}

#[test]
fn first_batch_counts_regardless_of_its_number() {
    let mut pool = pool_of(1, config());
    pool.handle(0, PoolInput::Feedback(full_batch(1, 0, vec![(endpoint(0), requests(3))], Vec::new())));
    assert_eq!(BTreeMap::from([(endpoint(0), requests(3))]), loads_of(&pool, 1));
}

#[test]
fn older_and_repeated_batches_change_no_gauge() {
    let mut pool = pool_of(2, config());
    pool.handle(0, PoolInput::Feedback(full_batch(1, 5, vec![(endpoint(0), requests(3))], Vec::new())));
    let head = pool.journal().head();
    for seq in [4, 5] {
        pool.handle(0, PoolInput::Feedback(full_batch(1, seq, vec![(endpoint(1), requests(9))], Vec::new())));
        pool.handle(
            0,
            PoolInput::Feedback(partial_batch(1, seq, vec![(endpoint(0), requests(8))], Vec::new())),
        );
    }
    assert_eq!(head, pool.journal().head());
}

#[test]
fn a_full_batch_leaves_the_load_of_other_replicas() {
    let mut pool = pool_of(2, config());
    pool.handle(0, PoolInput::Feedback(full_batch(1, 1, vec![(endpoint(0), requests(3))], Vec::new())));
    pool.handle(0, PoolInput::Feedback(full_batch(2, 1, vec![(endpoint(1), requests(4))], Vec::new())));
    pool.handle(0, PoolInput::Feedback(full_batch(2, 2, Vec::new(), Vec::new())));
    assert_eq!((1, 0), (loads_of(&pool, 1).len(), loads_of(&pool, 2).len()));
}

#[test]
fn load_of_an_unknown_endpoint_is_ignored() {
    let mut pool = pool_of(1, config());
    let head = pool.journal().head();
    pool.handle(0, PoolInput::Feedback(full_batch(1, 1, vec![(EndpointKey(1), requests(3))], Vec::new())));
    assert_eq!(head, pool.journal().head());
}

#[test]
fn maximum_loads_add_up_without_overflow() {
    let mut pool = pool_of(1, config());
    let maximum = Load { requests: u32::MAX, prefills: 0, prefill_tokens: u64::MAX };
    for origin in [1, 2] {
        pool.handle(
            0,
            PoolInput::Feedback(full_batch(origin, u64::MAX, vec![(endpoint(0), maximum)], Vec::new())),
        );
    }
    assert_eq!(maximum, pool.pool_state().loads().total(endpoint(0)));
}

#[test]
fn loads_at_an_endpoint_that_was_removed_count_when_it_is_back() {
    let mut pool = pool_of(2, config());
    let gauges = || vec![(endpoint(0), requests(3)), (endpoint(1), requests(1))];
    let both: BTreeMap<_, _> = gauges().into_iter().collect();
    pool.handle(0, PoolInput::Feedback(full_batch(1, 1, gauges(), Vec::new())));
    assert_eq!(both, loads_of(&pool, 1));
    pool.handle(0, PoolInput::Spec(pool_spec([endpoint_spec(1, 0)])));
    pool.handle(0, PoolInput::Feedback(full_batch(1, 2, gauges(), Vec::new())));
    assert_eq!(BTreeMap::from([(endpoint(1), requests(1))]), loads_of(&pool, 1));
    pool.handle(0, PoolInput::Spec(pool_spec([endpoint_spec(0, 0), endpoint_spec(1, 0)])));
    pool.handle(0, PoolInput::Feedback(partial_batch(1, 3, gauges(), Vec::new())));
    assert_eq!(both, loads_of(&pool, 1));
}

#[test]
fn a_full_batch_ends_loads_that_a_new_owner_inherited() {
    let mut pool = pool_of(3, config());
    let gauges = vec![(endpoint(0), requests(3)), (endpoint(1), requests(1))];
    for origin in [1, 2] {
        pool.handle(0, PoolInput::Feedback(full_batch(origin, 1, gauges.clone(), Vec::new())));
    }
    let mut pool = Pool::inherit(2, config(), pool.into_replica(), 0);
    let now = vec![(endpoint(1), requests(1)), (endpoint(2), requests(2))];
    pool.handle(0, PoolInput::Feedback(full_batch(1, 2, now.clone(), Vec::new())));
    assert_eq!(now.into_iter().collect::<BTreeMap<_, _>>(), loads_of(&pool, 1));
    assert_eq!(gauges.into_iter().collect::<BTreeMap<_, _>>(), loads_of(&pool, 2));
}
