//! The speed that is assumed of an endpoint whose speed no response tells.

use signalbox_state::{CollectorStream, Feedback, FlowReport, Pool, PoolInput, Update, UsageReport};
use signalbox_types::{Capacity, Gauges, Generation, Incarnation, ModelKey};

use crate::feedback::partial_batch;
use crate::fixtures::endpoint;
use crate::granting::waiting;
use crate::reports::{self, assigned_pool, running};

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
        let endpoint_state = self.pool.pool_state().endpoint(endpoint(0)).unwrap();
        endpoint_state.assessment.rates.prefill_tokens_per_second
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
    assert!(after[0] > 60_000 && after.is_sorted() && after[2] <= 2_048_000, "{after:?}");
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
    let usage = UsageReport {
        predicted_tokens: 4_000,
        prompt_tokens: Some(4_000),
        cached_tokens: Some(0),
        sole_prefill_us: Some(500_000),
        ..UsageReport::new(endpoint(0), Incarnation(7), ModelKey(1))
    };
    let batch = Feedback { usage: vec![usage], ..partial_batch(2, 1, Vec::new(), Vec::new()) };
    scenario.pool.handle(scenario.now_ms, PoolInput::Feedback(batch));
    let after = [(); 2].map(|()| scenario.pass_a_second(gauges(0, 0), true));
    assert!(after.iter().all(|rate| rate.abs_diff(8_000) < 400), "{after:?}");
}
