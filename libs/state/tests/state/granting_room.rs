//! The owner grants nothing where a prompt would wait, whatever it would wait for.

use std::collections::BTreeMap;

use signalbox_state::{CollectorStream, Pool, PoolInput, ScrapeStatus, Update};
use signalbox_types::{Capacity, Gauges, Generation, Load};

use crate::feedback::full_batch;
use crate::fixtures::endpoint;
use crate::granting::{flow, grants, report, waiting};
use crate::reports::{self, assigned_pool, running};

const STREAM: CollectorStream = CollectorStream(1);

/// Tokens in the KV cache. 1 % of them are processed within the hold.
const KV_TOKENS: u64 = 20_000;

/// Reports `gauges` three times: unbooked load is the least of three samples.
fn scrape(pool: &mut Pool, generation: Generation, now_ms: u64, gauges: Gauges) {
    for _ in 0..3 {
        let update = Update { gauges: Some(gauges), ..running(0) };
        reports::report(pool, now_ms, STREAM, generation, update);
    }
}

fn gauges(waiting: u32, running: u32, kv_used_ppm: u32) -> Gauges {
    Gauges { waiting, running: Some(running), kv_used_ppm: Some(kv_used_ppm) }
}

/// Reports that one short request waits at the replica, and returns whether it may go. So many requests are booked, whose
/// prompts are processed.
fn goes(booked: u32, before: Gauges, after: Option<Update>) -> bool {
    goes_beside(Load { requests: booked, prefills: 0, prefill_tokens: 0 }, before, after)
}

/// Does the same beside this load.
fn goes_beside(load: Load, before: Gauges, after: Option<Update>) -> bool {
    let (mut pool, generation) = assigned_pool();
    let capacity = Some(Capacity { kv_tokens: KV_TOKENS });
    reports::report(&mut pool, 1_000, STREAM, generation, Update { capacity, ..running(0) });
    pool.handle(1_000, PoolInput::Feedback(full_batch(2, 1, vec![(endpoint(0), load)], Vec::new())));
    scrape(&mut pool, generation, 1_000, before);
    if let Some(update) = after {
        reports::report(&mut pool, 1_001, STREAM, generation, update);
    }
    pool.handle(1_002, report(1, 1, vec![waiting(1, 1, 10, 0)]));
    grants(&pool, 1) == BTreeMap::from([(flow(1), 1)])
}

#[test]
fn nothing_goes_to_an_engine_whose_kv_cache_is_full() {
    assert!(!goes(102, gauges(2, 100, 990_000), None));
    assert!(!goes(100, gauges(0, 100, 980_000), None), "what runs there still grows");
    assert!(goes(102, gauges(2, 100, 900_000), None));
    assert!(goes(0, gauges(0, 0, 1_000_000), None), "only what can be evicted is left");
}

/// Metrics do not show them in the KV cache yet.
#[test]
fn prompts_that_are_not_processed_yet_take_room_in_the_kv_cache() {
    let beside = |prefill_tokens, used_ppm| {
        // The first of the two has been processed since.
        let load = Load { requests: 102, prefills: 2, prefill_tokens: 2 * prefill_tokens };
        goes_beside(load, gauges(0, 100, used_ppm), None)
    };
    assert!(beside(KV_TOKENS / 100, 900_000));
    assert!(!beside(KV_TOKENS / 100, 970_000));
}

#[test]
fn nothing_goes_to_an_engine_that_is_busy_with_unbooked_prompts() {
    assert!(!goes(0, gauges(1, 1, 100_000), None));
    assert!(goes(0, gauges(0, 100, 100_000), None));
}

#[test]
fn metrics_of_a_while_ago_hold_up_nothing() {
    let stale = Update { scrape_status: ScrapeStatus::Stale, gauges: None, ..running(0) };
    assert!(goes(102, gauges(2, 100, 990_000), Some(stale)));
}
