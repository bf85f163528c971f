//! Origins of silent replicas expire, and the replicas are told when they send feedback again.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use signalbox_state::{CountedEvent, Pool, PoolEffect, PoolInput};
use signalbox_types::{Incarnation, Load, Origin};

use crate::feedback::{full_batch, loads_of};
use crate::fixtures::{config, endpoint, placement, pool_of};

const TTL_MS: u64 = 3_000;

/// More inputs than any work takes.
const MAX_INPUTS: usize = 1_000;

fn send_batch(pool: &mut Pool, now_ms: u64, origin: u64, seq: u64) -> Vec<PoolEffect> {
    let gauges = vec![(endpoint(0), Load { requests: 2, prefills: 0, prefill_tokens: 7 })];
    pool.handle(now_ms, PoolInput::Feedback(full_batch(origin, seq, gauges, Vec::new())))
}

proptest! {
    /// Replicas 0 to 3 send batches at random. One that was silent for the TTL at a tick is rejected from
    /// then on.
    #[test]
    fn origin_expires_exactly_after_the_ttl(steps in vec((0_u64..1_200, 0_u64..4, any::<bool>()), 1..60)) {
        let mut pool = pool_of(1, config());
        let mut now_ms = 0;
        let mut last_batch_ms: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        for (seq, (passed_ms, origin, ticks)) in steps.into_iter().enumerate() {
            now_ms += passed_ms;
            if ticks {
                pool.handle(now_ms, PoolInput::Tick);
                for at in last_batch_ms.values_mut().filter(|at| at.is_some_and(|at_ms| now_ms - at_ms >= TTL_MS)) {
                    *at = None;
                }
            } else {
                let effects = send_batch(&mut pool, now_ms, origin, seq as u64);
                let refused = effects.contains(&PoolEffect::Expired(Origin(origin)));
                prop_assert_eq!(last_batch_ms.get(&origin) == Some(&None), refused);
                if !refused {
                    last_batch_ms.insert(origin, Some(now_ms));
                }
            }
            for (origin, at) in &last_batch_ms {
                prop_assert_eq!(usize::from(at.is_some()), loads_of(&pool, *origin).len());
            }
        }
    }
}

#[test]
fn expiry_removes_loads_and_acknowledgement_but_not_placements() {
    let mut pool = pool_of(1, config());
    let placed = placement(1, endpoint(0), Incarnation(0), &[0, 1], 0);
    let gauges = vec![(endpoint(0), Load { requests: 2, prefills: 0, prefill_tokens: 7 })];
    pool.handle(0, PoolInput::Feedback(full_batch(1, 1, gauges, vec![placed])));
    assert_eq!(1, pool.pool_state().acknowledgements().len());
    pool.handle(TTL_MS - 1, PoolInput::Tick);
    assert_eq!(1, loads_of(&pool, 1).len());
    let effects = pool.handle(TTL_MS, PoolInput::Tick);
    assert!(effects.contains(&PoolEffect::Count(CountedEvent::OriginExpired(Origin(1)))), "{effects:?}");
    assert_eq!((0, 0), (loads_of(&pool, 1).len(), pool.pool_state().acknowledgements().len()));
    assert_eq!(2, pool.pool_state().index_writer().placed_blocks(endpoint(0)));
    assert_eq!(vec![PoolEffect::Expired(Origin(1))], send_batch(&mut pool, TTL_MS, 1, 2));
    assert_eq!(0, loads_of(&pool, 1).len());
}

#[test]
fn repeated_batch_keeps_the_origin_alive() {
    let mut pool = pool_of(1, config());
    send_batch(&mut pool, 0, 1, 5);
    send_batch(&mut pool, 2_000, 1, 5);
    pool.handle(4_000, PoolInput::Tick);
    assert_eq!(1, loads_of(&pool, 1).len());
}

/// Returns how many origins have load at the pool.
fn loaded(pool: &Pool) -> usize {
    pool.pool_state().loads().origins().count()
}

/// Handles a tick, and continues until no work is left.
fn tick_to_the_end(pool: &mut Pool, now_ms: u64) {
    let mut effects = pool.handle(now_ms, PoolInput::Tick);
    for _ in 0..MAX_INPUTS {
        if !effects.contains(&PoolEffect::Unfinished) {
            return;
        }
        effects = pool.handle(now_ms, PoolInput::Continue);
    }
    panic!("work is left after {MAX_INPUTS} inputs");
}

#[test]
fn many_silent_origins_expire_with_several_inputs_and_the_next_owner_continues() {
    let mut pool = pool_of(1, config());
    for origin in 0..2_000 {
        send_batch(&mut pool, 0, origin, 1);
    }
    pool.handle(TTL_MS, PoolInput::Tick);
    let left = loaded(&pool);
    assert!((1_000..2_000).contains(&left), "one tick leaves some of many: {left}");
    let mut pool = Pool::inherit(2, config(), pool.into_replica(), TTL_MS);
    pool.handle(2 * TTL_MS - 1, PoolInput::Tick);
    assert_eq!(left, loaded(&pool), "each has the whole time at the next owner");
    tick_to_the_end(&mut pool, 2 * TTL_MS);
    assert_eq!((0, 0), (loaded(&pool), pool.pool_state().acknowledgements().len()));
    assert_eq!(Load::ZERO, pool.pool_state().loads().total(endpoint(0)));
}

#[test]
fn remembered_expired_origins_are_bounded() {
    let mut pool = pool_of(1, config());
    for origin in 0..5_000 {
        send_batch(&mut pool, 0, origin, 1);
    }
    for _ in 0..MAX_INPUTS {
        pool.handle(TTL_MS, PoolInput::Tick);
    }
    assert_eq!(0, loaded(&pool), "ticks alone remove all loads");
    let refused = |pool: &mut Pool, origin| {
        send_batch(pool, TTL_MS, origin, 2) == vec![PoolEffect::Expired(Origin(origin))]
    };
    assert!((904..5_000).all(|origin| refused(&mut pool, origin)));
    assert!(!refused(&mut pool, 903));
}

#[test]
fn forgotten_origin_is_refused_until_its_loads_are_removed() {
    let mut pool = pool_of(1, config());
    for origin in 0..5_000 {
        send_batch(&mut pool, 0, origin, 1);
    }
    pool.handle(TTL_MS, PoolInput::Tick);
    let forgotten = 903;
    assert_eq!(1, loads_of(&pool, forgotten).len(), "one tick does not remove it");
    assert_eq!(vec![PoolEffect::Expired(Origin(forgotten))], send_batch(&mut pool, TTL_MS, forgotten, 2));
    tick_to_the_end(&mut pool, TTL_MS);
    assert_eq!(0, loaded(&pool));
    send_batch(&mut pool, TTL_MS, forgotten, 3);
    tick_to_the_end(&mut pool, TTL_MS + 1);
    assert_eq!(1, loads_of(&pool, forgotten).len(), "what is accepted stays");
}
