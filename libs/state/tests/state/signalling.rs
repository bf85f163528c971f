//! The owner assesses how many model servers the pool needs, and all followers know it.

use std::sync::Arc;

use signalbox_signal::{ArrivalCounts, Certainty, Group, GroupSignal, Queue, Role, Signal, SignalSettings};
use signalbox_state::{
    CollectorStream, Feedback, JournaledReplica, Pool, PoolConfig, PoolEffect, PoolInput, StateReplica,
};
use signalbox_types::{EndpointSpec, Load};

use crate::feedback::{full_batch, partial_batch};
use crate::fixtures::state_contents::Contents;
use crate::fixtures::{OWNER, catch_up, config, endpoint, endpoint_spec, pool_of, pool_spec};
use crate::granting;
use crate::reports::{assigned_pool, report, running};

const STREAM: CollectorStream = CollectorStream(1);

/// Returns a pool whose owner knows that nothing is stored.
fn started(mut pool: Pool) -> Pool {
    pool.handle(0, PoolInput::StoredSignal(None));
    pool
}

fn signal(pool: &Pool) -> &Signal {
    pool.pool_state().signal().expect("the pool was assessed")
}

fn heard(pool: &mut Pool, now_ms: u64, requests: u64, gauges: Vec<(signalbox_types::EndpointKey, Load)>) {
    let arrivals = Some(ArrivalCounts { requests, ..ArrivalCounts::default() });
    pool.handle(
        now_ms,
        PoolInput::Feedback(Feedback { arrivals, ..full_batch(1, now_ms, gauges, Vec::new()) }),
    );
}

fn stored(effects: &[PoolEffect]) -> Vec<Arc<Signal>> {
    let stored = effects.iter().filter_map(|effect| match effect {
        PoolEffect::StoreSignal(signal) => Some(Arc::clone(signal)),
        _ => None,
    });
    stored.collect()
}

/// Returns a signal that asks for so many replicas.
fn asking_for(desired: u32) -> Arc<Signal> {
    Arc::new(Signal { groups: vec![GroupSignal { desired, ..GroupSignal::default() }], ..Signal::default() })
}

fn desired(pool: &Pool) -> u32 {
    signal(pool).groups.iter().map(|group| group.desired).sum()
}

#[test]
fn pool_is_assessed_once_a_second_when_what_is_stored_is_known() {
    let mut pool = pool_of(1, config());
    pool.handle(5_000, PoolInput::Tick);
    assert!(pool.pool_state().signal().is_none(), "an earlier owner may have asked for more");
    pool.handle(5_010, PoolInput::StoredSignal(None));
    assert_eq!((1, 5_010), (signal(&pool).epoch, signal(&pool).assessed_at_ms));
    pool.handle(6_009, PoolInput::Tick);
    assert_eq!(5_010, signal(&pool).assessed_at_ms);
    pool.handle(6_010, PoolInput::Tick);
    assert_eq!(6_010, signal(&pool).assessed_at_ms);
}

#[test]
fn followers_have_the_signal_of_the_owner() {
    let (mut pool, mut following, mut joining) =
        (started(pool_of(2, config())), StateReplica::default(), StateReplica::default());
    catch_up(&mut following, &pool);
    pool.handle(1_000, PoolInput::Tick);
    assert!(!catch_up(&mut following, &pool), "by a change");
    assert!(catch_up(&mut joining, &pool), "by a snapshot");
    for replica in [&following, &joining] {
        assert_eq!(Some(1_000), replica.pool_state().signal().map(|signal| signal.assessed_at_ms));
        assert_eq!(Contents::of(pool.pool_state()), Contents::of(replica.pool_state()));
    }
}

#[test]
fn request_that_nobody_is_there_for_is_signalled_at_once() {
    let mut pool = started(pool_of(0, config()));
    heard(&mut pool, 1_000, 0, Vec::new());
    assert!(!signal(&pool).awaits_first_pod);
    pool.handle(1_010, granting::report(2, 1, vec![granting::waiting(0, 3, 80, 0)]));
    assert!(signal(&pool).awaits_first_pod);
    let queue = Queue { requests: 3, tokens: 240, oldest_ms: 50 };
    assert_eq!((1_010, queue), (signal(&pool).assessed_at_ms, signal(&pool).queue));
    pool.handle(1_020, granting::report(2, 2, vec![granting::waiting(0, 4, 80, 0)]));
    assert_eq!(1_010, signal(&pool).assessed_at_ms, "once is enough");
    pool.handle(1_030, PoolInput::Spec(pool_spec([endpoint_spec(0, 0)])));
    pool.handle(2_010, PoolInput::Tick);
    assert!(!signal(&pool).awaits_first_pod);
}

#[test]
fn replica_that_counts_nothing_or_is_silent_is_not_known() {
    let mut pool = started(pool_of(1, config()));
    pool.handle(900, PoolInput::Feedback(full_batch(2, 1, Vec::new(), Vec::new())));
    pool.handle(1_000, PoolInput::Tick);
    assert_eq!(
        (0, Certainty::Insufficient),
        (signal(&pool).coverage.epp_replicas_percent, signal(&pool).certainty)
    );
    heard(&mut pool, 1_500, 7, Vec::new());
    pool.handle(2_000, PoolInput::Tick);
    assert_eq!(50, signal(&pool).coverage.epp_replicas_percent);
    pool.handle(3_000, PoolInput::Tick);
    assert_eq!(0, signal(&pool).coverage.epp_replicas_percent, "neither has reported for a second");
}

#[test]
fn arrivals_are_the_differences_of_what_a_replica_counts() {
    let settings = SignalSettings { idle_retention_ms: 1_000, ..SignalSettings::default() };
    let mut pool = started(pool_of(0, PoolConfig { signal: settings, ..config() }));
    let mut active = Vec::new();
    for second in 1..60 {
        let requests = if second < 20 { 1_000 } else { 1_001 };
        heard(&mut pool, second * 1_000, requests, Vec::new());
        active.push(signal(&pool).is_active);
    }
    // What was counted before the owner knew the replica is no arrival of now.
    assert_eq!([true, false, true, true], [active[0], active[18], active[19], active[24]]);
    assert!(!active[58], "{active:?}");
}

#[test]
fn later_owners_ask_for_no_less_than_earlier_ones() {
    // By what is stored.
    let mut pool = pool_of(1, config());
    pool.handle(0, PoolInput::StoredSignal(Some(asking_for(7))));
    assert_eq!(7, desired(&pool));
    pool.handle(10, PoolInput::StoredSignal(Some(asking_for(9))));
    pool.handle(1_000, PoolInput::Tick);
    assert_eq!(7, desired(&pool), "what was stored is known by now");
    // By the state.
    let mut replica = JournaledReplica::new(config().journal);
    let mut earlier = pool_of(1, config());
    earlier.handle(0, PoolInput::StoredSignal(Some(asking_for(7))));
    Arc::new(earlier.snapshot()).frames().for_each(|frame| drop(replica.apply(OWNER, frame)));
    let mut later = Pool::inherit(2, config(), replica, 0);
    later.handle(0, PoolInput::StoredSignal(Some(asking_for(3))));
    assert_eq!((2, 7), (signal(&later).epoch, desired(&later)));
}

/// What is stored may be older than the state: it was stored before the pool became active.
#[test]
fn pool_is_idle_only_if_no_earlier_owner_has_found_it_active() {
    let of = |is_active| Arc::new(Signal { is_active, ..Signal::clone(&asking_for(2)) });
    let is_idle = |in_state: bool, in_store: bool| {
        let mut replica = JournaledReplica::new(config().journal);
        let mut earlier = pool_of(0, config());
        // It finds the pool active by itself, and idle if it inherits that.
        earlier.handle(0, PoolInput::StoredSignal(Some(of(in_state))));
        heard(&mut earlier, 1_000, 0, Vec::new());
        assert_eq!(in_state, signal(&earlier).is_active);
        Arc::new(earlier.snapshot()).frames().for_each(|frame| drop(replica.apply(OWNER, frame)));
        let mut later = Pool::inherit(2, config(), replica, 1_000);
        later.handle(1_000, PoolInput::StoredSignal(Some(of(in_store))));
        heard(&mut later, 2_000, 0, Vec::new());
        !signal(&later).is_active
    };
    assert!(is_idle(false, false) && !is_idle(true, false) && !is_idle(false, true));
}

#[test]
fn signal_is_stored_when_it_asks_for_something_else_and_now_and_then() {
    let mut pool = pool_of(0, config());
    assert_eq!(1, stored(&pool.handle(0, PoolInput::StoredSignal(None))).len());
    assert_eq!(0, stored(&pool.handle(1_000, PoolInput::Tick)).len());
    pool.handle(1_500, PoolInput::Spec(pool_spec((0..3).map(|index| endpoint_spec(index, 0)))));
    let effects = stored(&pool.handle(2_000, PoolInput::Tick));
    assert_eq!(vec![3], effects.iter().map(|signal| signal.groups[0].desired).collect::<Vec<_>>());
    let again = (3..400).filter(|second| !stored(&pool.handle(second * 1_000, PoolInput::Tick)).is_empty());
    assert_eq!(vec![302], again.collect::<Vec<_>>());
}

#[test]
fn ranks_are_one_pod_and_labels_name_its_group() {
    let labelled = |name: &str, labels: &[(&str, &str)]| EndpointSpec {
        name: name.to_owned(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..endpoint_spec(0, 0)
    };
    let prefill = [("llm-d.ai/role", "prefill"), ("signalbox.dev/deployment", "big")];
    let specs = [
        labelled("a-rank-0", &prefill),
        labelled("a-rank-1", &prefill),
        labelled("b-rank-0", &[]),
        EndpointSpec { is_draining: true, ..labelled("c-rank-0", &[]) },
    ];
    let mut pool = Pool::new(1, config());
    pool.handle(0, PoolInput::Spec(pool_spec(specs)));
    pool.handle(0, PoolInput::StoredSignal(None));
    let counts = |group: &GroupSignal| (group.group.clone(), group.replicas.warming, group.replicas.draining);
    let big = Group { role: Role::Prefill, deployment: "big".into() };
    assert_eq!(
        vec![(Group::default(), 1, 1), (big, 1, 0)],
        signal(&pool).groups.iter().map(counts).collect::<Vec<_>>()
    );
}

#[test]
fn pods_warm_up_and_fail() {
    let (pool, generation) = assigned_pool();
    let mut pool = started(pool);
    let replicas = |pool: &Pool| signal(pool).groups[0].replicas;
    report(&mut pool, 100, STREAM, generation, running(2));
    pool.handle(1_000, PoolInput::Tick);
    let (ready, warming) = (replicas(&pool).ready, replicas(&pool).warming);
    report(&mut pool, 10_900, STREAM, generation, running(2));
    pool.handle(11_000, PoolInput::Tick);
    pool.handle(12_000, PoolInput::Tick);
    assert_eq!([(0, 1), (1, 0)], [(ready, warming), (replicas(&pool).ready, replicas(&pool).warming)]);
    pool.handle(20_000, PoolInput::Tick);
    pool.handle(21_000, PoolInput::Tick);
    assert_eq!((1, 0), (replicas(&pool).stale, replicas(&pool).ready));
    assert_eq!(0, signal(&pool).coverage.pods_percent);
}

#[test]
fn load_of_all_replicas_keeps_a_pool_active() {
    let settings = SignalSettings { idle_retention_ms: 1_000, ..SignalSettings::default() };
    let mut pool = started(pool_of(1, PoolConfig { signal: settings, ..config() }));
    let load = Load { requests: 1, prefills: 0, prefill_tokens: 0 };
    for second in 1..30 {
        heard(&mut pool, second * 1_000, 5, vec![(endpoint(0), load)]);
        pool.handle(second * 1_000, PoolInput::Feedback(partial_batch(2, second, Vec::new(), Vec::new())));
    }
    assert!(signal(&pool).is_active);
}

#[test]
fn large_pool_is_read_in_parts_between_other_inputs() {
    const ENDPOINTS: usize = 1_200;
    let mut pool = pool_of(ENDPOINTS, config());
    while pool.handle(0, PoolInput::Continue).contains(&PoolEffect::Unfinished) {}
    let mut pool = started(pool);
    while pool.pool_state().signal().is_none() {
        pool.handle(0, PoolInput::Continue);
    }
    let before = signal(&pool).assessed_at_ms;
    assert!(pool.handle(2_000, PoolInput::Tick).contains(&PoolEffect::Unfinished));
    let mut parts = 1;
    while signal(&pool).assessed_at_ms == before {
        pool.handle(2_000 + parts, PoolInput::Feedback(full_batch(1, parts, Vec::new(), Vec::new())));
        assert_eq!(before, signal(&pool).assessed_at_ms, "other inputs do not wait for the endpoints");
        pool.handle(2_000 + parts, PoolInput::Continue);
        parts += 1;
    }
    assert_eq!(4, parts, "at most 512 endpoints each, and the assessment");
    let counts = signal(&pool).groups[0].replicas;
    assert_eq!(ENDPOINTS as u32, counts.ready + counts.warming + counts.stale);
}
