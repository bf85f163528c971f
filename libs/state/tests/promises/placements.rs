//! Placements: what endpoints hold by them, what is asked, and what is acknowledged.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_state::{Placement, Pool, PoolEffect, PoolInput};
use signalbox_types::{BlockHash, EndpointKey, Incarnation, Origin};

use crate::feedback::{batch, changed};
use crate::support::steps::{ENDPOINTS, prompt};
use crate::support::{asked_for, chain, config, endpoint, placement, pool_of};

const ME: Origin = Origin(1);
const UNSAID: Incarnation = Incarnation(0);

fn send(pool: &mut Pool, seq: u64, placements: Vec<Placement>) -> Vec<PoolEffect> {
    pool.fold(0, PoolInput::Feedback(changed(ME.0, seq, Vec::new(), placements)))
}

fn held_of(pool: &Pool, at: EndpointKey, prompt: &[u8]) -> usize {
    let lookup = pool.pool_state().residents().index().lookup(&chain(prompt));
    lookup.held.iter().find(|of| of.endpoint == at).map_or(0, |of| of.blocks)
}

fn acknowledged(pool: &Pool) -> u64 {
    pool.pool_state().acknowledged(ME)
}

proptest! {
    /// A replica whose knowledge is arbitrary, and which answers what it is asked or does not.
    #[test]
    fn a_chain_is_asked_for_until_it_comes_and_no_open_number_is_acknowledged(
        sent in vec((0..ENDPOINTS, prompt(), 0_usize..9, any::<bool>()), 1..40),
    ) {
        let mut pool = pool_of(ENDPOINTS, config());
        let mut open = BTreeSet::new();
        let mut seq = 0;
        for (at, (to, prompt, known, responses)) in sent.iter().enumerate() {
            let number = at as u64 + 1;
            let first = placement(number, endpoint(*to), UNSAID, prompt, (*known).min(prompt.len()));
            let asked = [seq + 1, seq + 2].map(|seq| asked_for(&send(&mut pool, seq, vec![first.clone()]), ME));
            prop_assert_eq!(&asked[0], &asked[1], "one that comes again has not heard the question");
            open.extend(asked.into_iter().flatten());
            seq += 2;
            if *responses && open.remove(&number) {
                seq += 1;
                let whole = placement(number, endpoint(*to), UNSAID, prompt, 0);
                prop_assert!(asked_for(&send(&mut pool, seq, vec![whole]), ME).is_empty());
            }
            let expected = open.first().map_or(number, |first| first - 1);
            prop_assert_eq!(expected, acknowledged(&pool));
        }
    }

    #[test]
    fn what_is_placed_with_a_known_anchor_is_held_whole(prompts in vec((0..ENDPOINTS, prompt()), 1..20)) {
        let config = signalbox_state::PoolConfig { assumed_kv_tokens: 10_000, ..config() };
        let mut pool = pool_of(ENDPOINTS, config);
        for (at, (to, prompt)) in prompts.iter().enumerate() {
            let known = pool.pool_state().residents().index().lookup(&chain(prompt)).known;
            let number = at as u64 + 1;
            let effects = send(&mut pool, number, vec![placement(number, endpoint(*to), UNSAID, prompt, known)]);
            prop_assert!(asked_for(&effects, ME).is_empty());
            prop_assert_eq!(prompt.len(), held_of(&pool, endpoint(*to), prompt));
        }
        for (to, prompt) in &prompts {
            prop_assert_eq!(prompt.len(), held_of(&pool, endpoint(*to), prompt));
        }
    }

    /// Blocks that are no chain, endpoints that are none, numbers in any order: nothing of it may bring the owner down.
    #[test]
    fn nonsense_does_no_harm(sent in vec((0_u64..6, 0_u64..3, 0_u64..9, vec(1_u64..9, 0..6)), 1..60)) {
        let mut pool = pool_of(2, config());
        for (seq, (number, to, anchor, suffix)) in sent.into_iter().enumerate() {
            let to = if to == 2 { EndpointKey(3) } else { endpoint(to as usize) };
            let suffix = suffix.into_iter().map(BlockHash).collect();
            let placed = Placement { number, endpoint: to, incarnation: UNSAID, anchor: BlockHash(anchor), suffix };
            let origin = seq as u64;
            pool.fold(0, PoolInput::Feedback(batch(origin, 1, Vec::new(), vec![placed])));
            let room = pool.pool_state().endpoints().all(|member| pool.pool_state().residents().held(member.key) <= 12);
            prop_assert!(room);
        }
        pool.fold(0, PoolInput::Spec(crate::support::pool_spec([])));
        prop_assert!(pool.pool_state().residents().index().is_empty());
    }
}

#[test]
fn a_chain_that_was_asked_for_is_placed_when_it_comes() {
    let mut pool = pool_of(1, config());
    let effects = send(&mut pool, 1, vec![placement(1, endpoint(0), UNSAID, &[0, 1, 2], 2)]);
    assert_eq!(
        (vec![1], 0, 0),
        (asked_for(&effects, ME), acknowledged(&pool), held_of(&pool, endpoint(0), &[0, 1, 2]))
    );
    send(&mut pool, 2, vec![placement(1, endpoint(0), UNSAID, &[0, 1, 2], 0)]);
    assert_eq!((1, 3), (acknowledged(&pool), held_of(&pool, endpoint(0), &[0, 1, 2])));
}

#[test]
fn a_chain_that_comes_in_a_whole_batch_is_placed_too() {
    let mut pool = pool_of(1, config());
    send(&mut pool, 1, vec![placement(1, endpoint(0), UNSAID, &[0, 1, 2], 2)]);
    let whole = placement(1, endpoint(0), UNSAID, &[0, 1, 2], 0);
    pool.fold(0, PoolInput::Feedback(batch(ME.0, 2, Vec::new(), vec![whole])));
    assert_eq!((1, 3), (acknowledged(&pool), held_of(&pool, endpoint(0), &[0, 1, 2])));
}

#[test]
fn a_chain_that_does_not_come_is_given_up_with_a_whole_batch() {
    let mut pool = pool_of(1, config());
    send(&mut pool, 7, vec![placement(1, endpoint(0), UNSAID, &[0, 1], 1)]);
    pool.fold(4_000, PoolInput::Feedback(batch(ME.0, 3, Vec::new(), Vec::new())));
    assert_eq!(0, acknowledged(&pool), "a batch from before the question says nothing of the answer");
    pool.fold(2_999, PoolInput::Feedback(batch(ME.0, 8, Vec::new(), Vec::new())));
    assert_eq!(0, acknowledged(&pool), "it may have been sent before the question was heard");
    pool.fold(3_000, PoolInput::Feedback(batch(ME.0, 9, Vec::new(), Vec::new())));
    assert_eq!(1, acknowledged(&pool));
    assert!(send(&mut pool, 10, vec![placement(1, endpoint(0), UNSAID, &[0, 1], 0)]).is_empty());
}

#[test]
fn chains_waited_for_are_bounded() {
    let mut pool = pool_of(1, config());
    let unknown = |number: u64| Placement {
        anchor: BlockHash(1_000 + number),
        ..placement(number, endpoint(0), UNSAID, &[], 0)
    };
    let effects = send(&mut pool, 1, (1..=1_100).map(unknown).collect());
    assert_eq!((1_100, 76), (asked_for(&effects, ME).len(), acknowledged(&pool)));
}

#[test]
fn an_endpoint_holds_what_leads_to_the_anchor_too() {
    let mut pool = pool_of(2, config());
    send(&mut pool, 1, vec![placement(1, endpoint(0), UNSAID, &[0, 1, 2], 0)]);
    send(&mut pool, 2, vec![placement(2, endpoint(1), UNSAID, &[0, 1, 2, 2], 3)]);
    assert_eq!(
        (3, 4),
        (held_of(&pool, endpoint(0), &[0, 1, 2, 2]), held_of(&pool, endpoint(1), &[0, 1, 2, 2]))
    );
}

#[test]
fn a_touch_is_a_change_and_nothing_is_none() {
    let mut pool = pool_of(1, config());
    send(&mut pool, 1, vec![placement(1, endpoint(0), UNSAID, &[0, 1], 0)]);
    let before = pool.pool_state().digest();
    send(&mut pool, 2, vec![placement(2, endpoint(0), UNSAID, &[0, 1], 2)]);
    let after = pool.pool_state().digest();
    assert_eq!(vec!["loads", "placements"], before.differing(&after));
    send(&mut pool, 3, vec![placement(3, endpoint(0), UNSAID, &[], 0)]);
    assert_eq!(vec!["loads"], after.differing(&pool.pool_state().digest()));
}

#[test]
fn an_endpoint_was_given_something_cold_only_when_the_pool_knew_nothing_of_it() {
    let mut pool = pool_of(2, config());
    let cold = |pool: &Pool| {
        [0, 1].map(|at| {
            pool.pool_state()
                .endpoints()
                .find(|member| member.key == endpoint(at))
                .unwrap()
                .cold_placement_seq
        })
    };
    assert_eq!([0, 0], cold(&pool));
    send(&mut pool, 1, vec![placement(1, endpoint(0), UNSAID, &[0, 1], 0)]);
    let first = cold(&pool);
    assert!(first[0] > 0 && first[1] == 0);
    send(&mut pool, 2, vec![placement(2, endpoint(0), UNSAID, &[0, 1], 2)]);
    send(&mut pool, 3, vec![placement(3, endpoint(1), UNSAID, &[0, 1, 2], 0)]);
    assert_eq!(first, cold(&pool));
    send(&mut pool, 4, vec![placement(4, endpoint(1), UNSAID, &[3], 0)]);
    assert!(cold(&pool)[1] > first[0]);
}

#[test]
fn a_placement_for_another_life_or_for_no_endpoint_is_acknowledged_and_dropped_unasked() {
    let mut pool = pool_of(1, config());
    let sent = vec![
        placement(1, endpoint(0), Incarnation(9), &[0, 1], 1),
        placement(2, EndpointKey(5), UNSAID, &[0, 1], 1),
        placement(3, endpoint(0), Incarnation(9), &[0, 1], 0),
    ];
    assert!(asked_for(&send(&mut pool, 1, sent), ME).is_empty());
    assert_eq!((3, true), (acknowledged(&pool), pool.pool_state().residents().index().is_empty()));
}

#[test]
fn a_chain_that_leads_into_the_middle_of_another_is_none() {
    let chain = |blocks: [u64; 3], number, to| Placement {
        suffix: blocks.map(BlockHash).into(),
        ..placement(number, endpoint(to), UNSAID, &[], 0)
    };
    let config = signalbox_state::PoolConfig { assumed_kv_tokens: 100, ..config() };
    let mut pool = pool_of(3, config);
    send(&mut pool, 1, vec![chain([1, 2, 3], 1, 0), chain([8, 9, 3], 2, 1)]);
    let index = pool.pool_state().residents().index();
    let held = index.lookup(&[1, 2, 3].map(BlockHash)).held;
    assert_eq!((2, vec![endpoint(0)]), (acknowledged(&pool), held.iter().map(|of| of.endpoint).collect()));
    // Where the other could be anchored it is not even kept.
    let long = Placement { suffix: (100..120).map(BlockHash).collect(), ..chain([0; 3], 3, 0) };
    let into = Placement { anchor: BlockHash(116), suffix: [BlockHash(1)].into(), ..chain([0; 3], 4, 2) };
    send(&mut pool, 2, vec![long, into]);
    assert_eq!((4, 0), (acknowledged(&pool), pool.pool_state().residents().held(endpoint(2))));
}

proptest! {
    /// Chains in which a block stands for no prefix: it follows now this block, now that. A replica that sends such must not bring an
    /// owner down, and after it each of the next.
    #[test]
    fn blocks_that_follow_more_than_one_do_no_harm(
        sent in vec((0_usize..2, 0_u64..3, 0_u64..3, 1_u64..48, 0_usize..48), 1..60),
    ) {
        let config = signalbox_state::PoolConfig { assumed_kv_tokens: 200, ..config() };
        let mut pool = pool_of(2, config);
        for (at, (to, shared, own, blocks, known)) in sent.into_iter().enumerate() {
            let block = |at| if at < shared * 12 { 1_000 + at } else { 2_000 + 100 * own + at };
            let chain: Vec<_> = (0..blocks).map(|at| BlockHash(block(at))).collect();
            let (anchor, start) = signalbox_prefix::anchor(&chain, known);
            let (number, suffix) = (at as u64 + 1, chain[start..].into());
            let placed = Placement { number, endpoint: endpoint(to), incarnation: UNSAID, anchor, suffix };
            send(&mut pool, number, vec![placed]);
        }
    }
}
