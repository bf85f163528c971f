//! A batch of feedback whose placements are much work is handled in parts.

use std::sync::Arc;

use signalbox_state::{
    CollectorStream, Feedback, FeedbackRest, GaugeScope, InputLimits, Placement, Pool, PoolConfig,
    PoolEffect, PoolInput,
};
use signalbox_types::{BlockHash, Incarnation, Load, ModelKey, Origin};

use crate::feedback::{full_batch, loads_of, partial_batch};
use crate::fixtures::{config, endpoint, endpoint_spec, pool_of, pool_spec};
use crate::token_ratios::usage;

const ORIGIN: Origin = Origin(1);
const PLACEMENTS: u64 = 32;
const BLOCKS: u64 = 4_000;

fn chain(name: u64, blocks: u64) -> Arc<[BlockHash]> {
    (1..=blocks).map(|block| BlockHash(name * 1_000_000 + block)).collect()
}

fn placement(number: u64, suffix: Arc<[BlockHash]>) -> Placement {
    let (endpoint, incarnation) = (endpoint(number as usize % 2), Incarnation::default());
    Placement { number, endpoint, incarnation, anchor: BlockHash::ROOT, suffix }
}

/// Returns a pool whose index has room for `blocks` blocks.
fn pool(blocks: u64) -> Pool {
    let config = PoolConfig { assumed_kv_tokens: 1 << 40, index_bytes: blocks as usize * 12, ..config() };
    let mut pool = Pool::new(1, config);
    pool.handle(0, PoolInput::Spec(pool_spec((0..2).map(|index| endpoint_spec(index, 0)))));
    pool.handle(0, PoolInput::CollectorJoined(CollectorStream(1), "collector".to_owned()));
    pool
}

fn rest_of(effects: Vec<PoolEffect>) -> Option<FeedbackRest> {
    effects.into_iter().find_map(|effect| match effect {
        PoolEffect::FeedbackLeft(rest) => Some(rest),
        _ => None,
    })
}

/// A batch of long prompts with everything else that a batch can have.
fn long_batch() -> Feedback {
    let placements = (1..=PLACEMENTS).map(|number| placement(number, chain(number, BLOCKS)));
    let load = Load { requests: 1, prefills: 1, prefill_tokens: 9 };
    let batch = full_batch(ORIGIN.0, 1, vec![(endpoint(0), load)], placements.collect());
    Feedback { usage: vec![usage("a", 4_000, 2_000); 60], ..batch }
}

fn has_learned(pool: &Pool) -> bool {
    pool.pool_state().token_ratios().contains_key(&ModelKey::of("a"))
}

#[test]
fn long_batch_takes_several_inputs_and_everything_is_handled_once() {
    let mut pool = pool(1 << 20);
    let mut rest = rest_of(pool.handle(0, PoolInput::Feedback(long_batch())));
    assert_eq!(1, loads_of(&pool, ORIGIN.0).len());
    let held = |pool: &Pool| {
        [0, 1].map(|at| pool.pool_state().index_writer().placed_blocks(endpoint(at))).iter().sum::<usize>()
    };
    let (mut parts, mut before) = (1, held(&pool));
    while let Some(left) = rest {
        assert!(parts < PLACEMENTS, "a rest is left after one input for each placement");
        assert!(!has_learned(&pool) && pool.pool_state().acknowledged(ORIGIN) == 0, "placements come first");
        // Another replica is served in between.
        let other = placement(parts, chain(100 + parts, 2));
        assert!(
            rest_of(pool.handle(0, PoolInput::Feedback(partial_batch(2, parts, Vec::new(), vec![other]))))
                .is_none()
        );
        rest = rest_of(pool.handle(0, PoolInput::FeedbackRest(left)));
        let more = held(&pool) - before - 2;
        assert!((1..=60_000).contains(&more), "{more} blocks with one input");
        (parts, before) = (parts + 1, held(&pool));
    }
    assert!((3..=4).contains(&parts), "{parts} parts");
    assert_eq!((PLACEMENTS * BLOCKS + 2 * (parts - 1)) as usize, held(&pool));
    assert_eq!((PLACEMENTS, true), (pool.pool_state().acknowledged(ORIGIN), has_learned(&pool)));
}

#[test]
fn evictions_count_as_work() {
    let mut pool = pool(200_000);
    for number in 1..=3_000 {
        pool.handle(
            0,
            PoolInput::Feedback(partial_batch(
                1,
                number,
                Vec::new(),
                vec![placement(number, chain(number, 40))],
            )),
        );
    }
    let before = pool.journal().head().seq;
    let placements = (3_001..=3_012).map(|number| placement(number, chain(number, BLOCKS))).collect();
    let rest = rest_of(pool.handle(0, PoolInput::Feedback(partial_batch(1, 3_001, Vec::new(), placements))));
    let changes = pool.journal().head().seq - before;
    assert!(rest.is_some(), "12 prompts of this length fit into one input if they evict nothing");
    assert!((100..1_500).contains(&changes), "{changes}");
}

#[test]
fn rest_of_an_expired_origin_is_dropped() {
    let mut pool = pool(1 << 20);
    let rest = rest_of(pool.handle(0, PoolInput::Feedback(long_batch()))).unwrap();
    pool.handle(10_000, PoolInput::Tick);
    let before = pool.journal().head();
    assert_eq!(vec![PoolEffect::Expired(ORIGIN)], pool.handle(10_000, PoolInput::FeedbackRest(rest)));
    assert_eq!((before, false), (pool.journal().head(), has_learned(&pool)));
}

#[test]
fn repeated_batch_teaches_nothing_again() {
    let mut pool = pool(1 << 20);
    let first = Feedback { scope: GaugeScope::Changed, usage: Vec::new(), ..long_batch() };
    pool.handle(0, PoolInput::Feedback(Feedback { placements: Vec::new(), ..first }));
    let mut rest = rest_of(pool.handle(0, PoolInput::Feedback(long_batch())));
    for _ in 0..PLACEMENTS {
        rest = rest.and_then(|left| rest_of(pool.handle(0, PoolInput::FeedbackRest(left))));
    }
    assert_eq!(None, rest, "a rest is left after one input for each placement");
    assert!(!has_learned(&pool), "its number is not higher than that of the batch before");
}

#[test]
fn copies_for_a_capture_count_as_work() {
    const ENDPOINTS: usize = 50;
    const PROMPTS: u64 = 200;
    let input_limits = InputLimits { snapshot_steps: 1_000, ..InputLimits::default() };
    let mut pool = pool_of(ENDPOINTS, PoolConfig { assumed_kv_tokens: 1 << 40, input_limits, ..config() });
    let prompts = |round: u64| (1..=PROMPTS).map(move |name| (round * PROMPTS + name, chain(name, 2)));
    let at = |(number, suffix), index| Placement { endpoint: endpoint(index), ..placement(number, suffix) };
    for index in 0..ENDPOINTS {
        let placements = prompts(index as u64).map(|each| at(each, index)).collect();
        let batch = partial_batch(1, index as u64 + 1, Vec::new(), placements);
        assert_eq!(
            None,
            rest_of(pool.handle(0, PoolInput::Feedback(batch))),
            "without a capture, it is little"
        );
    }
    assert!(pool.request_snapshot(0, None).is_none(), "10,000 holders are more than one part");
    let copied = |pool: &Pool| pool.pool_state().index_writer().early_capture_steps();
    let placements = prompts(ENDPOINTS as u64).map(|each| at(each, 0)).collect();
    let batch = partial_batch(1, ENDPOINTS as u64 + 1, Vec::new(), placements);
    let (mut input, mut parts) = (Some(PoolInput::Feedback(batch)), 0);
    while let Some(next) = input {
        let before = copied(&pool);
        input = rest_of(pool.handle(0, next)).map(PoolInput::FeedbackRest);
        let steps = copied(&pool) - before;
        // The placement that reaches the limit copies one run.
        assert!(steps <= 1_000 + ENDPOINTS, "{steps} steps of copies with one input");
        parts += 1;
    }
    assert!(copied(&pool) > 8_000, "{} steps: nearly all runs were copied", copied(&pool));
    assert!((8..=11).contains(&parts), "{parts} parts");
}
