//! A pool of many endpoints: no input keeps the owner busy for long. The times are printed, because they depend on the
//! machine; what the tests require is that the work of one input is bounded.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signalbox_state::{
    AssignedEndpoint, CollectorStream, EndpointState, Placement, Pool, PoolConfig, PoolEffect, PoolInput,
    Report, ScrapeStatus,
};
use signalbox_types::{BlockHash, EndpointKey, EndpointSpec, Incarnation, Load};

use crate::feedback::{full_batch, partial_batch};
use crate::fixtures::{config, endpoint_spec, pool_spec};
use crate::reports::running;

const ENDPOINTS: usize = 10_000;

/// The maximum number of changes by one input that concerns all endpoints.
const MOST_CHANGES: u64 = 1_100;

fn spec(index: usize) -> EndpointSpec {
    let address = SocketAddr::from(([10, 0, (index >> 8) as u8, index as u8], 8_000));
    EndpointSpec { address, metrics_url: format!("http://{address}/metrics"), ..endpoint_spec(index, 0) }
}

/// A pool, and how long its inputs took.
struct Timed {
    pool: Pool,
    now_ms: u64,
    longest: Duration,
    total: Duration,
    /// The version after the last input, and the most changes by one input.
    seq: u64,
    most_changes: u64,
}

impl Timed {
    fn new(config: PoolConfig) -> Self {
        let (longest, total) = (Duration::ZERO, Duration::ZERO);
        Self { pool: Pool::new(1, config), now_ms: 0, longest, total, seq: 0, most_changes: 0 }
    }

    fn handle(&mut self, input: PoolInput) -> Vec<PoolEffect> {
        let started = Instant::now();
        let mut effects = self.pool.handle(self.now_ms, input);
        self.record(started);
        // As the owner's actor does.
        while effects.contains(&PoolEffect::Unfinished) {
            effects.retain(|effect| *effect != PoolEffect::Unfinished);
            let started = Instant::now();
            effects.extend(self.pool.handle(self.now_ms, PoolInput::Continue));
            self.record(started);
        }
        effects
    }

    fn record(&mut self, started: Instant) {
        let took = started.elapsed();
        self.total += took;
        self.longest = self.longest.max(took);
        let seq = self.pool.journal().head().seq;
        self.most_changes = self.most_changes.max(seq - self.seq);
        self.seq = seq;
    }

    fn tick(&mut self, times: u64) {
        for _ in 0..times {
            self.now_ms += 100;
            self.handle(PoolInput::Tick);
        }
    }

    /// Prints and forgets the times since the last call. Returns the most changes by one input.
    fn print(&mut self, what: &str) -> u64 {
        let (longest, total) = (std::mem::take(&mut self.longest), std::mem::take(&mut self.total));
        let most_changes = std::mem::take(&mut self.most_changes);
        let ms = |of: Duration| of.as_secs_f64() * 1e3;
        println!(
            "{what}: longest {:.2} ms, total {:.1} ms, most changes {most_changes}",
            ms(longest),
            ms(total)
        );
        most_changes
    }

    fn report(&mut self, assigned: &[AssignedEndpoint], requests: u32) {
        for chunk in reports(assigned, requests).chunks(1_000) {
            self.handle(PoolInput::Reports(CollectorStream(1), chunk.to_vec()));
        }
    }

    fn join(&mut self, stream: u64) -> Vec<PoolEffect> {
        self.handle(PoolInput::CollectorJoined(CollectorStream(stream), format!("collector-{stream}")))
    }
}

fn assigned(effects: Vec<PoolEffect>, to: u64) -> Vec<AssignedEndpoint> {
    let assigned = effects.into_iter().find_map(|effect| match effect {
        PoolEffect::Assign(stream, assigned) if stream.0 == to => Some(assigned),
        _ => None,
    });
    assigned.unwrap_or_default()
}

fn reports(assigned: &[AssignedEndpoint], requests: u32) -> Vec<Report> {
    let report = |of: &AssignedEndpoint| Report {
        endpoint: of.endpoint,
        generation: of.generation,
        age_ms: 1,
        update: running(requests),
    };
    assigned.iter().map(report).collect()
}

fn prompt(name: u64, blocks: u64) -> Arc<[BlockHash]> {
    (1..=blocks).map(|block| BlockHash((name + 1) * 1_000_000 + block)).collect()
}

fn placed(number: u64, endpoint: EndpointKey, suffix: Arc<[BlockHash]>) -> PoolInput {
    let (incarnation, anchor) = (Incarnation(7), BlockHash::ROOT);
    let placement = Placement { number, endpoint, incarnation, anchor, suffix };
    PoolInput::Feedback(partial_batch(1, number, Vec::new(), vec![placement]))
}

/// Returns a pool whose endpoints were all reported, by one collector, and its assignment.
fn reported_pool() -> (Timed, Vec<AssignedEndpoint>) {
    let config = PoolConfig { assumed_kv_tokens: 1 << 20, index_bytes: 64 << 20, ..config() };
    let mut timed = Timed::new(config);
    timed.join(1);
    let effects = timed.handle(PoolInput::Spec(pool_spec((0..ENDPOINTS).map(spec))));
    assert!(timed.print("spec of all endpoints") <= MOST_CHANGES);
    assert_eq!(ENDPOINTS, timed.pool.pool_state().endpoints().len());
    let assigned = assigned(effects, 1);
    assert_eq!(ENDPOINTS, assigned.len());
    timed.report(&assigned, 3);
    timed.print("first reports, 1,000 each");
    (timed, assigned)
}

#[test]
fn ticks_touch_what_changed() {
    let (mut timed, assigned) = reported_pool();
    // The ramps end after ten seconds.
    for _ in 0..110 {
        timed.handle(PoolInput::Reports(CollectorStream(1), Vec::new()));
        timed.tick(1);
    }
    assert!(timed.print("110 ticks until the ramps end") <= MOST_CHANGES);
    let before = timed.seq;
    for _ in 0..20 {
        timed.handle(PoolInput::Reports(CollectorStream(1), Vec::new()));
        timed.tick(1);
    }
    timed.print("20 ticks of an idle pool");
    assert_eq!(before, timed.seq);
    for round in 0..10 {
        timed.report(&assigned, round);
        timed.tick(1);
    }
    timed.print("10 rounds of reports and ticks of a busy pool");
    timed.tick(40);
    assert!(timed.print("40 ticks until all values are stale") <= MOST_CHANGES);
    let is_stale = |of: &Arc<EndpointState>| of.observed.scrape_status == ScrapeStatus::Stale;
    assert!(timed.pool.pool_state().endpoints().all(is_stale));
}

#[test]
fn specifications_are_applied_in_parts() {
    let (mut timed, _) = reported_pool();
    timed.join(2);
    timed.print("a second collector");
    let left = assigned(timed.handle(PoolInput::CollectorLeft(CollectorStream(1))), 2);
    assert_eq!(ENDPOINTS, left.len());
    timed.print("the first collector leaves");
    let changed = |index| EndpointSpec { is_draining: true, ..spec(index) };
    timed.handle(PoolInput::Spec(pool_spec((0..ENDPOINTS).map(changed))));
    assert!(timed.print("all endpoints change") <= MOST_CHANGES);
    assert!(timed.pool.pool_state().endpoints().all(|of| of.spec.is_draining));
    timed.handle(PoolInput::Spec(pool_spec((0..ENDPOINTS).map(changed))));
    assert_eq!(0, timed.print("no endpoint changes"));
    // The next one replaces a specification of which only a part was applied.
    timed.pool.handle(timed.now_ms, PoolInput::Spec(pool_spec((0..ENDPOINTS / 2).map(spec))));
    timed.handle(PoolInput::Spec(pool_spec((0..ENDPOINTS - 1).map(changed))));
    timed.print("one endpoint goes, others come back");
    let keys: BTreeSet<_> = (0..ENDPOINTS - 1).map(|index| spec(index).key()).collect();
    assert!(timed.pool.pool_state().endpoints().all(|of| of.spec.is_draining));
    assert_eq!(keys, timed.pool.pool_state().endpoints().map(|of| of.key).collect());
    timed.handle(PoolInput::Spec(pool_spec([])));
    assert!(timed.print("all endpoints go") <= MOST_CHANGES);
    assert_eq!(0, timed.pool.pool_state().endpoints().len());
}

fn told(effects: &[PoolEffect]) -> Vec<u64> {
    let told = effects.iter().filter_map(|effect| match effect {
        PoolEffect::Assign(stream, _) => Some(stream.0),
        _ => None,
    });
    told.collect()
}

#[test]
fn collectors_are_told_one_after_the_other() {
    let (mut timed, _) = reported_pool();
    (2..=3).for_each(|stream| drop(timed.join(stream)));
    // Endpoints move from all three.
    let joined = PoolInput::CollectorJoined(CollectorStream(4), "collector-4".to_owned());
    let effects = timed.pool.handle(timed.now_ms, joined);
    assert_eq!((vec![1], true), (told(&effects), effects.contains(&PoolEffect::Unfinished)));
    // One that leaves is not told any more, but those that get its endpoints are.
    let effects = timed.handle(PoolInput::CollectorLeft(CollectorStream(2)));
    let all: BTreeSet<_> = told(&effects).into_iter().collect();
    assert_eq!(BTreeSet::from([1, 3, 4]), all);
    let lists = [1, 3, 4].map(|stream| assigned(effects.clone(), stream).into_iter().map(|of| of.endpoint));
    let endpoints: Vec<_> = lists.into_iter().flatten().collect();
    assert_eq!(ENDPOINTS, endpoints.len());
    assert_eq!(ENDPOINTS, endpoints.into_iter().collect::<BTreeSet<_>>().len(), "each has one collector");
}

#[test]
fn origins_expire_a_few_at_a_time() {
    let mut timed = Timed::new(config());
    timed.handle(PoolInput::Spec(pool_spec((0..4).map(spec))));
    let load = Load { requests: 1, prefills: 0, prefill_tokens: 0 };
    for origin in 1..=100 {
        timed.handle(PoolInput::Feedback(full_batch(origin, 1, vec![(spec(0).key(), load)], Vec::new())));
    }
    let requests = |pool: &Pool| {
        let loads = pool.pool_state().loads().at(spec(0).key());
        loads.iter().map(|(_, load)| load.requests).sum::<u32>()
    };
    assert_eq!(100, requests(&timed.pool));
    timed.now_ms = 60_000;
    let expired = timed.pool.handle(timed.now_ms, PoolInput::Tick);
    let refused =
        timed.pool.handle(timed.now_ms, PoolInput::Feedback(full_batch(100, 2, Vec::new(), Vec::new())));
    assert!(matches!(refused[..], [PoolEffect::Expired(_)]), "{refused:?}");
    assert!(expired.contains(&PoolEffect::Unfinished) && (50..100).contains(&requests(&timed.pool)));
    timed.handle(PoolInput::Continue);
    assert_eq!(0, requests(&timed.pool));
}

#[test]
fn feedback_for_all_endpoints() {
    let (mut timed, _) = reported_pool();
    let keys: Vec<_> = (0..ENDPOINTS).map(|index| spec(index).key()).collect();
    for (number, endpoint) in (1..).zip(&keys) {
        timed.handle(placed(number, *endpoint, prompt(number, 20)));
    }
    timed.print("first placements");
    timed.tick(20);
    timed.print("20 ticks with placements");
    let load = Load { requests: 1, prefills: 1, prefill_tokens: 9 };
    let gauges: Vec<_> = keys.iter().map(|key| (*key, load)).collect();
    timed.handle(PoolInput::Feedback(full_batch(2, 1, gauges.clone(), Vec::new())));
    timed.print("full batch, all new");
    timed.handle(PoolInput::Feedback(full_batch(2, 2, gauges, Vec::new())));
    assert_eq!(0, timed.print("full batch, unchanged"));
    for number in 20_000..30_000 {
        timed.handle(placed(number, keys[number as usize * 7 % ENDPOINTS], prompt(number, 1_000)));
    }
    timed.print("placements up to and at the index bound");
    timed.handle(placed(50_000, keys[0], prompt(90_000, 60_000)));
    timed.print("a long placement at the index bound");
    timed.tick(40);
    timed.print("40 ticks until the origins expire");
    timed.handle(PoolInput::Spec(pool_spec([])));
    timed.print("all endpoints go");
    assert!(timed.pool.pool_state().index_writer().index().is_empty());
}

#[test]
fn endpoint_that_is_back_before_its_collector_is_told_has_another_generation() {
    let (mut timed, before) = reported_pool();
    let gone = spec(0).key();
    // Only a part of this specification is applied.
    timed.pool.handle(timed.now_ms, PoolInput::Spec(pool_spec((1..ENDPOINTS).map(spec))));
    assert!(timed.pool.pool_state().endpoint(gone).is_none());
    let after = assigned(timed.handle(PoolInput::Spec(pool_spec((0..ENDPOINTS).map(spec)))), 1);
    let generation = |assigned: &[AssignedEndpoint]| {
        assigned.iter().find(|of| of.endpoint == gone).map(|of| of.generation)
    };
    assert!(generation(&before).is_some() && generation(&after) > generation(&before));
}
