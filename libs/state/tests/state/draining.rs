//! Endpoints that begin to drain, and endpoints that take requests again: nothing that is known of them is lost.

use std::sync::Arc;

use signalbox_state::{
    Bookings, CollectorStream, EndpointState, Pool, PoolEffect, PoolInput, StateReplica, View,
};
use signalbox_types::{EndpointSpec, Incarnation, Load};

use crate::feedback::full_batch;
use crate::fixtures::{catch_up, endpoint, endpoint_spec, placement, pool_spec};
use crate::reports::{assigned_pool, report, running};

const STREAM: CollectorStream = CollectorStream(1);

fn set_draining(pool: &mut Pool, is_draining: bool) -> Vec<PoolEffect> {
    pool.handle(50, PoolInput::Spec(pool_spec([EndpointSpec { is_draining, ..endpoint_spec(0, 0) }])))
}

fn state(pool: &Pool) -> EndpointState {
    EndpointState::clone(pool.pool_state().endpoint(endpoint(0)).expect("the endpoint exists"))
}

fn booked_at(pool: &Pool) -> Load {
    pool.pool_state().loads().total(endpoint(0))
}

fn held(pool: &Pool) -> usize {
    pool.pool_state().index_writer().placed_blocks(endpoint(0))
}

#[test]
fn draining_changes_nothing_else_and_can_end() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 10, STREAM, generation, running(3));
    let booked = Load { requests: 2, prefills: 1, prefill_tokens: 100 };
    let placed = placement(1, endpoint(0), Incarnation(7), &[0, 1, 2], 0);
    pool.handle(20, PoolInput::Feedback(full_batch(1, 1, vec![(endpoint(0), booked)], vec![placed])));
    assert!(held(&pool) > 0 && booked_at(&pool) == booked);
    for is_draining in [true, false] {
        let (before, blocks) = (state(&pool), held(&pool));
        let effects = set_draining(&mut pool, is_draining);
        assert!(!effects.iter().any(|effect| matches!(effect, PoolEffect::Assign(..))), "{effects:?}");
        let spec = Arc::new(EndpointSpec { is_draining, ..endpoint_spec(0, 0) });
        assert_eq!(EndpointState { spec, ..before.clone() }, state(&pool));
        assert_eq!(blocks, held(&pool));
        // It is still scraped under the same assignment.
        let requests = 4 + u32::from(is_draining);
        report(&mut pool, 60, STREAM, generation, running(requests));
        assert_eq!(Some(requests), state(&pool).observed.gauges.running);
    }
    assert_eq!(booked, booked_at(&pool));
}

#[test]
fn removed_after_draining_it_takes_its_blocks_along() {
    let (mut pool, _) = assigned_pool();
    let placed = placement(1, endpoint(0), Incarnation(0), &[0, 1, 2], 0);
    pool.handle(20, PoolInput::Feedback(full_batch(1, 1, Vec::new(), vec![placed])));
    set_draining(&mut pool, true);
    assert!(held(&pool) > 0);
    pool.handle(60, PoolInput::Spec(pool_spec([])));
    assert_eq!((0, 0), (held(&pool), pool.pool_state().endpoints().len()));
}

#[test]
fn followers_learn_of_it_by_a_delta_and_by_a_snapshot() {
    let (mut pool, _) = assigned_pool();
    let bookings = Bookings::new(Arc::new(|| {}));
    let mut follower = StateReplica::default();
    catch_up(&mut follower, &pool);
    let mut view = View::next(&View::default(), &follower, &bookings);
    assert!(!view.may_be_draining());
    for is_draining in [true, false] {
        set_draining(&mut pool, is_draining);
        let mut fresh = StateReplica::default();
        for replica in [&mut follower, &mut fresh] {
            catch_up(replica, &pool);
            assert_eq!(pool.pool_state().digest(), replica.pool_state().digest());
            let known = replica.pool_state().endpoint(endpoint(0)).expect("the endpoint is known");
            assert_eq!(is_draining, known.spec.is_draining);
        }
        for _ in 0..2 {
            view = View::next(&view, &follower, &bookings);
            assert_eq!(is_draining, view.may_be_draining());
        }
    }
}
