//! No endpoint holds more blocks than its capacity, and the least recently used blocks are evicted first.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_state::{
    CollectorStream, Feedback, Placement, Pool, PoolConfig, PoolInput, Update, UsageReport,
};
use signalbox_types::{BlockHash, Capacity, Format, Incarnation};

use crate::feedback::partial_batch;
use crate::fixtures::random_steps::history;
use crate::fixtures::simulated_pool::SimulatedPool;
use crate::fixtures::{config, endpoint, pool_of};
use crate::reports::{assigned_pool, report, running};
use crate::token_ratios::usage;

/// Places a prompt that shares nothing with any other: `blocks` blocks numbered from `name` * 100 + 1.
fn place(pool: &mut Pool, number: u64, name: u64, blocks: u64) {
    let suffix = (1..=blocks).map(|block| BlockHash(name * 100 + block)).collect();
    let incarnation =
        pool.pool_state().endpoint(endpoint(0)).expect("the endpoint exists").observed.incarnation;
    let placed = Placement { number, endpoint: endpoint(0), incarnation, anchor: BlockHash::ROOT, suffix };
    pool.handle(0, PoolInput::Feedback(partial_batch(1, number, Vec::new(), vec![placed])));
}

fn held(pool: &Pool, name: u64) -> usize {
    let chain: Vec<_> = (1..=20).map(|block| BlockHash(name * 100 + block)).collect();
    pool.pool_state().index_writer().index().lookup(&chain).longest
}

proptest! {
    #[test]
    fn endpoint_never_holds_more_than_its_capacity(steps in history(1..80)) {
        let mut simulated = SimulatedPool::new(1, config());
        for step in &steps {
            simulated.step(step);
            for endpoint_state in simulated.pool.pool_state().endpoints() {
                let room = endpoint_state.observed.capacity.map_or(12, |capacity| capacity.kv_tokens) as usize;
                let held = simulated.pool.pool_state().index_writer().placed_blocks(endpoint_state.key);
                prop_assert!(held <= room, "{} blocks in a capacity of {}", held, room);
            }
        }
    }

    /// Six prompts of four blocks with a capacity of twelve: the last three used stay, the others are
    /// evicted.
    #[test]
    fn least_recently_used_blocks_are_evicted(used in vec(0_u64..6, 1..40)) {
        let mut pool = pool_of(1, config());
        let mut recent: Vec<u64> = Vec::new();
        for (at, name) in used.into_iter().enumerate() {
            place(&mut pool, at as u64 + 1, name, 4);
            recent.retain(|other| *other != name);
            recent.push(name);
            recent.drain(..recent.len().saturating_sub(3));
            for name in 0..6 {
                prop_assert_eq!(if recent.contains(&name) { 4 } else { 0 }, held(&pool, name));
            }
        }
    }

    #[test]
    fn a_block_is_evicted_only_after_the_blocks_that_follow_it(kv_tokens in 0_u64..12, touches_first in any::<bool>()) {
        let (mut pool, generation) = assigned_pool();
        place(&mut pool, 1, 1, 6);
        place(&mut pool, 2, 2, 6);
        if touches_first {
            place(&mut pool, 3, 1, 6);
        }
        let capacity = Some(Capacity { kv_tokens });
        report(&mut pool, 1, CollectorStream(1), generation, Update { capacity, ..running(0) });
        let (used_last, used_first) = if touches_first { (1, 2) } else { (2, 1) };
        let room = kv_tokens as usize;
        prop_assert_eq!((room.min(6), room.saturating_sub(6)), (held(&pool, used_last), held(&pool, used_first)));
    }
}

#[test]
fn least_recently_used_blocks_of_all_endpoints_are_evicted_at_the_memory_bound() {
    const BOUND: usize = 64 << 10;
    let config = PoolConfig { assumed_kv_tokens: 1 << 20, index_bytes: BOUND, ..config() };
    let mut pool = pool_of(4, config);
    let chain =
        |name: u64| -> Vec<BlockHash> { (1..=50).map(|block| BlockHash(name * 100 + block)).collect() };
    for name in 1..=400 {
        let (suffix, at) = (chain(name).into(), endpoint(name as usize % 4));
        let anchor = BlockHash::ROOT;
        let placed = Placement { number: name, endpoint: at, incarnation: Incarnation(0), anchor, suffix };
        pool.handle(0, PoolInput::Feedback(partial_batch(1, name, Vec::new(), vec![placed])));
        assert!(pool.pool_state().index_writer().memory_bytes() <= BOUND);
    }
    let held: Vec<usize> =
        (1..=400).map(|name| pool.pool_state().index_writer().index().lookup(&chain(name)).longest).collect();
    let first = held.iter().position(|held| *held > 0).expect("some chain is held");
    assert!((200..390).contains(&first), "{first}");
    assert!(held[first + 1..].iter().all(|held| *held == 50), "{held:?}");
}

/// Every prompt is the beginning of the one before, which keeps its last block only: an eviction frees no more than that.
#[test]
fn long_prompts_make_room_in_an_index_of_short_rests() {
    const BOUND: usize = 320 << 10;
    let config = PoolConfig { assumed_kv_tokens: 1 << 20, index_bytes: BOUND, ..config() };
    let mut pool = pool_of(1, config);
    let chain = |name: u64, blocks: u64| -> Arc<[BlockHash]> {
        (1..=blocks).map(|block| BlockHash(name * 10_000 + block)).collect()
    };
    let mut prompts: Vec<_> = (1..=4_000).rev().map(|blocks| chain(1, blocks)).collect();
    prompts.extend((2..=11).map(|name| chain(name, 2_000)));
    for (number, suffix) in (1..).zip(&prompts) {
        let (suffix, anchor) = (Arc::clone(suffix), BlockHash::ROOT);
        let placed = Placement { number, endpoint: endpoint(0), incarnation: Incarnation(0), anchor, suffix };
        pool.handle(0, PoolInput::Feedback(partial_batch(1, number, Vec::new(), vec![placed])));
        assert!(pool.pool_state().index_writer().memory_bytes() <= BOUND, "after prompt {number}");
    }
    assert_eq!(2_000, pool.pool_state().index_writer().index().lookup(&prompts[4_009]).longest);
}

#[test]
fn prompt_longer_than_the_capacity_keeps_its_beginning() {
    let mut pool = pool_of(1, config());
    place(&mut pool, 1, 1, 20);
    assert_eq!(12, held(&pool, 1));
}

/// The endpoint is sent nothing and reports nothing, but its cache has room for half as many blocks as was assumed.
#[test]
fn blocks_that_no_longer_fit_are_evicted_when_tokens_prove_smaller() {
    let mut pool = pool_of(2, config());
    place(&mut pool, 1, 1, 12);
    let usage = UsageReport { endpoint: endpoint(1), ..usage("model", 4_000, 2_000) };
    let batch = partial_batch(2, 1, Vec::new(), Vec::new());
    pool.handle(0, PoolInput::Feedback(Feedback { usage: vec![usage; 600], ..batch }));
    pool.handle(100, PoolInput::Tick);
    assert_eq!(6, held(&pool, 1));
}

#[test]
fn block_size_of_zero_does_not_divide_by_zero() {
    let config = PoolConfig { format: Format::with_block_bytes(0), ..config() };
    let mut pool = pool_of(1, config);
    place(&mut pool, 1, 1, 20);
    assert_eq!((20, Incarnation(0)), (held(&pool, 1), Incarnation::default()));
}
