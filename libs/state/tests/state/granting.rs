//! Flow control at the owner: which requests that wait at the replicas may go, whatever is lost and whoever is the owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, proptest};
use signalbox_flow::{Backlog, BandSettings, FlowKey, FlowSettings, Usage};
use signalbox_state::{
    Feedback, FlowReport, JournalBounds, JournaledReplica, OriginFlows, Pool, PoolEffect, PoolInput,
};
use signalbox_types::{Load, Origin};

use crate::feedback::{full_batch, partial_batch};
use crate::fixtures::{OWNER, config, endpoint, endpoint_spec, pool_of, pool_spec};

/// What the default endpoint has room for: 8,000 tokens per second for 100 ms.
const ROOM_TOKENS: u64 = 800;

pub(crate) fn flow(at: usize) -> FlowKey {
    let (priority, id) = [(10, "a"), (0, "a"), (0, "b")][at];
    FlowKey::new(priority, id)
}

pub(crate) fn waiting(flow: usize, requests: u64, tokens_each: u64, released: u64) -> (FlowKey, Backlog) {
    let usage = Usage { requests, bytes: 0, tokens: requests * tokens_each };
    (self::flow(flow), Backlog { usage, oldest_wait_ms: 50, released })
}

pub(crate) fn report(origin: u64, seq: u64, backlogs: Vec<(FlowKey, Backlog)>) -> PoolInput {
    let flows = FlowReport { backlogs, ..FlowReport::default() };
    PoolInput::Feedback(Feedback { flows, ..partial_batch(origin, seq, Vec::new(), Vec::new()) })
}

pub(crate) fn grants(pool: &Pool, origin: u64) -> BTreeMap<FlowKey, u64> {
    let grants = pool.pool_state().flows().grants(Origin(origin));
    grants.map(|(flow, up_to)| (flow.clone(), up_to)).collect()
}

fn load(tokens: u64) -> Load {
    Load { requests: 1, prefills: u32::from(tokens > 0), prefill_tokens: tokens }
}

#[test]
fn requests_go_as_far_as_the_endpoints_have_room() {
    let mut pool = pool_of(2, config());
    pool.handle(1_000, report(1, 1, vec![waiting(0, 100, 80, 0)]));
    // Two endpoints with room for ten requests of 80 tokens each.
    assert_eq!(BTreeMap::from([(flow(0), 20)]), grants(&pool, 1));
    assert!(pool.saturation(1_000).is_some_and(|saturation| saturation == 0.0));
}

#[test]
fn grants_wait_until_booked_prompts_are_processed() {
    let mut pool = pool_of(1, config());
    let gauges = vec![(endpoint(0), load(8 * ROOM_TOKENS))];
    pool.handle(1_000, PoolInput::Feedback(full_batch(2, 1, gauges, Vec::new())));
    let effects = pool.handle(1_000, report(1, 1, vec![waiting(0, 3, 80, 0)]));
    assert_eq!(BTreeMap::new(), grants(&pool, 1));
    // The owner looks for room again although nothing happens: after 700 ms one eighth of the prompt is left.
    assert!(effects.iter().any(|effect| matches!(effect, PoolEffect::GrantAfter(1..=10))), "{effects:?}");
    pool.handle(1_600, PoolInput::GrantDue);
    assert_eq!(BTreeMap::new(), grants(&pool, 1));
    pool.handle(1_710, PoolInput::GrantDue);
    assert_eq!(BTreeMap::from([(flow(0), 1)]), grants(&pool, 1));
}

#[test]
fn grants_are_spaced_and_the_owner_is_woken_up() {
    let mut pool = pool_of(1, config());
    pool.handle(1_000, report(1, 1, vec![waiting(0, 1, 80, 0)]));
    assert_eq!(1, grants(&pool, 1).len());
    let effects = pool.handle(1_000, report(2, 1, vec![waiting(0, 1, 80, 0)]));
    assert_eq!(BTreeMap::new(), grants(&pool, 2));
    assert!(effects.contains(&PoolEffect::GrantAfter(1)), "{effects:?}");
    pool.handle(1_001, PoolInput::GrantDue);
    assert_eq!(1, grants(&pool, 2).len());
}

#[test]
fn large_pool_is_granted_as_much_per_time_as_a_small_one() {
    let granted = |endpoints| {
        let mut pool = pool_of(endpoints, config());
        while pool.handle(0, PoolInput::Continue).contains(&PoolEffect::Unfinished) {}
        pool.handle(1_000, report(1, 1, vec![waiting(0, 4_000, 10, 0)]));
        grants(&pool, 1).values().sum::<u64>()
    };
    // Between two runs, 1 ms passes for a small pool, and 5 ms for 2,000 endpoints.
    assert_eq!((256, 5 * 256), (granted(10), granted(2_000)));
}

#[test]
fn owner_is_woken_up_by_few_timers_however_long_requests_wait() {
    let mut pool = pool_of(1, config());
    let gauges = vec![(endpoint(0), load(1_000_000 * ROOM_TOKENS))];
    pool.handle(0, PoolInput::Feedback(full_batch(1, 1, gauges, Vec::new())));
    let mut timers = BTreeMap::from([(0, vec![report(1, 2, vec![waiting(0, 1, 80, 0)])])]);
    for now_ms in 0..2_500 {
        let mut inputs = timers.remove(&now_ms).unwrap_or_default();
        inputs.extend((now_ms % 100 == 50).then_some(PoolInput::Tick));
        let repeated = || report(1, 3 + now_ms, vec![waiting(0, 1, 80, 0)]);
        inputs.extend((now_ms % 500 == 499).then(repeated));
        for input in inputs {
            for effect in pool.handle(now_ms, input) {
                let PoolEffect::GrantAfter(after_ms) = effect else { continue };
                timers.entry(now_ms + after_ms).or_default().push(PoolInput::GrantDue);
            }
        }
        assert!(timers.values().map(Vec::len).sum::<usize>() <= 2, "at {now_ms} ms: {timers:?}");
        assert!(!timers.is_empty(), "nobody wakes the owner up after {now_ms} ms");
    }
}

#[test]
fn empty_pool_is_a_waiting_room() {
    let mut pool = pool_of(0, config());
    for origin in 1..=2 {
        pool.handle(1_000, report(origin, 1, vec![waiting(1, 50, 80, 0)]));
    }
    pool.handle(1_400, PoolInput::Tick);
    assert_eq!((BTreeMap::new(), BTreeMap::new()), (grants(&pool, 1), grants(&pool, 2)));
    // The first endpoints get as much as they have room for, of both replicas in the order of arrival.
    pool.handle(1_500, PoolInput::Spec(pool_spec((0..2).map(|index| endpoint_spec(index, 0)))));
    let sum: u64 = (1..=2).flat_map(|origin| grants(&pool, origin).into_values()).sum();
    assert_eq!(20, sum);
    assert!(grants(&pool, 1).values().sum::<u64>().abs_diff(10) <= 1);
}

#[test]
fn higher_band_goes_first_at_whatever_replica() {
    let mut pool = pool_of(1, config());
    let gauges = vec![(endpoint(0), load(20 * ROOM_TOKENS))];
    pool.handle(1_000, PoolInput::Feedback(full_batch(9, 1, gauges, Vec::new())));
    pool.handle(1_000, report(1, 1, vec![waiting(1, 50, 80, 0)]));
    pool.handle(1_000, report(2, 1, vec![waiting(0, 10, 100, 0)]));
    pool.handle(1_002, PoolInput::Feedback(full_batch(9, 2, Vec::new(), Vec::new())));
    assert_eq!((BTreeMap::new(), BTreeMap::from([(flow(0), 8)])), (grants(&pool, 1), grants(&pool, 2)));
}

#[test]
fn silent_replica_frees_its_flows() {
    let mut pool = pool_of(0, config());
    pool.handle(1_000, report(1, 1, vec![waiting(1, 50, 80, 0)]));
    assert_eq!(Some(0), pool.pool_state().flows().highest_waiting());
    pool.handle(1_000 + config().origin_ttl_ms, PoolInput::Tick);
    assert_eq!(
        (None, 0),
        (pool.pool_state().flows().highest_waiting(), pool.pool_state().flows().origins().len())
    );
    assert_eq!(0, pool.pool_state().digest().flows);
}

#[test]
fn silent_replica_holds_up_nobody() {
    let mut pool = pool_of(1, config());
    pool.handle(1_000, report(1, 1, vec![waiting(0, 50, 100, 0)]));
    assert_eq!(BTreeMap::from([(flow(0), 8)]), grants(&pool, 1));
    // What it was granted fills the endpoint, until it has missed two of its reports.
    pool.handle(1_900, report(2, 1, vec![waiting(1, 50, 100, 0)]));
    assert_eq!(BTreeMap::new(), grants(&pool, 2));
    pool.handle(2_010, report(2, 2, vec![waiting(1, 50, 100, 0)]));
    assert_eq!(BTreeMap::from([(flow(1), 8)]), grants(&pool, 2));
    assert_eq!(BTreeMap::from([(flow(0), 8)]), grants(&pool, 1));
    // Once it is heard again, it goes first again.
    pool.handle(2_020, report(1, 2, vec![waiting(0, 42, 100, 8)]));
    pool.handle(2_030, report(2, 3, vec![waiting(1, 42, 100, 8)]));
    assert_eq!((BTreeMap::from([(flow(0), 16)]), BTreeMap::new()), (grants(&pool, 1), grants(&pool, 2)));
}

#[test]
fn settings_are_those_that_a_replica_newly_reports() {
    let mut pool = pool_of(1, config());
    let settings = |wait_ms| Arc::new(FlowSettings { sheddable_wait_ms: wait_ms, ..FlowSettings::default() });
    let mut seq = 0;
    let mut told = |origin, wait_ms| {
        seq += 1;
        let flows = FlowReport { settings: Some(settings(wait_ms)), ..FlowReport::default() };
        let batch = Feedback { flows, ..full_batch(origin, seq, Vec::new(), Vec::new()) };
        pool.handle(seq, PoolInput::Feedback(batch));
        (pool.pool_state().flows().settings().sheddable_wait_ms, pool.journal().head().seq)
    };
    assert_eq!(1, told(1, 1).0);
    let (wait_ms, version) = told(2, 2);
    assert_eq!(2, wait_ms);
    // Both repeat theirs: nothing changes.
    for (origin, wait_ms) in [(1, 1), (2, 2), (1, 1), (2, 2)] {
        assert_eq!((2, version), told(origin, wait_ms));
    }
    assert_eq!(3, told(1, 3).0);
}

#[test]
fn settings_of_a_gone_replica_give_way() {
    let mut pool = pool_of(1, config());
    let batch = |origin, seq, wait_ms| {
        let settings = FlowSettings { sheddable_wait_ms: wait_ms, ..FlowSettings::default() };
        let flows = FlowReport { settings: Some(Arc::new(settings)), ..FlowReport::default() };
        PoolInput::Feedback(Feedback { flows, ..full_batch(origin, seq, Vec::new(), Vec::new()) })
    };
    pool.handle(0, batch(1, 1, 1));
    pool.handle(0, batch(2, 1, 2));
    pool.handle(config().origin_ttl_ms - 1, batch(1, 2, 1));
    assert_eq!(2, pool.pool_state().flows().settings().sheddable_wait_ms);
    pool.handle(config().origin_ttl_ms, PoolInput::Tick);
    pool.handle(config().origin_ttl_ms, batch(1, 3, 1));
    assert_eq!(1, pool.pool_state().flows().settings().sheddable_wait_ms);
}

#[test]
fn further_flows_than_a_replica_may_have_are_ignored() {
    let mut pool = pool_of(0, config());
    let most = OriginFlows::MAX_FLOWS;
    let (_, backlog) = waiting(0, 1, 10, 0);
    for (seq, ids) in [(1, 0..most), (2, most - 1..most + 5)] {
        let backlogs = ids.map(|id| (FlowKey::new(0, &id.to_string()), backlog)).collect();
        pool.handle(0, report(1, seq, backlogs));
    }
    let flows = pool.pool_state().flows().origin(Origin(1)).expect("it reported flows");
    assert_eq!(most, flows.backlogs().len());
}

#[test]
fn drain_rate_is_that_of_all_replicas() {
    let mut pool = pool_of(1, config());
    let mut now_ms = 1_000;
    // Ten requests of 80 tokens go every 100 ms, and their prompts are processed at once.
    let settings = FlowReport { settings: Some(Arc::default()), ..FlowReport::default() };
    pool.handle(
        now_ms,
        PoolInput::Feedback(Feedback { flows: settings, ..full_batch(1, 1, Vec::new(), Vec::new()) }),
    );
    for step in 0..100 {
        pool.handle(now_ms, report(1, 2 + step, vec![waiting(0, 1_000, 80, 10 * step)]));
        now_ms += 50;
        pool.handle(now_ms, PoolInput::Tick);
        now_ms += 50;
    }
    let rate = pool.pool_state().flows().drain_rate();
    assert!((90.0..110.0).contains(&rate.requests_per_second()), "{rate:?}");
    assert!((7_200..8_800).contains(&rate.tokens_per_second), "{rate:?}");
}

proptest! {
    /// A takeover changes nobody's share: the next owner grants what the one before would have granted.
    #[test]
    fn takeover_changes_no_share(
        backlogs in vec((0..3_usize, 1..40_u64, 1..200_u64), 1..8),
        more in vec((0..3_usize, 1..40_u64, 1..200_u64), 1..8),
        share in 0..30_u8,
    ) {
        let band = BandSettings { min_share_percent: share, ..BandSettings::default() };
        let settings = FlowSettings { bands: BTreeMap::from([(0, band)]), ..FlowSettings::default() };
        let mut pool = pool_of(1, config());
        let flows = FlowReport { settings: Some(Arc::new(settings)), ..FlowReport::default() };
        pool.handle(1_000, PoolInput::Feedback(Feedback { flows, ..full_batch(1, 1, Vec::new(), Vec::new()) }));
        let inputs = |seq: u64, backlogs: &[(usize, u64, u64)]| {
            let of = |(at, (flow, requests, tokens)): (usize, &(usize, u64, u64))| {
                report(1 + at as u64 % 3, seq + at as u64, vec![waiting(*flow, *requests, *tokens, 0)])
            };
            backlogs.iter().enumerate().map(of).collect::<Vec<_>>()
        };
        for (at, input) in inputs(10, &backlogs).into_iter().enumerate() {
            pool.handle(1_010 + 10 * at as u64, input);
        }
        let mut replica = JournaledReplica::new(JournalBounds::default());
        Arc::new(pool.snapshot()).frames().for_each(|frame| drop(replica.apply(OWNER, frame)));
        let mut next = Pool::inherit(2, config(), replica, 1_200);
        for (at, input) in inputs(100, &more).into_iter().enumerate() {
            let now_ms = 1_300 + 10 * at as u64;
            pool.handle(now_ms, input.clone());
            next.handle(now_ms, input);
            prop_assert_eq!(pool.pool_state().flows(), next.pool_state().flows());
        }
    }
}
