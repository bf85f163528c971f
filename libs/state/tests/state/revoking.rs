//! Revocation at the owner: requests in flight of a negative priority give up their places to others that wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_flow::{Detector, FlowSettings, Revocable, RevocableClass};
use signalbox_state::{
    CollectorStream, Feedback, FlowReport, JournalBounds, JournaledReplica, Pool, PoolInput, StateReplica,
    Update,
};
use signalbox_types::{Capacity, Gauges, Load, Origin};

use crate::feedback::full_batch;
use crate::fixtures::{OWNER, config, endpoint, pool_of};
use crate::granting::{grants, report, waiting};
use crate::reports::{self, assigned_pool, running};

const LOWEST: RevocableClass = RevocableClass { priority: -10, is_processed: false };
const LOW: RevocableClass = RevocableClass { priority: -1, is_processed: false };
const PROCESSED: RevocableClass = RevocableClass { priority: -1, is_processed: true };

/// Returns requests of 200 tokens each, sent within the last second.
fn sent(requests: u64, revoked: u64) -> Revocable {
    Revocable { requests, tokens: 200 * requests, newest_age_ms: 10, oldest_age_ms: 1_000, revoked }
}

/// Returns a report of a replica with so many unprocessed prompt tokens at the only endpoint.
fn sends(origin: u64, seq: u64, tokens: u64, revocable: Vec<(RevocableClass, Revocable)>) -> PoolInput {
    let load = Load { requests: 1, prefills: u32::from(tokens > 0), prefill_tokens: tokens };
    let flows = FlowReport { revocable, ..FlowReport::default() };
    PoolInput::Feedback(Feedback { flows, ..full_batch(origin, seq, vec![(endpoint(0), load)], Vec::new()) })
}

/// Returns a pool of one endpoint, which has room for 800 tokens, with a replica of these settings.
fn pool_with(settings: FlowSettings) -> Pool {
    let mut pool = pool_of(1, config());
    let flows = FlowReport { settings: Some(Arc::new(settings)), ..FlowReport::default() };
    pool.handle(0, PoolInput::Feedback(Feedback { flows, ..full_batch(1, 1, Vec::new(), Vec::new()) }));
    pool
}

fn revoking() -> FlowSettings {
    FlowSettings { revokes: true, ..FlowSettings::default() }
}

fn ordered(pool: &Pool, origin: u64) -> BTreeMap<RevocableClass, u64> {
    pool.pool_state().flows().revocations(Origin(origin)).collect()
}

#[test]
fn as_many_are_revoked_as_wait_at_whatever_replica_and_then_granted() {
    let mut pool = pool_with(revoking());
    // They have processed eight tokens when the others wait.
    pool.handle(1_000, sends(2, 1, 404, vec![(LOW, sent(2, 0))]));
    pool.handle(1_000, sends(3, 1, 404, vec![(LOWEST, sent(1, 0)), (LOW, sent(1, 5))]));
    pool.handle(1_001, report(1, 2, vec![waiting(0, 3, 150, 0)]));
    // Three requests need more than 300 of 800 tokens. Of equally new ones, those of the first replica go first.
    assert_eq!(BTreeMap::from([(LOW, 1)]), ordered(&pool, 2));
    assert_eq!(BTreeMap::from([(LOWEST, 1)]), ordered(&pool, 3));
    // What is ordered is not ordered again.
    pool.handle(1_011, PoolInput::GrantDue);
    assert_eq!((1, 1), (ordered(&pool, 2)[&LOW], ordered(&pool, 3)[&LOWEST]));
    pool.handle(1_012, sends(2, 2, 0, vec![(LOW, sent(1, 1))]));
    pool.handle(1_013, sends(3, 2, 0, vec![(LOW, sent(1, 5))]));
    assert_eq!((BTreeMap::new(), BTreeMap::new()), (ordered(&pool, 2), ordered(&pool, 3)));
    assert_eq!(3, grants(&pool, 1).values().sum::<u64>());
}

#[test]
fn nothing_is_revoked_without_need_or_settings() {
    for (settings, tokens) in [(FlowSettings::default(), 8_000), (revoking(), 400)] {
        let mut pool = pool_with(settings);
        pool.handle(1_000, sends(2, 1, tokens, vec![(LOW, sent(2, 0))]));
        pool.handle(1_001, report(1, 2, vec![waiting(0, 1, 150, 0)]));
        assert_eq!(BTreeMap::new(), ordered(&pool, 2));
    }
}

#[test]
fn order_lapses_with_the_last_request_and_with_its_replica() {
    let mut pool = pool_with(revoking());
    for seq in 1..3 {
        let now_ms = 1_000 + 100 * seq;
        pool.handle(now_ms, sends(2, 2 * seq, 8_000, vec![(LOW, sent(1, 0))]));
        pool.handle(now_ms + 10, report(1, 1 + seq, vec![waiting(0, 1, 150, 0)]));
        assert_eq!(BTreeMap::from([(LOW, 1)]), ordered(&pool, 2));
        // Another replica takes its place, and it ends by itself.
        pool.handle(now_ms + 20, sends(3, seq, 8_000, Vec::new()));
        pool.handle(now_ms + 30, sends(2, 2 * seq + 1, 0, Vec::new()));
        assert_eq!(BTreeMap::new(), ordered(&pool, 2));
    }
    pool.handle(10_000, PoolInput::Tick);
    assert_eq!(0, pool.pool_state().flows().origins().len());
}

#[test]
fn silent_replica_is_asked_for_nothing() {
    let mut pool = pool_with(revoking());
    pool.handle(1_000, sends(2, 1, 8_000_000, vec![(LOW, sent(9, 0))]));
    pool.handle(2_001, report(1, 2, vec![waiting(0, 1, 150, 0)]));
    assert_eq!(BTreeMap::new(), ordered(&pool, 2));
    pool.handle(2_002, sends(2, 2, 8_000_000, vec![(LOW, sent(9, 0))]));
    assert_eq!(BTreeMap::from([(LOW, 1)]), ordered(&pool, 2));
}

#[test]
fn requests_in_flight_are_revoked_whose_prompts_are_processed_if_the_number_of_requests_is_limited() {
    let detector = Detector::Concurrency { requests: Some(1.0), tokens: None };
    for (detector, wanted) in [(detector, 1), (Detector::default(), 0)] {
        let mut pool = pool_with(FlowSettings { detector, ..revoking() });
        pool.handle(1_000, sends(2, 1, 8_000, vec![(PROCESSED, sent(1, 0))]));
        pool.handle(1_001, report(1, 2, vec![waiting(0, 1, 150, 0)]));
        assert_eq!(wanted, ordered(&pool, 2).len());
    }
}

/// Otherwise more would be revoked until the metrics show that the cache has room.
#[test]
fn metrics_are_given_time_to_show_room_in_the_kv_cache() {
    let (mut pool, generation) = assigned_pool();
    let flows = FlowReport { settings: Some(Arc::new(revoking())), ..FlowReport::default() };
    pool.handle(0, PoolInput::Feedback(Feedback { flows, ..full_batch(1, 1, Vec::new(), Vec::new()) }));
    let gauges = Gauges { waiting: 0, running: Some(9), kv_used_ppm: Some(990_000) };
    let capacity = Some(Capacity { kv_tokens: 20_000 });
    let update = Update { capacity, gauges: Some(gauges), ..running(0) };
    reports::report(&mut pool, 1_000, CollectorStream(1), generation, update);
    pool.handle(1_000, sends(2, 1, 0, vec![(PROCESSED, sent(3, 0))]));
    pool.handle(1_001, report(1, 2, vec![waiting(0, 1, 150, 0)]));
    assert_eq!(BTreeMap::from([(PROCESSED, 1)]), ordered(&pool, 2));
    pool.handle(1_005, sends(2, 2, 0, vec![(PROCESSED, sent(2, 1))]));
    for (now_ms, wanted) in [(1_100, 0), (1_240, 0), (1_260, 1)] {
        pool.handle(now_ms, PoolInput::GrantDue);
        assert_eq!(wanted, ordered(&pool, 2).len(), "at {now_ms} ms");
    }
}

#[test]
fn another_owner_goes_on_with_the_orders() {
    let mut pool = pool_with(revoking());
    pool.handle(1_000, sends(2, 1, 8_000, vec![(LOW, sent(3, 7))]));
    pool.handle(1_001, report(1, 2, vec![waiting(0, 1, 150, 0)]));
    let mut replica = JournaledReplica::new(JournalBounds::default());
    Arc::new(pool.snapshot()).frames().for_each(|frame| drop(replica.apply(OWNER, frame)));
    let mut next = Pool::inherit(2, config(), replica, 1_002);
    assert_eq!(BTreeMap::from([(LOW, 8)]), ordered(&next, 2));
    next.handle(1_012, report(1, 3, vec![waiting(0, 1, 150, 0)]));
    assert_eq!(BTreeMap::from([(LOW, 8)]), ordered(&next, 2));
    // An owner that knows nothing takes over what replicas say that they have followed.
    let mut new = pool_with(revoking());
    new.handle(1_020, sends(2, 2, 8_000, vec![(LOW, sent(2, 8))]));
    new.handle(1_021, report(1, 4, vec![waiting(0, 1, 150, 0)]));
    assert_eq!(BTreeMap::from([(LOW, 9)]), ordered(&new, 2));
}

#[test]
fn followers_have_the_orders() {
    let mut pool = pool_with(revoking());
    let mut follower = StateReplica::default();
    Arc::new(pool.snapshot()).frames().for_each(|frame| drop(follower.apply(OWNER, frame)));
    pool.handle(1_000, sends(2, 1, 8_000, vec![(LOW, sent(3, 7))]));
    pool.handle(1_001, report(1, 2, vec![waiting(0, 1, 150, 0)]));
    Arc::new(pool.snapshot()).frames().for_each(|frame| drop(follower.apply(OWNER, frame)));
    assert_eq!(pool.pool_state().flows(), follower.pool_state().flows());
    assert_ne!(0, pool.pool_state().digest().revocable);
    assert_eq!(pool.pool_state().digest(), follower.pool_state().digest());
}
