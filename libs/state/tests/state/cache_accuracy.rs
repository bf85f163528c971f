//! The cached tokens that engines report correct what endpoints are believed to hold.

use signalbox_state::{
    CacheAccuracy, CollectorStream, Feedback, Placement, Pool, PoolConfig, PoolInput, StateReplica, Update,
    UsageReport,
};
use signalbox_types::{BlockHash, Incarnation, Load};

use crate::feedback::partial_batch;
use crate::fixtures::state_contents::Contents;
use crate::fixtures::{catch_up, config, endpoint, pool_of};
use crate::reports::{assigned_pool, report, running};
use crate::token_ratios::usage;

/// A pool with one endpoint and a replica that sends prompts to it.
struct Scenario {
    pool: Pool,
    now_ms: u64,
    batch: u64,
    prefills: u32,
}

fn chain(name: u64, blocks: u64) -> Vec<BlockHash> {
    (1..=blocks).map(|block| BlockHash(name * 100_000 + block)).collect()
}

impl Scenario {
    fn new() -> Self {
        let config = PoolConfig { assumed_kv_tokens: 1_000, ..config() };
        Self { pool: pool_of(1, config), now_ms: 1_000, batch: 0, prefills: 0 }
    }

    fn send(&mut self, placements: Vec<Placement>, usage: Vec<UsageReport>) {
        self.batch += 1;
        let load = Load { requests: self.prefills, prefills: self.prefills, prefill_tokens: 0 };
        let batch = partial_batch(1, self.batch, vec![(endpoint(0), load)], placements);
        self.pool.handle(self.now_ms, PoolInput::Feedback(Feedback { usage, ..batch }));
    }

    /// Sends a prompt whose processing does not end yet.
    fn place(&mut self, name: u64, blocks: u64) {
        self.prefills += 1;
        let suffix = chain(name, blocks).into();
        let (endpoint, incarnation) = (endpoint(0), self.incarnation());
        let placed =
            Placement { number: self.batch + 1, endpoint, incarnation, anchor: BlockHash::ROOT, suffix };
        self.send(vec![placed], Vec::new());
    }

    /// All prompts are processed.
    fn finish(&mut self) {
        self.prefills = 0;
        self.send(Vec::new(), Vec::new());
    }

    /// The engine reports that it held `cached` of the first `held` blocks of a prompt of `blocks` blocks.
    fn report_usage(&mut self, name: u64, blocks: u64, held_and_cached: (u32, u32)) {
        self.send(Vec::new(), vec![self.usage(name, blocks, held_and_cached)]);
    }

    fn usage(&self, name: u64, blocks: u64, (held, cached): (u32, u32)) -> UsageReport {
        UsageReport {
            incarnation: self.incarnation(),
            predicted_cached_tokens: u64::from(held),
            cached_tokens: Some(cached.into()),
            last_block: chain(name, blocks)[blocks as usize - 1],
            held_blocks: held,
            cached_blocks: Some(cached),
            ..usage("m", 0, 0)
        }
    }

    fn tick(&mut self, passed_ms: u64) {
        self.now_ms += passed_ms;
        self.pool.handle(self.now_ms, PoolInput::Tick);
        // Keeps the origin alive.
        self.send(Vec::new(), Vec::new());
    }

    fn incarnation(&self) -> Incarnation {
        self.pool.pool_state().endpoint(endpoint(0)).unwrap().observed.incarnation
    }

    fn held(&self, name: u64) -> usize {
        self.pool.pool_state().index_writer().index().lookup(&chain(name, 2_000)).longest
    }

    fn accuracy(&self) -> CacheAccuracy {
        self.pool.pool_state().endpoint(endpoint(0)).unwrap().cache_accuracy
    }
}

/// Places prompts 1, 2 and 3 of 20 blocks, in this order, and prompt 2 again.
fn three_prompts(are_finished: bool) -> Scenario {
    let mut scenario = Scenario::new();
    (1..=3).for_each(|name| scenario.place(name, 20));
    if are_finished {
        scenario.finish();
    }
    scenario.place(2, 20);
    scenario
}

#[test]
fn what_was_used_no_later_than_a_missing_block_is_evicted() {
    let mut scenario = three_prompts(true);
    scenario.report_usage(2, 20, (20, 0));
    assert_eq!([0, 20, 20], [1, 2, 3].map(|name| scenario.held(name)), "2 is held again, 3 is newer");
}

#[test]
fn missing_end_of_a_prompt_proves_the_same_as_a_missing_beginning() {
    let mut scenario = three_prompts(true);
    scenario.report_usage(2, 20, (20, 8));
    assert_eq!([0, 20, 20], [1, 2, 3].map(|name| scenario.held(name)));
}

#[test]
fn first_missing_block_decides_what_is_gone() {
    // Prompts 1, 2, and the beginning of 1 again: blocks 11 to 20 of prompt 1 are the oldest.
    let mut scenario = Scenario::new();
    [(1, 20), (2, 20), (1, 10)].into_iter().for_each(|(name, blocks)| scenario.place(name, blocks));
    scenario.finish();
    scenario.place(1, 20);
    scenario.report_usage(1, 20, (20, 9));
    assert_eq!([20, 0], [1, 2].map(|name| scenario.held(name)), "block 10 was used after prompt 2");
    let mut scenario = Scenario::new();
    [(1, 40), (2, 20), (1, 10)].into_iter().for_each(|(name, blocks)| scenario.place(name, blocks));
    scenario.finish();
    scenario.place(1, 40);
    scenario.report_usage(1, 40, (40, 10));
    assert_eq!([40, 20], [1, 2].map(|name| scenario.held(name)), "block 11 was used before prompt 2");
}

#[test]
fn prompt_still_in_processing_proves_nothing() {
    let mut scenario = three_prompts(false);
    scenario.report_usage(2, 20, (20, 0));
    assert_eq!([20, 20, 20], [1, 2, 3].map(|name| scenario.held(name)));
    assert_eq!(100, scenario.accuracy().capacity_percent);
}

#[test]
fn prompt_counts_as_processed_after_ten_seconds_on_a_busy_endpoint() {
    for (seconds, held) in [(8, 20), (12, 0)] {
        let mut scenario = Scenario::new();
        (1..=2).for_each(|name| scenario.place(name, 20));
        (0..seconds).for_each(|_| scenario.tick(1_000));
        scenario.place(2, 20);
        scenario.report_usage(2, 20, (20, 0));
        assert_eq!([held, 20], [1, 2].map(|name| scenario.held(name)), "after {seconds} s");
    }
}

#[test]
fn small_differences_and_other_prompts_evict_nothing() {
    for (held, cached) in [(20, 10), (20, 20), (20, 25), (4, 0), (0, 0)] {
        let mut scenario = three_prompts(true);
        scenario.report_usage(2, 20, (held, cached));
        assert_eq!([20, 20, 20], [1, 2, 3].map(|name| scenario.held(name)), "{held} {cached}");
    }
    let mut scenario = three_prompts(true);
    scenario.report_usage(9, 20, (20, 0));
    assert_eq!([20, 20, 20], [1, 2, 3].map(|name| scenario.held(name)), "never placed");
}

#[test]
fn report_of_an_earlier_incarnation_is_ignored() {
    let (mut pool, generation) = assigned_pool();
    let start = Update { incarnation: Incarnation(5), ..running(0) };
    report(&mut pool, 1, CollectorStream(1), generation, start);
    let mut scenario = Scenario { pool, now_ms: 1_000, batch: 0, prefills: 0 };
    (1..=2).for_each(|name| scenario.place(name, 5));
    scenario.finish();
    scenario.place(2, 5);
    let report = UsageReport {
        incarnation: Incarnation(4),
        last_block: chain(2, 5)[4],
        held_blocks: 5,
        cached_blocks: Some(0),
        ..usage("m", 0, 0)
    };
    scenario.send(Vec::new(), vec![report]);
    assert_eq!(5, scenario.held(1));
}

#[test]
fn capacity_shrinks_when_the_engine_held_less_and_grows_back_when_it_holds_what_is_believed() {
    let mut scenario = three_prompts(true);
    scenario.report_usage(2, 20, (20, 0));
    scenario.tick(50);
    assert_eq!(75, scenario.accuracy().capacity_percent, "by at most a quarter at once");
    scenario.place(7, 900);
    assert_eq!(750, scenario.held(7));
    scenario.finish();
    for _ in 0..400 {
        scenario.tick(1_000);
        scenario.report_usage(3, 20, (20, 20));
    }
    scenario.tick(50);
    assert_eq!(100, scenario.accuracy().capacity_percent);
}

#[test]
fn capacity_has_a_lower_bound_and_never_exceeds_the_reported_one() {
    let mut scenario = Scenario::new();
    for round in 0..40 {
        [round + 10, 5].into_iter().for_each(|name| scenario.place(name, 20));
        scenario.finish();
        scenario.place(5, 20);
        scenario.report_usage(5, 20, (20, 0));
        scenario.tick(50);
    }
    assert_eq!(12, scenario.accuracy().capacity_percent);
    for _ in 0..400 {
        scenario.tick(1_000);
        scenario.report_usage(5, 20, (0, 20));
    }
    assert_eq!(100, scenario.accuracy().capacity_percent);
}

#[test]
fn evictions_per_input_are_bounded_and_continue_with_ticks() {
    let mut scenario = Scenario::new();
    scenario.pool = pool_of(1, PoolConfig { assumed_kv_tokens: 1 << 20, ..config() });
    (1..=600).for_each(|name| scenario.place(name, 5));
    scenario.finish();
    scenario.place(600, 5);
    let held = |scenario: &Scenario| scenario.pool.pool_state().index_writer().placed_blocks(endpoint(0));
    scenario.report_usage(600, 5, (5, 0));
    let counts = [0, 1, 2].map(|_| {
        let count = held(&scenario);
        scenario.tick(50);
        count
    });
    assert_eq!([3_000 - 256 * 5, 3_000 - 512 * 5, 5], counts);
}

#[test]
fn all_reports_of_one_batch_share_the_bound_of_evictions() {
    let mut scenario = Scenario::new();
    scenario.pool = pool_of(1, PoolConfig { assumed_kv_tokens: 1 << 20, ..config() });
    (1..=900).for_each(|name| scenario.place(name, 5));
    scenario.finish();
    [300, 600, 900].into_iter().for_each(|name| scenario.place(name, 5));
    let reports = [300, 600, 900].map(|name| scenario.usage(name, 5, (5, 0)));
    scenario.send(Vec::new(), reports.to_vec());
    assert_eq!((900 - 256) * 5, scenario.pool.pool_state().index_writer().placed_blocks(endpoint(0)));
}

#[test]
fn all_endpoints_share_the_bound_of_evictions() {
    let mut pool = pool_of(3, PoolConfig { assumed_kv_tokens: 1 << 20, ..config() });
    let incarnation = pool.pool_state().endpoint(endpoint(0)).unwrap().observed.incarnation;
    let mut number = 0;
    let mut send = |pool: &mut Pool, placed: Option<(usize, u64)>, usage: Vec<UsageReport>| {
        number += 1;
        let placement = placed.map(|(at, name)| {
            let (anchor, suffix) = (BlockHash::ROOT, chain(name, 5).into());
            Placement { number, endpoint: endpoint(at), incarnation, anchor, suffix }
        });
        let idle = (0..3).map(|at| (endpoint(at), Load::default())).collect();
        let batch = partial_batch(1, number, idle, placement.into_iter().collect());
        pool.handle(1_000, PoolInput::Feedback(Feedback { usage, ..batch }));
    };
    // The first and the second endpoint have lost 300 prompts each, the third only 10.
    let lost = [300, 300, 10];
    for (at, count) in lost.into_iter().enumerate() {
        (1..=count).for_each(|name| send(&mut pool, Some((at, name)), Vec::new()));
        send(&mut pool, Some((at, count)), Vec::new());
    }
    let report = |(at, count): (usize, u64)| UsageReport {
        endpoint: endpoint(at),
        incarnation,
        last_block: chain(count, 5)[4],
        held_blocks: 5,
        cached_blocks: Some(0),
        ..usage("m", 0, 0)
    };
    send(&mut pool, None, lost.into_iter().enumerate().map(report).collect());
    let evicted = |pool: &Pool| {
        [0, 1, 2]
            .map(|at| lost[at] as usize - pool.pool_state().index_writer().placed_blocks(endpoint(at)) / 5)
    };
    let first = evicted(&pool);
    assert!(first.iter().sum::<usize>() <= 256, "{first:?}");
    assert!(first[0] > 80 && first[1] > 80, "both proceed: {first:?}");
    (0..2).for_each(|_| drop(pool.handle(1_000, PoolInput::Tick)));
    assert_eq!([299, 299, 9], evicted(&pool), "the last prompt was placed again");
}

#[test]
fn mean_error_is_published_and_forgotten_with_a_restart() {
    let (mut pool, generation) = assigned_pool();
    let start = |incarnation| Update { incarnation: Incarnation(incarnation), ..running(0) };
    report(&mut pool, 1, CollectorStream(1), generation, start(5));
    let mut scenario = Scenario { pool, now_ms: 1_000, batch: 0, prefills: 0 };
    assert_eq!(None, scenario.accuracy().mean_error_tokens);
    for _ in 0..100 {
        scenario.report_usage(1, 10, (500, 300));
    }
    scenario.tick(50);
    assert_eq!(Some(200), scenario.accuracy().mean_error_tokens);
    let mut follower = StateReplica::default();
    catch_up(&mut follower, &scenario.pool);
    assert_eq!(Contents::of(scenario.pool.pool_state()), Contents::of(follower.pool_state()));
    report(&mut scenario.pool, 1_100, CollectorStream(1), generation, start(6));
    scenario.tick(50);
    assert_eq!(CacheAccuracy::default(), scenario.accuracy());
}
