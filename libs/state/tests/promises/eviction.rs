//! No endpoint is said to hold more than it has room for, and what goes is what was used longest ago.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_state::{CollectorStream, Placement, Pool, PoolConfig, PoolInput, Update};
use signalbox_types::{BlockHash, Capacity, Format, Incarnation};

use crate::feedback::changed;
use crate::reports::{read_pool, running, say};
use crate::support::steps::life;
use crate::support::world::World;
use crate::support::{config, endpoint, pool_of};

/// A prompt that shares nothing with any other: `blocks` blocks called `name` * 100 + 1 and so on.
fn place(pool: &mut Pool, number: u64, name: u64, blocks: u64) {
    let suffix = (1..=blocks).map(|block| BlockHash(name * 100 + block)).collect();
    let incarnation = pool.pool_state().member(endpoint(0)).expect("it is a member").observed.incarnation;
    let placed = Placement { number, endpoint: endpoint(0), incarnation, anchor: BlockHash::ROOT, suffix };
    pool.fold(0, PoolInput::Feedback(changed(1, number, Vec::new(), vec![placed])));
}

fn held(pool: &Pool, name: u64) -> usize {
    let chain: Vec<_> = (1..=20).map(|block| BlockHash(name * 100 + block)).collect();
    pool.pool_state().residents().index().lookup(&chain).known
}

proptest! {
    #[test]
    fn an_endpoint_never_holds_more_than_it_has_room_for(steps in life(1..80)) {
        let mut world = World::new(1, config());
        for step in &steps {
            world.step(step);
            for member in world.pool.pool_state().endpoints() {
                let room = member.observed.capacity.map_or(12, |capacity| capacity.kv_tokens) as usize;
                let held = world.pool.pool_state().residents().held(member.key);
                prop_assert!(held <= room, "{} blocks in room for {}", held, room);
            }
        }
    }

    /// Six prompts of four blocks in room for twelve: the last three that were used stay, the others are gone.
    #[test]
    fn what_was_used_longest_ago_goes(used in vec(0_u64..6, 1..40)) {
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
    fn a_block_stays_as_long_as_anything_after_it(kv_tokens in 0_u64..12, touches_first in any::<bool>()) {
        let (mut pool, generation) = read_pool();
        place(&mut pool, 1, 1, 6);
        place(&mut pool, 2, 2, 6);
        if touches_first {
            place(&mut pool, 3, 1, 6);
        }
        let capacity = Some(Capacity { kv_tokens });
        say(&mut pool, 1, CollectorStream(1), generation, Update { capacity, ..running(0) });
        let (used_last, used_first) = if touches_first { (1, 2) } else { (2, 1) };
        let room = kv_tokens as usize;
        prop_assert_eq!((room.min(6), room.saturating_sub(6)), (held(&pool, used_last), held(&pool, used_first)));
    }
}

#[test]
fn what_no_endpoint_has_used_for_the_longest_time_goes_when_memory_is_short() {
    const BOUND: usize = 64 << 10;
    let config = PoolConfig { assumed_kv_tokens: 1 << 20, index_bytes: BOUND, ..config() };
    let mut pool = pool_of(4, config);
    let chain =
        |name: u64| -> Vec<BlockHash> { (1..=50).map(|block| BlockHash(name * 100 + block)).collect() };
    for name in 1..=400 {
        let (suffix, at) = (chain(name).into(), endpoint(name as usize % 4));
        let anchor = BlockHash::ROOT;
        let placed = Placement { number: name, endpoint: at, incarnation: Incarnation(0), anchor, suffix };
        pool.fold(0, PoolInput::Feedback(changed(1, name, Vec::new(), vec![placed])));
        assert!(pool.pool_state().residents().bytes() <= BOUND);
    }
    let held: Vec<usize> =
        (1..=400).map(|name| pool.pool_state().residents().index().lookup(&chain(name)).known).collect();
    let first = held.iter().position(|held| *held > 0).expect("something is held");
    assert!((200..390).contains(&first), "{first}");
    assert!(held[first + 1..].iter().all(|held| *held == 50), "{held:?}");
}

#[test]
fn a_prompt_that_is_longer_than_the_room_keeps_its_beginning() {
    let mut pool = pool_of(1, config());
    place(&mut pool, 1, 1, 20);
    assert_eq!(12, held(&pool, 1));
}

#[test]
fn blocks_of_no_bytes_are_no_division_by_zero() {
    let config = PoolConfig { format: Format::with_block_bytes(0), ..config() };
    let mut pool = pool_of(1, config);
    place(&mut pool, 1, 1, 20);
    assert_eq!((20, Incarnation(0)), (held(&pool, 1), Incarnation::default()));
}
