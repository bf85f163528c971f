//! Work in flight: loss, repetition and reordering of batches heal with the next whole one.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use proptest::sample::Index;
use signalbox_state::{Feedback, GaugeScope, Placement, Pool, PoolInput};
use signalbox_types::{EndpointKey, Load, Origin};

use crate::support::steps::{ENDPOINTS, load};
use crate::support::{config, endpoint, pool_of};

/// A whole batch.
pub(crate) fn batch(
    origin: u64,
    seq: u64,
    gauges: Vec<(EndpointKey, Load)>,
    placements: Vec<Placement>,
) -> Feedback {
    let (adapters, responses) = (Vec::new(), Vec::new());
    let (origin, scope) = (Origin(origin), GaugeScope::Whole);
    Feedback { epoch: 0, origin, seq, scope, gauges, placements, adapters, responses }
}

pub(crate) fn changed(
    origin: u64,
    seq: u64,
    gauges: Vec<(EndpointKey, Load)>,
    placements: Vec<Placement>,
) -> Feedback {
    Feedback { scope: GaugeScope::Changed, ..batch(origin, seq, gauges, placements) }
}

fn requests(requests: u32) -> Load {
    Load { requests, prefills: requests / 2, prefill_tokens: 0 }
}

/// What the pool holds of `origin`'s work, without the zeros.
pub(crate) fn loads_of(pool: &Pool, origin: u64) -> BTreeMap<EndpointKey, Load> {
    let loads = pool.pool_state().endpoints().map(|member| (member.key, member.load_of(Origin(origin))));
    loads.filter(|(_, load)| *load != Load::ZERO).collect()
}

/// The batches by which a replica tells its gauges, and what they are in the end.
fn told(changes: &[(usize, Load, bool)]) -> (Vec<Feedback>, BTreeMap<EndpointKey, Load>) {
    let mut gauges = BTreeMap::new();
    let mut batches = Vec::new();
    for (seq, (at, load, is_whole)) in changes.iter().enumerate() {
        gauges.insert(endpoint(*at), *load);
        let seq = seq as u64;
        batches.push(match is_whole {
            true => batch(1, seq, gauges.clone().into_iter().collect(), Vec::new()),
            false => changed(1, seq, vec![(endpoint(*at), *load)], Vec::new()),
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
    fn batches_in_order_give_what_is_in_flight(changes in changes()) {
        let mut pool = pool_of(ENDPOINTS, config());
        let (batches, gauges) = told(&changes);
        batches.into_iter().for_each(|batch| drop(pool.fold(0, PoolInput::Feedback(batch))));
        prop_assert_eq!(gauges, loads_of(&pool, 1));
    }

    #[test]
    fn a_whole_batch_heals_whatever_happened_to_those_before(changes in changes(), arrived in vec(any::<Index>(), 0..40)) {
        let mut pool = pool_of(ENDPOINTS, config());
        let (batches, gauges) = told(&changes);
        let mut deliver = |feedback: Feedback| drop(pool.fold(0, PoolInput::Feedback(feedback)));
        arrived.iter().for_each(|at| deliver(at.get(&batches).clone()));
        deliver(batch(1, changes.len() as u64, gauges.clone().into_iter().collect(), Vec::new()));
        arrived.iter().for_each(|at| deliver(at.get(&batches).clone()));
        prop_assert_eq!(gauges, loads_of(&pool, 1));
    }
}

#[test]
fn the_first_batch_counts_whatever_its_number() {
    let mut pool = pool_of(1, config());
    pool.fold(0, PoolInput::Feedback(batch(1, 0, vec![(endpoint(0), requests(3))], Vec::new())));
    assert_eq!(BTreeMap::from([(endpoint(0), requests(3))]), loads_of(&pool, 1));
}

#[test]
fn an_older_batch_and_a_repeated_one_change_no_gauge() {
    let mut pool = pool_of(2, config());
    pool.fold(0, PoolInput::Feedback(batch(1, 5, vec![(endpoint(0), requests(3))], Vec::new())));
    let head = pool.journal().head();
    for seq in [4, 5] {
        pool.fold(0, PoolInput::Feedback(batch(1, seq, vec![(endpoint(1), requests(9))], Vec::new())));
        pool.fold(0, PoolInput::Feedback(changed(1, seq, vec![(endpoint(0), requests(8))], Vec::new())));
    }
    assert_eq!(head, pool.journal().head());
}

#[test]
fn a_whole_batch_touches_no_other_replicas_work() {
    let mut pool = pool_of(2, config());
    pool.fold(0, PoolInput::Feedback(batch(1, 1, vec![(endpoint(0), requests(3))], Vec::new())));
    pool.fold(0, PoolInput::Feedback(batch(2, 1, vec![(endpoint(1), requests(4))], Vec::new())));
    pool.fold(0, PoolInput::Feedback(batch(2, 2, Vec::new(), Vec::new())));
    assert_eq!((1, 0), (loads_of(&pool, 1).len(), loads_of(&pool, 2).len()));
}

#[test]
fn work_at_an_endpoint_that_is_none_is_not_kept() {
    let mut pool = pool_of(1, config());
    let head = pool.journal().head();
    pool.fold(0, PoolInput::Feedback(batch(1, 1, vec![(EndpointKey(1), requests(3))], Vec::new())));
    assert_eq!(head, pool.journal().head());
}

#[test]
fn the_greatest_loads_there_are_add_up_without_overflow() {
    let mut pool = pool_of(1, config());
    let most = Load { requests: u32::MAX, prefills: 0, prefill_tokens: u64::MAX };
    for origin in [1, 2] {
        pool.fold(0, PoolInput::Feedback(batch(origin, u64::MAX, vec![(endpoint(0), most)], Vec::new())));
    }
    assert_eq!(most, pool.pool_state().member(endpoint(0)).unwrap().load());
}
