//! The speed that is assumed of an endpoint whose speed no response tells.

use signalbox_state::{CollectorStream, Feedback, FlowReport, Pool, PoolInput, Update, UsageReport};
use signalbox_types::{Capacity, Gauges, Generation, Incarnation, ModelKey};

use crate::feedback::partial_batch;
use crate::fixtures::{config, endpoint, endpoint_spec, pool_spec};
use crate::granting::waiting;
use crate::reports::{self, assigned_pool, generation, running};

const STREAM: CollectorStream = CollectorStream(1);

/// A pool of one endpoint at which so many prompts wait, while requests wait for a grant or not.
struct Scenario {
    pool: Pool,
    generation: Generation,
    now_ms: u64,
    batch: u64,
}

impl Scenario {
    fn new() -> Self {
        let (pool, generation) = assigned_pool();
        Self { pool, generation, now_ms: 1_000, batch: 0 }
    }

    /// Lets a second pass, and returns the speed that is believed then, in tokens per second.
    fn pass_a_second(&mut self, gauges: Gauges, requests_wait: bool) -> u32 {
        for _ in 0..10 {
            self.now_ms += 100;
            self.batch += 1;
            let capacity = Some(Capacity { kv_tokens: 1_000_000 });
            let update = Update { gauges: Some(gauges), capacity, ..running(0) };
            reports::report(&mut self.pool, self.now_ms, STREAM, self.generation, update);
            let requests = if requests_wait { 1_000_000 } else { 0 };
            let backlogs = vec![waiting(0, requests, 80, 0)];
            let flows = FlowReport { backlogs, ..FlowReport::default() };
            let batch = Feedback { flows, ..partial_batch(1, self.batch, Vec::new(), Vec::new()) };
            self.pool.handle(self.now_ms, PoolInput::Feedback(batch));
            self.pool.handle(self.now_ms, PoolInput::Tick);
        }
        self.speed_of(0)
    }

    /// Returns the speed that is believed of an endpoint, in tokens per second.
    fn speed_of(&self, index: usize) -> u32 {
        let endpoint_state = self.pool.pool_state().endpoint(endpoint(index)).unwrap();
        endpoint_state.assessment.rates.prefill_tokens_per_second
    }

    /// Lets another owner take over.
    fn change_owner(self) -> Self {
        let mut pool = Pool::inherit(2, config(), self.pool.into_replica(), self.now_ms);
        pool.handle(self.now_ms, PoolInput::CollectorJoined(STREAM, "one".to_owned()));
        pool.handle(self.now_ms, PoolInput::Spec(pool_spec([endpoint_spec(0, 0)])));
        pool.handle(self.now_ms, PoolInput::StoredSignal(None));
        // Collectors have time to join before endpoints are assigned.
        let now_ms = self.now_ms + 400;
        let effects = pool.handle(now_ms, PoolInput::Tick);
        Self { pool, generation: generation(&effects), now_ms, ..self }
    }

    /// A response tells that the endpoint processes 8,000 tokens per second.
    fn respond(&mut self) {
        self.respond_at(8_000);
    }

    fn respond_at(&mut self, tokens_per_second: u64) {
        self.batch += 1;
        let usage = UsageReport {
            predicted_tokens: 4_000,
            prompt_tokens: Some(4_000),
            cached_tokens: Some(0),
            sole_prefill_us: Some(4_000_000_000 / tokens_per_second),
            ..UsageReport::new(endpoint(0), Incarnation(7), ModelKey(1))
        };
        let batch = Feedback { usage: vec![usage], ..partial_batch(2, self.batch, Vec::new(), Vec::new()) };
        self.pool.handle(self.now_ms, PoolInput::Feedback(batch));
    }
}

fn gauges(waiting: u32, kv_used_ppm: u32) -> Gauges {
    Gauges { waiting, running: Some(10), kv_used_ppm: Some(kv_used_ppm) }
}

/// Otherwise it would never get more than 8,000 tokens per second, however fast it is.
#[test]
fn endpoint_that_takes_at_once_what_it_gets_is_assumed_to_be_faster_while_requests_wait() {
    let mut scenario = Scenario::new();
    assert_eq!(8_000, scenario.pass_a_second(gauges(0, 0), false));
    let after = [(); 3].map(|()| scenario.pass_a_second(gauges(0, 0), true));
    assert!(after[0] > 60_000 && after.is_sorted() && after[2] == 256_000, "{after:?}");
    assert_eq!(after[2], scenario.pass_a_second(gauges(0, 0), false), "nothing shows that it is slower");
}

#[test]
fn prompts_that_wait_at_an_endpoint_take_back_what_was_assumed() {
    let mut scenario = Scenario::new();
    let before = scenario.pass_a_second(gauges(0, 0), true);
    // The next prompt keeps the engine busy.
    assert_eq!(before, scenario.pass_a_second(gauges(1, 0), true));
    let after = [(); 3].map(|()| scenario.pass_a_second(gauges(30, 0), true));
    assert!(after[0] < before && after[2] < after[0], "{before}, {after:?}");
}

/// Its KV cache limits what it takes, not its speed.
#[test]
fn full_kv_cache_says_nothing_of_the_speed() {
    assert_eq!(8_000, Scenario::new().pass_a_second(gauges(0, 980_000), true));
}

#[test]
fn what_responses_tell_counts_whatever_waits() {
    let mut scenario = Scenario::new();
    scenario.pass_a_second(gauges(0, 0), true);
    scenario.respond();
    let after = [(); 2].map(|()| scenario.pass_a_second(gauges(0, 0), true));
    assert!(after.iter().all(|rate| rate.abs_diff(8_000) < 400), "{after:?}");
}

#[test]
fn next_owner_goes_on_from_what_is_assumed() {
    let mut scenario = Scenario::new();
    let before = scenario.pass_a_second(gauges(0, 0), true);
    let mut scenario = scenario.change_owner();
    let inherited = scenario.pass_a_second(gauges(1, 0), true);
    assert!((before..=256_000).contains(&inherited), "{before}, {inherited}");
    let after = [(); 4].map(|()| scenario.pass_a_second(gauges(30, 0), true));
    assert!(after[3] < before, "it would keep what may be too much: {before}, {after:?}");
    scenario.respond();
    let told = scenario.pass_a_second(gauges(0, 0), true);
    assert!(told.abs_diff(8_000) < 400, "{told}");
}

#[test]
fn speed_that_an_earlier_owner_has_measured_is_not_corrected() {
    let mut scenario = Scenario::new();
    scenario.pass_a_second(gauges(0, 0), false);
    (0..50).for_each(|_| scenario.respond_at(20_000));
    let before = scenario.pass_a_second(gauges(0, 0), false);
    assert!(before > 9_000, "{before}");
    let mut scenario = scenario.change_owner();
    assert_eq!(before, scenario.pass_a_second(gauges(0, 0), true));
}

/// Otherwise the signal would ask for too few replicas.
#[test]
fn assumed_speed_is_no_measured_capacity() {
    let mut scenario = Scenario::new();
    scenario.pass_a_second(gauges(0, 0), true);
    let mut scenario = scenario.change_owner();
    scenario.pass_a_second(gauges(0, 0), true);
    scenario.pass_a_second(gauges(0, 0), true);
    let signal = scenario.pool.pool_state().signal().expect("the pool was assessed");
    assert!(signal.groups.iter().all(|group| group.capacity.is_none()), "{signal:?}");
}

/// A higher speed would attract the requests of the others.
#[test]
fn new_endpoint_is_assumed_to_be_as_fast_as_the_others() {
    let mut scenario = Scenario::new();
    scenario.pass_a_second(gauges(0, 0), true);
    let spec = pool_spec([endpoint_spec(0, 0), endpoint_spec(1, 0)]);
    scenario.pool.handle(scenario.now_ms, PoolInput::Spec(spec));
    let after = scenario.pass_a_second(gauges(0, 0), true);
    assert_eq!((256_000, 256_000), (after, scenario.speed_of(1)));
}
