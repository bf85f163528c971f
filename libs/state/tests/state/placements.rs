//! Placements: which blocks endpoints hold, which chains are requested, and what is acknowledged.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_state::{CountedEvent, Placement, Pool, PoolEffect, PoolInput};
use signalbox_types::{BlockHash, EndpointKey, Incarnation, Origin};

use crate::feedback::{full_batch, partial_batch};
use crate::fixtures::random_steps::{ENDPOINTS, prompt};
use crate::fixtures::{chain, config, endpoint, placement, pool_of, requested_chains};

const ORIGIN: Origin = Origin(1);
const NO_INCARNATION: Incarnation = Incarnation(0);

fn send(pool: &mut Pool, seq: u64, placements: Vec<Placement>) -> Vec<PoolEffect> {
    pool.handle(0, PoolInput::Feedback(partial_batch(ORIGIN.0, seq, Vec::new(), placements)))
}

fn held_of(pool: &Pool, at: EndpointKey, prompt: &[u8]) -> usize {
    let lookup = pool.pool_state().index_writer().index().lookup(&chain(prompt));
    lookup.matches.iter().find(|of| of.endpoint == at).map_or(0, |of| of.blocks)
}

fn acknowledged(pool: &Pool) -> u64 {
    pool.pool_state().acknowledged(ORIGIN)
}

proptest! {
    /// A replica with arbitrary knowledge, which answers requests for chains or does not.
    #[test]
    fn missing_chain_is_requested_until_it_arrives_and_not_acknowledged_before(
        sent in vec((0..ENDPOINTS, prompt(), 0_usize..9, any::<bool>()), 1..40),
    ) {
        let mut pool = pool_of(ENDPOINTS, config());
        let mut open = BTreeSet::new();
        let mut seq = 0;
        for (at, (to, prompt, known, responses)) in sent.iter().enumerate() {
            let number = at as u64 + 1;
            let first = placement(number, endpoint(*to), NO_INCARNATION, prompt, (*known).min(prompt.len()));
            let requested = [seq + 1, seq + 2].map(|seq| requested_chains(&send(&mut pool, seq, vec![first.clone()]), ORIGIN));
            prop_assert_eq!(&requested[0], &requested[1], "a repeated placement is requested again");
            open.extend(requested.into_iter().flatten());
            seq += 2;
            if *responses && open.remove(&number) {
                seq += 1;
                let whole = placement(number, endpoint(*to), NO_INCARNATION, prompt, 0);
                prop_assert!(requested_chains(&send(&mut pool, seq, vec![whole]), ORIGIN).is_empty());
            }
            let expected = open.first().map_or(number, |first| first - 1);
            prop_assert_eq!(expected, acknowledged(&pool));
        }
    }

    #[test]
    fn placement_with_a_known_anchor_is_held_completely(prompts in vec((0..ENDPOINTS, prompt()), 1..20)) {
        let config = signalbox_state::PoolConfig { assumed_kv_tokens: 10_000, ..config() };
        let mut pool = pool_of(ENDPOINTS, config);
        for (at, (to, prompt)) in prompts.iter().enumerate() {
            let known = pool.pool_state().index_writer().index().lookup(&chain(prompt)).longest;
            let number = at as u64 + 1;
            let effects = send(&mut pool, number, vec![placement(number, endpoint(*to), NO_INCARNATION, prompt, known)]);
            prop_assert!(requested_chains(&effects, ORIGIN).is_empty());
            prop_assert_eq!(prompt.len(), held_of(&pool, endpoint(*to), prompt));
        }
        for (to, prompt) in &prompts {
            prop_assert_eq!(prompt.len(), held_of(&pool, endpoint(*to), prompt));
        }
    }

    /// Blocks that form no chain, unknown endpoints, numbers in any order: none of it may crash the owner.
    #[test]
    fn invalid_placements_do_no_harm(sent in vec((0_u64..6, 0_u64..3, 0_u64..9, vec(1_u64..9, 0..6)), 1..60)) {
        let mut pool = pool_of(2, config());
        for (seq, (number, to, anchor, suffix)) in sent.into_iter().enumerate() {
            let to = if to == 2 { EndpointKey(3) } else { endpoint(to as usize) };
            let suffix = suffix.into_iter().map(BlockHash).collect();
            let placed = Placement { number, endpoint: to, incarnation: NO_INCARNATION, anchor: BlockHash(anchor), suffix };
            let origin = seq as u64;
            pool.handle(0, PoolInput::Feedback(full_batch(origin, 1, Vec::new(), vec![placed])));
            let blocks = pool.pool_state().index_writer();
            let room = pool.pool_state().endpoints().all(|state| blocks.placed_blocks(state.key) <= 12);
            prop_assert!(room);
        }
        pool.handle(0, PoolInput::Spec(crate::fixtures::pool_spec([])));
        prop_assert!(pool.pool_state().index_writer().index().is_empty());
    }
}

#[test]
fn requested_chain_is_placed_when_it_arrives() {
    let mut pool = pool_of(1, config());
    let effects = send(&mut pool, 1, vec![placement(1, endpoint(0), NO_INCARNATION, &[0, 1, 2], 2)]);
    assert_eq!(
        (vec![1], 0, 0),
        (requested_chains(&effects, ORIGIN), acknowledged(&pool), held_of(&pool, endpoint(0), &[0, 1, 2]))
    );
    send(&mut pool, 2, vec![placement(1, endpoint(0), NO_INCARNATION, &[0, 1, 2], 0)]);
    assert_eq!((1, 3), (acknowledged(&pool), held_of(&pool, endpoint(0), &[0, 1, 2])));
}

#[test]
fn requested_chain_in_a_full_batch_is_placed() {
    let mut pool = pool_of(1, config());
    send(&mut pool, 1, vec![placement(1, endpoint(0), NO_INCARNATION, &[0, 1, 2], 2)]);
    let whole = placement(1, endpoint(0), NO_INCARNATION, &[0, 1, 2], 0);
    pool.handle(0, PoolInput::Feedback(full_batch(ORIGIN.0, 2, Vec::new(), vec![whole])));
    assert_eq!((1, 3), (acknowledged(&pool), held_of(&pool, endpoint(0), &[0, 1, 2])));
}

#[test]
fn chain_that_does_not_arrive_is_dropped_with_a_full_batch() {
    let mut pool = pool_of(1, config());
    send(&mut pool, 7, vec![placement(1, endpoint(0), NO_INCARNATION, &[0, 1], 1)]);
    pool.handle(4_000, PoolInput::Feedback(full_batch(ORIGIN.0, 3, Vec::new(), Vec::new())));
    assert_eq!(0, acknowledged(&pool), "a batch sent before the request does not drop it");
    pool.handle(2_999, PoolInput::Feedback(full_batch(ORIGIN.0, 8, Vec::new(), Vec::new())));
    assert_eq!(0, acknowledged(&pool), "the batch may have been sent before the request arrived");
    pool.handle(3_000, PoolInput::Feedback(full_batch(ORIGIN.0, 9, Vec::new(), Vec::new())));
    assert_eq!(1, acknowledged(&pool));
    assert!(send(&mut pool, 10, vec![placement(1, endpoint(0), NO_INCARNATION, &[0, 1], 0)]).is_empty());
}

#[test]
fn chain_requests_are_bounded() {
    let mut pool = pool_of(1, config());
    let unknown = |number: u64| Placement {
        anchor: BlockHash(1_000 + number),
        ..placement(number, endpoint(0), NO_INCARNATION, &[], 0)
    };
    let effects = send(&mut pool, 1, (1..=1_100).map(unknown).collect());
    assert_eq!((1_100, 76), (requested_chains(&effects, ORIGIN).len(), acknowledged(&pool)));
    let dropped = PoolEffect::Count(CountedEvent::ChainRequestsDropped(ORIGIN, 76));
    assert_eq!(
        1,
        effects.iter().filter(|effect| **effect == dropped).count(),
        "dropped ones are counted, once"
    );
}

#[test]
fn endpoint_also_holds_the_blocks_before_the_anchor() {
    let mut pool = pool_of(2, config());
    send(&mut pool, 1, vec![placement(1, endpoint(0), NO_INCARNATION, &[0, 1, 2], 0)]);
    send(&mut pool, 2, vec![placement(2, endpoint(1), NO_INCARNATION, &[0, 1, 2, 2], 3)]);
    assert_eq!(
        (3, 4),
        (held_of(&pool, endpoint(0), &[0, 1, 2, 2]), held_of(&pool, endpoint(1), &[0, 1, 2, 2]))
    );
}

#[test]
fn use_of_known_blocks_is_a_change_but_an_empty_placement_is_not() {
    let mut pool = pool_of(1, config());
    send(&mut pool, 1, vec![placement(1, endpoint(0), NO_INCARNATION, &[0, 1], 0)]);
    let before = pool.pool_state().digest();
    send(&mut pool, 2, vec![placement(2, endpoint(0), NO_INCARNATION, &[0, 1], 2)]);
    let after = pool.pool_state().digest();
    assert_eq!(vec!["loads", "placements"], before.differing(&after));
    send(&mut pool, 3, vec![placement(3, endpoint(0), NO_INCARNATION, &[], 0)]);
    assert_eq!(vec!["loads"], after.differing(&pool.pool_state().digest()));
}

#[test]
fn placement_is_cold_only_if_the_pool_knew_none_of_its_blocks() {
    let mut pool = pool_of(2, config());
    let cold = |pool: &Pool| {
        [0, 1].map(|at| {
            pool.pool_state()
                .endpoints()
                .find(|endpoint_state| endpoint_state.key == endpoint(at))
                .unwrap()
                .cold_placement_seq
        })
    };
    assert_eq!([0, 0], cold(&pool));
    send(&mut pool, 1, vec![placement(1, endpoint(0), NO_INCARNATION, &[0, 1], 0)]);
    let first = cold(&pool);
    assert!(first[0] > 0 && first[1] == 0);
    send(&mut pool, 2, vec![placement(2, endpoint(0), NO_INCARNATION, &[0, 1], 2)]);
    send(&mut pool, 3, vec![placement(3, endpoint(1), NO_INCARNATION, &[0, 1, 2], 0)]);
    assert_eq!(first, cold(&pool));
    send(&mut pool, 4, vec![placement(4, endpoint(1), NO_INCARNATION, &[3], 0)]);
    assert!(cold(&pool)[1] > first[0]);
}

#[test]
fn placement_for_another_incarnation_or_unknown_endpoint_is_dropped_without_request() {
    let mut pool = pool_of(1, config());
    let sent = vec![
        placement(1, endpoint(0), Incarnation(9), &[0, 1], 1),
        placement(2, EndpointKey(5), NO_INCARNATION, &[0, 1], 1),
        placement(3, endpoint(0), Incarnation(9), &[0, 1], 0),
    ];
    assert!(requested_chains(&send(&mut pool, 1, sent), ORIGIN).is_empty());
    assert_eq!((3, true), (acknowledged(&pool), pool.pool_state().index_writer().index().is_empty()));
}

#[test]
fn chain_that_joins_the_middle_of_another_is_rejected() {
    let chain = |blocks: [u64; 3], number, to| Placement {
        suffix: blocks.map(BlockHash).into(),
        ..placement(number, endpoint(to), NO_INCARNATION, &[], 0)
    };
    let config = signalbox_state::PoolConfig { assumed_kv_tokens: 100, ..config() };
    let mut pool = pool_of(3, config);
    send(&mut pool, 1, vec![chain([1, 2, 3], 1, 0), chain([8, 9, 3], 2, 1)]);
    let index = pool.pool_state().index_writer().index();
    let held = index.lookup(&[1, 2, 3].map(BlockHash)).matches;
    assert_eq!((2, vec![endpoint(0)]), (acknowledged(&pool), held.iter().map(|of| of.endpoint).collect()));
    // A block that could be an anchor is not even kept if its chain joins another.
    let long = Placement { suffix: (100..120).map(BlockHash).collect(), ..chain([0; 3], 3, 0) };
    let into = Placement { anchor: BlockHash(116), suffix: [BlockHash(1)].into(), ..chain([0; 3], 4, 2) };
    send(&mut pool, 2, vec![long, into]);
    assert_eq!((4, 0), (acknowledged(&pool), pool.pool_state().index_writer().placed_blocks(endpoint(2))));
}

proptest! {
    /// Chains in which a block does not identify its prefix, because it follows different blocks. A replica
    /// that sends them must not crash the owner, nor each owner after it.
    #[test]
    fn blocks_with_several_predecessors_do_no_harm(
        sent in vec((0_usize..2, 0_u64..3, 0_u64..3, 1_u64..48, 0_usize..48), 1..60),
    ) {
        let config = signalbox_state::PoolConfig { assumed_kv_tokens: 200, ..config() };
        let mut pool = pool_of(2, config);
        for (at, (to, shared, own, blocks, known)) in sent.into_iter().enumerate() {
            let block = |at| if at < shared * 12 { 1_000 + at } else { 2_000 + 100 * own + at };
            let chain: Vec<_> = (0..blocks).map(|at| BlockHash(block(at))).collect();
            let (anchor, start) = signalbox_prefix::anchor(&chain, known);
            let (number, suffix) = (at as u64 + 1, chain[start..].into());
            let placed = Placement { number, endpoint: endpoint(to), incarnation: NO_INCARNATION, anchor, suffix };
            send(&mut pool, number, vec![placed]);
        }
    }
}
