//! The matches that a view reports for a prompt, in the order of its endpoints.

use proptest::collection::vec;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use signalbox_state::{Bookings, Overlay, PlacedPrompt, PoolInput, StateReplica, View};
use signalbox_types::{Format, Incarnation};

use crate::feedback::partial_batch;
use crate::fixtures::random_steps::{ENDPOINTS, prompt};
use crate::fixtures::{catch_up, chain, config, endpoint, endpoint_spec, placement, pool_of, pool_spec};

proptest! {
    /// The view is taken in the middle of the events; its index advances.
    #[test]
    fn look_up_combines_index_and_overlay(
        placed in vec((0..ENDPOINTS, prompt()), 0..20),
        later in vec((0..ENDPOINTS, prompt()), 0..4),
        left in 0..=ENDPOINTS,
        own in vec((0..ENDPOINTS, prompt()), 0..4),
        prompt_bytes in prompt(),
    ) {
        // Uses the default block size: the view would reject another format.
        let mut pool = pool_of(ENDPOINTS, signalbox_state::PoolConfig { format: Format::default(), ..config() });
        let (mut replica, bookings, overlay) = (StateReplica::default(), Bookings::new(std::sync::Arc::new(|| {})), Overlay::default());
        let mut number = 0;
        let mut send = |pool: &mut signalbox_state::Pool, (to, prompt): &(usize, Vec<u8>)| {
            number += 1;
            let placement = placement(number, endpoint(*to), Incarnation(0), prompt, 0);
            pool.handle(0, PoolInput::Feedback(partial_batch(1, number, Vec::new(), vec![placement])));
        };
        placed.iter().for_each(|one| send(&mut pool, one));
        catch_up(&mut replica, &pool);
        let view = View::next(&View::default(), &replica, &bookings);
        pool.handle(0, PoolInput::Spec(pool_spec((0..left).map(|index| endpoint_spec(index, 0)))));
        later.iter().for_each(|one| send(&mut pool, one));
        catch_up(&mut replica, &pool);
        for (to, prompt) in own {
            let chain = chain(&prompt);
            let lookup = view.index.lookup(&chain);
            let held = lookup.matches.iter().find(|of| of.endpoint == endpoint(to)).map_or(0, |of| of.blocks);
            let known = lookup.longest;
            overlay.place(&PlacedPrompt { endpoint: endpoint(to), incarnation: Incarnation(0), chain, known, held });
        }
        let chain = chain(&prompt_bytes);
        let mut lookup = view.index.lookup(&chain);
        overlay.extend(&chain, &mut lookup);
        let expected = (view.matches(&lookup, chain.len()), lookup.longest);
        prop_assert_eq!(&expected, &view.look_up(&chain, &overlay));
        for (position, member) in view.endpoints.iter().enumerate() {
            let (held, known) = view.look_up_at(member.key, &chain, &overlay);
            prop_assert_eq!(expected.0.blocks[position], held);
            prop_assert!((held..=expected.1).contains(&known));
            prop_assert!(known >= view.index.lookup(&chain).longest);
        }
        let next = View::next(&view, &replica, &bookings);
        // A placement in the overlay for an endpoint that is gone counts for nothing.
        let (matches, known) = next.look_up(&chain, &overlay);
        prop_assert_eq!((next.matches(&lookup, chain.len()), true), (matches, known <= lookup.longest));
    }
}

#[test]
fn unsupported_format_has_no_matches() {
    let mut pool = pool_of(
        1,
        signalbox_state::PoolConfig { format: Format { hash: 9, ..Format::default() }, ..config() },
    );
    let placed = placement(1, endpoint(0), Incarnation(0), &[0, 1], 0);
    pool.handle(0, PoolInput::Feedback(partial_batch(1, 1, Vec::new(), vec![placed])));
    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    let view = View::next(&View::default(), &replica, &Bookings::new(std::sync::Arc::new(|| {})));
    let (matches, known) = view.look_up(&chain(&[0, 1]), &Overlay::default());
    assert_eq!((vec![0], 2, 0), (matches.blocks, matches.total, known));
}
