//! All replicas know which endpoint keeps a response, for a limited time.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use signalbox_state::{
    Change, Feedback, Pool, PoolInput, PoolState, ResponseOutcome, ResponseReport, StateReplica,
};
use signalbox_types::{EndpointKey, ModelKey, ResponseKey};

use crate::feedback::partial_batch;
use crate::fixtures::state_contents::{Contents, rebuild};
use crate::fixtures::{catch_up, config, endpoint, pool_of};

const HOUR_MS: u64 = 3_600 * 1_000;

fn store(pool: &mut Pool, now_ms: u64, seq: u64, stored: impl IntoIterator<Item = (u64, EndpointKey)>) {
    let outcomes = stored
        .into_iter()
        .map(|(response, endpoint)| (ResponseOutcome::Stored(ResponseKey(response)), endpoint));
    report(pool, now_ms, seq, outcomes);
}

fn delete(pool: &mut Pool, seq: u64, deleted: (u64, EndpointKey)) {
    let (response, endpoint) = deleted;
    report(pool, 0, seq, [(ResponseOutcome::Deleted(ResponseKey(response)), endpoint)]);
}

fn report(
    pool: &mut Pool,
    now_ms: u64,
    seq: u64,
    outcomes: impl IntoIterator<Item = (ResponseOutcome, EndpointKey)>,
) {
    let report = |(outcome, endpoint)| ResponseReport { endpoint, model: ModelKey::default(), outcome };
    let responses = outcomes.into_iter().map(report).collect();
    let batch = partial_batch(7, seq, Vec::new(), Vec::new());
    pool.handle(now_ms, PoolInput::Feedback(Feedback { responses, ..batch }));
}

fn stored_at(pool_state: &PoolState, response: u64) -> Option<EndpointKey> {
    pool_state.stored_responses().get(ResponseKey(response))
}

#[test]
fn followers_and_the_next_owner_know_where_a_response_is() {
    let (mut pool, mut follower) = (pool_of(2, config()), StateReplica::default());
    catch_up(&mut follower, &pool);
    store(&mut pool, 0, 1, [(1, endpoint(0)), (2, endpoint(1)), (3, endpoint(77))]);
    catch_up(&mut follower, &pool);
    let next = Pool::inherit(2, config(), pool.into_replica(), 0);
    for state in [follower.pool_state(), next.pool_state(), &rebuild(&next.snapshot())] {
        assert_eq!(Some(endpoint(0)), stored_at(state, 1));
        assert_eq!(Some(endpoint(1)), stored_at(state, 2));
        assert_eq!(None, stored_at(state, 3), "the pool has no such endpoint");
        assert_eq!(Contents::of(next.pool_state()), Contents::of(state));
    }
}

#[test]
fn response_that_its_endpoint_has_deleted_is_forgotten_and_leaves_room() {
    let (mut pool, mut follower) = (pool_of(2, config()), StateReplica::default());
    store(&mut pool, 0, 1, [(1, endpoint(0)), (2, endpoint(1))]);
    catch_up(&mut follower, &pool);
    delete(&mut pool, 2, (1, endpoint(1)));
    assert_eq!(Some(endpoint(0)), stored_at(pool.pool_state(), 1), "another endpoint keeps it");
    delete(&mut pool, 3, (1, endpoint(0)));
    delete(&mut pool, 4, (1, endpoint(0)));
    delete(&mut pool, 5, (3, endpoint(0)));
    catch_up(&mut follower, &pool);
    for state in [pool.pool_state(), follower.pool_state()] {
        assert_eq!((None, Some(endpoint(1))), (stored_at(state, 1), stored_at(state, 2)));
    }
    // It is not forgotten a second time when its lifetime ends.
    store(&mut pool, HOUR_MS, 6, [(1, endpoint(0))]);
    pool.handle(12 * HOUR_MS, PoolInput::Tick);
    assert_eq!((Some(endpoint(0)), None), (stored_at(pool.pool_state(), 1), stored_at(pool.pool_state(), 2)));
}

#[test]
fn response_is_forgotten_after_its_lifetime() {
    let mut pool = pool_of(1, config());
    store(&mut pool, 0, 1, [(1, endpoint(0))]);
    store(&mut pool, HOUR_MS, 2, [(2, endpoint(0)), (1, endpoint(0))]);
    pool.handle(12 * HOUR_MS - 1, PoolInput::Tick);
    assert_eq!(2, pool.pool_state().stored_responses().len());
    pool.handle(12 * HOUR_MS, PoolInput::Tick);
    assert_eq!((None, Some(endpoint(0))), (stored_at(pool.pool_state(), 1), stored_at(pool.pool_state(), 2)));
    // An owner that takes over does not know the ages, and begins anew.
    let mut next = Pool::inherit(2, config(), pool.into_replica(), 13 * HOUR_MS);
    next.handle(25 * HOUR_MS - 1, PoolInput::Tick);
    assert!(stored_at(next.pool_state(), 2).is_some());
    next.handle(25 * HOUR_MS, PoolInput::Tick);
    assert!(next.pool_state().stored_responses().is_empty());
    assert_eq!(0, next.pool_state().digest().responses);
}

#[test]
fn oldest_response_is_forgotten_for_one_too_many() {
    let mut pool = pool_of(1, config());
    const MAX: u64 = 131_072;
    for batch in 0..MAX / 512 {
        store(&mut pool, 0, batch + 1, (batch * 512..(batch + 1) * 512).map(|at| (at, endpoint(0))));
    }
    assert_eq!(MAX as usize, pool.pool_state().stored_responses().len());
    store(&mut pool, 0, MAX, [(MAX, endpoint(0))]);
    assert_eq!(MAX as usize, pool.pool_state().stored_responses().len());
    assert_eq!((None, Some(endpoint(0))), (stored_at(pool.pool_state(), 0), stored_at(pool.pool_state(), 1)));
}

proptest! {
    #[test]
    fn snapshots_and_changes_give_the_same_table(
        batches in vec(vec((any::<u8>(), 0..3_usize), 0..8), 1..12),
    ) {
        let (mut pool, mut by_changes) = (pool_of(2, config()), StateReplica::default());
        catch_up(&mut by_changes, &pool);
        for (batch, stored) in batches.into_iter().enumerate() {
            let stored = stored.into_iter().map(|(response, at)| (u64::from(response) << 50, endpoint(at)));
            store(&mut pool, 0, batch as u64 + 1, stored);
        }
        catch_up(&mut by_changes, &pool);
        let contents = Contents::of(pool.pool_state());
        prop_assert_eq!(&contents, &Contents::of(by_changes.pool_state()));
        prop_assert_eq!(&contents, &Contents::of(&rebuild(&pool.snapshot())));
    }
}

#[test]
fn forgotten_response_leaves_nothing_behind() {
    let mut pool_state = PoolState::default();
    let empty = pool_state.digest();
    let response = ResponseKey(1);
    for endpoint in [Some(endpoint(0)), Some(endpoint(1)), None, None] {
        pool_state.apply(1, &Change::ResponseStored { response, endpoint }).unwrap();
    }
    assert!(pool_state.stored_responses().is_empty());
    assert_eq!(empty, pool_state.digest());
}
