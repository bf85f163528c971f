//! The owner grants nothing where a prompt would wait, whatever it would wait for.

use std::collections::BTreeMap;

use signalbox_state::{CollectorStream, Pool, PoolInput, ScrapeStatus, Update};
use signalbox_types::{Gauges, Generation, Load};

use crate::feedback::full_batch;
use crate::fixtures::endpoint;
use crate::granting::{flow, grants, report, waiting};
use crate::reports::{self, assigned_pool, running};

const STREAM: CollectorStream = CollectorStream(1);

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
    let (mut pool, generation) = assigned_pool();
    let load = vec![(endpoint(0), Load { requests: booked, prefills: 0, prefill_tokens: 0 })];
    pool.handle(1_000, PoolInput::Feedback(full_batch(2, 1, load, Vec::new())));
    scrape(&mut pool, generation, 1_000, before);
    if let Some(update) = after {
        reports::report(&mut pool, 1_001, STREAM, generation, update);
    }
    pool.handle(1_002, report(1, 1, vec![waiting(1, 1, 10, 0)]));
    grants(&pool, 1) == BTreeMap::from([(flow(1), 1)])
}

#[test]
fn nothing_goes_to_an_engine_where_requests_wait_for_room() {
    // 100 running requests of 5 s each: one ends every 50 ms.
    assert!(!goes(102, gauges(2, 100, 990_000), None));
    assert!(goes(100, gauges(0, 100, 990_000), None));
    assert!(goes(102, gauges(2, 100, 900_000), None));
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
