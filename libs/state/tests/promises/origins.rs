//! Replicas that fall silent are given up, and told so when they speak again.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use signalbox_state::{CountedEvent, Pool, PoolEffect, PoolInput};
use signalbox_types::{Incarnation, Load, Origin};

use crate::feedback::{batch, loads_of};
use crate::support::{config, endpoint, placement, pool_of};

const TTL_MS: u64 = 3_000;

fn speak(pool: &mut Pool, now_ms: u64, origin: u64, seq: u64) -> Vec<PoolEffect> {
    let gauges = vec![(endpoint(0), Load { requests: 2, prefills: 0, prefill_tokens: 7 })];
    pool.fold(now_ms, PoolInput::Feedback(batch(origin, seq, gauges, Vec::new())))
}

proptest! {
    /// Replicas 0 to 3 speak at random; one that was silent for the TTL when the clock ticked is refused ever after.
    #[test]
    fn an_origin_lives_exactly_as_long_as_it_is_heard(steps in vec((0_u64..1_200, 0_u64..4, any::<bool>()), 1..60)) {
        let mut pool = pool_of(1, config());
        let mut now_ms = 0;
        let mut heard: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        for (seq, (passed_ms, origin, ticks)) in steps.into_iter().enumerate() {
            now_ms += passed_ms;
            if ticks {
                pool.fold(now_ms, PoolInput::Tick);
                for at in heard.values_mut().filter(|at| at.is_some_and(|at_ms| now_ms - at_ms >= TTL_MS)) {
                    *at = None;
                }
            } else {
                let effects = speak(&mut pool, now_ms, origin, seq as u64);
                let refused = effects.contains(&PoolEffect::Expired(Origin(origin)));
                prop_assert_eq!(heard.get(&origin) == Some(&None), refused);
                if !refused {
                    heard.insert(origin, Some(now_ms));
                }
            }
            for (origin, at) in &heard {
                prop_assert_eq!(usize::from(at.is_some()), loads_of(&pool, *origin).len());
            }
        }
    }
}

#[test]
fn with_an_origin_go_its_loads_and_its_acknowledgement_but_not_its_placements() {
    let mut pool = pool_of(1, config());
    let placed = placement(1, endpoint(0), Incarnation(0), &[0, 1], 0);
    let gauges = vec![(endpoint(0), Load { requests: 2, prefills: 0, prefill_tokens: 7 })];
    pool.fold(0, PoolInput::Feedback(batch(1, 1, gauges, vec![placed])));
    assert_eq!(1, pool.pool_state().acknowledgements().len());
    pool.fold(TTL_MS - 1, PoolInput::Tick);
    assert_eq!(1, loads_of(&pool, 1).len());
    let effects = pool.fold(TTL_MS, PoolInput::Tick);
    assert!(effects.contains(&PoolEffect::Count(CountedEvent::OriginExpired(Origin(1)))), "{effects:?}");
    assert_eq!((0, 0), (loads_of(&pool, 1).len(), pool.pool_state().acknowledgements().len()));
    assert_eq!(2, pool.pool_state().residents().held(endpoint(0)));
    assert_eq!(vec![PoolEffect::Expired(Origin(1))], speak(&mut pool, TTL_MS, 1, 2));
    assert_eq!(0, loads_of(&pool, 1).len());
}

#[test]
fn a_batch_that_is_no_news_is_a_sign_of_life_all_the_same() {
    let mut pool = pool_of(1, config());
    speak(&mut pool, 0, 1, 5);
    speak(&mut pool, 2_000, 1, 5);
    pool.fold(4_000, PoolInput::Tick);
    assert_eq!(1, loads_of(&pool, 1).len());
}

#[test]
fn the_remembered_are_bounded() {
    let mut pool = pool_of(1, config());
    for origin in 0..5_000 {
        speak(&mut pool, 0, origin, 1);
    }
    pool.fold(TTL_MS, PoolInput::Tick);
    let refused =
        |pool: &mut Pool, origin| speak(pool, TTL_MS, origin, 2) == vec![PoolEffect::Expired(Origin(origin))];
    assert!((904..5_000).all(|origin| refused(&mut pool, origin)));
    assert!(!refused(&mut pool, 903));
}
