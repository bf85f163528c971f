//! What a view says of a prompt, in the order of its members.

use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, proptest};
use signalbox_state::{Bookings, Overlay, PlacedPrompt, PoolInput, StateReplica, View};
use signalbox_types::{Format, Incarnation};

use crate::feedback::changed;
use crate::support::steps::{ENDPOINTS, prompt};
use crate::support::{catch_up, chain, config, endpoint, endpoint_spec, placement, pool_of, pool_spec};

proptest! {
    /// The view was made in the middle of what happened; the index goes on.
    #[test]
    fn matches_are_what_the_index_and_the_overlay_hold(
        placed in vec((0..ENDPOINTS, prompt()), 0..20),
        later in vec((0..ENDPOINTS, prompt()), 0..4),
        left in 0..=ENDPOINTS,
        own in vec((0..ENDPOINTS, prompt()), 0..4),
        asked in prompt(),
    ) {
        // The blocks of these tests are as long as the view's format says, or it would not look at them.
        let mut pool = pool_of(ENDPOINTS, signalbox_state::PoolConfig { format: Format::default(), ..config() });
        let (mut replica, bookings, overlay) = (StateReplica::default(), Bookings::new(std::sync::Arc::new(|| {})), Overlay::default());
        let mut number = 0;
        let mut send = |pool: &mut signalbox_state::Pool, (to, prompt): &(usize, Vec<u8>)| {
            number += 1;
            let placement = placement(number, endpoint(*to), Incarnation(0), prompt, 0);
            pool.fold(0, PoolInput::Feedback(changed(1, number, Vec::new(), vec![placement])));
        };
        placed.iter().for_each(|one| send(&mut pool, one));
        catch_up(&mut replica, &pool);
        let view = View::next(&View::default(), &replica, &bookings, 0);
        pool.fold(0, PoolInput::Spec(pool_spec((0..left).map(|index| endpoint_spec(index, 0)))));
        later.iter().for_each(|one| send(&mut pool, one));
        catch_up(&mut replica, &pool);
        for (to, prompt) in own {
            let chain = chain(&prompt);
            let lookup = view.index.lookup(&chain);
            let held = lookup.held.iter().find(|of| of.endpoint == endpoint(to)).map_or(0, |of| of.blocks);
            let known = lookup.known;
            overlay.place(&PlacedPrompt { endpoint: endpoint(to), incarnation: Incarnation(0), chain, known, held });
        }
        let chain = chain(&asked);
        let mut lookup = view.index.lookup(&chain);
        overlay.extend(&chain, &mut lookup);
        let expected = (view.matches(&lookup, chain.len()), lookup.known);
        prop_assert_eq!(&expected, &view.look_up(&chain, &overlay));
        let next = View::next(&view, &replica, &bookings, 0);
        // What is laid over the view for an endpoint that is none any more is not known to anyone.
        let (matches, known) = next.look_up(&chain, &overlay);
        prop_assert_eq!((next.matches(&lookup, chain.len()), true), (matches, known <= lookup.known));
    }
}

#[test]
fn where_blocks_are_hashed_otherwise_nothing_matches() {
    let mut pool = pool_of(
        1,
        signalbox_state::PoolConfig { format: Format { hash: 9, ..Format::default() }, ..config() },
    );
    let placed = placement(1, endpoint(0), Incarnation(0), &[0, 1], 0);
    pool.fold(0, PoolInput::Feedback(changed(1, 1, Vec::new(), vec![placed])));
    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    let view = View::next(&View::default(), &replica, &Bookings::new(std::sync::Arc::new(|| {})), 0);
    let (matches, known) = view.look_up(&chain(&[0, 1]), &Overlay::default());
    assert_eq!((vec![0], 2, 0), (matches.blocks, matches.total, known));
}
