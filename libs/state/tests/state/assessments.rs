//! The owner assesses endpoints by the outcomes of their requests: rates, circuit breakers, ramps, adapters.

use std::sync::Arc;

use proptest::prelude::{prop_assert, proptest};
use signalbox_state::{
    AdapterLocation, AdapterResidency, Assessment, Circuit, CollectorStream, DecodeObservation, Feedback,
    Pool, PoolInput, ResponseOutcome, ResponseReport, Update,
};
use signalbox_types::{Adapters, EndpointKey, Incarnation, Rates};

use crate::feedback::partial_batch;
use crate::fixtures::{config, endpoint, endpoint_spec, pool_of, pool_spec};
use crate::reports::{assigned_pool, report, running};

const STREAM: CollectorStream = CollectorStream(1);
const FIRST_OUTPUT: ResponseOutcome =
    ResponseOutcome::FirstOutput { work_tokens: 4_000, elapsed_us: 1_006_000 };

fn assessment(pool: &Pool, at: EndpointKey) -> Assessment {
    pool.pool_state().endpoint(at).unwrap().assessment
}

fn send_response(pool: &mut Pool, now_ms: u64, origin: u64, seq: u64, outcome: ResponseOutcome) {
    let responses = vec![ResponseReport { endpoint: endpoint(0), outcome }];
    pool.handle(
        now_ms,
        PoolInput::Feedback(Feedback { responses, ..partial_batch(origin, seq, Vec::new(), Vec::new()) }),
    );
}

#[test]
fn rates_are_estimated_from_responses_of_all_replicas_and_decode_reports() {
    let (mut pool, generation) = assigned_pool();
    for seq in 0..40 {
        send_response(&mut pool, seq, seq % 3, seq, FIRST_OUTPUT);
        let decode = Some(DecodeObservation { inter_token_us: 20_000, running_milli: 4_000 });
        report(&mut pool, seq, STREAM, generation, Update { decode, ..running(4) });
    }
    pool.handle(100, PoolInput::Tick);
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } =
        assessment(&pool, endpoint(0)).rates;
    assert!(prefill_tokens_per_second.abs_diff(4_000) < 300, "{prefill_tokens_per_second}");
    let at_four = decode_token_us + 4 * decode_interference_us;
    assert!(at_four.abs_diff(20_000) < 2_500, "{at_four}");
}

#[test]
fn new_endpoint_starts_with_the_typical_rates() {
    let mut pool = pool_of(1, config());
    (0..40).for_each(|seq| send_response(&mut pool, seq, 1, seq, FIRST_OUTPUT));
    pool.handle(100, PoolInput::Tick);
    pool.handle(100, PoolInput::Spec(pool_spec([endpoint_spec(0, 0), endpoint_spec(1, 0)])));
    assert_eq!(assessment(&pool, endpoint(0)).rates, assessment(&pool, endpoint(1)).rates);
    assert_ne!(Rates::default(), assessment(&pool, endpoint(1)).rates);
}

#[test]
fn failures_seen_by_different_replicas_open_the_circuit_at_once() {
    let mut pool = pool_of(2, config());
    (0..5).for_each(|seq| send_response(&mut pool, 10, seq % 2, seq, ResponseOutcome::Failed));
    assert_eq!(Circuit::Open, assessment(&pool, endpoint(0)).circuit);
    assert_eq!(Circuit::Closed, assessment(&pool, endpoint(1)).circuit);
    pool.handle(1_009, PoolInput::Tick);
    assert_eq!(Circuit::Open, assessment(&pool, endpoint(0)).circuit);
    pool.handle(1_010, PoolInput::Tick);
    assert_eq!(Circuit::HalfOpen, assessment(&pool, endpoint(0)).circuit);
    send_response(&mut pool, 1_100, 1, 9, FIRST_OUTPUT);
    assert_eq!(Circuit::Closed, assessment(&pool, endpoint(0)).circuit);
}

#[test]
fn restart_closes_the_circuit_and_resets_the_ramp() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 0, STREAM, generation, running(0));
    (0..5).for_each(|seq| send_response(&mut pool, 10, 1, seq, ResponseOutcome::Failed));
    pool.handle(11_000, PoolInput::Tick);
    assert_eq!(0, assessment(&pool, endpoint(0)).ramp_percent);
    report(&mut pool, 11_000, STREAM, generation, Update { incarnation: Incarnation(8), ..running(0) });
    pool.handle(11_001, PoolInput::Tick);
    let Assessment { circuit, ramp_percent, .. } = assessment(&pool, endpoint(0));
    assert_eq!((Circuit::Closed, 100), (circuit, ramp_percent));
}

#[test]
fn ramp_decreases_in_steps_from_the_first_sample() {
    let (mut pool, generation) = assigned_pool();
    pool.handle(0, PoolInput::Tick);
    assert_eq!(100, assessment(&pool, endpoint(0)).ramp_percent);
    report(&mut pool, 1_000, STREAM, generation, running(0));
    for (now_ms, percent) in [(1_100, 100), (3_500, 75), (6_000, 50), (8_600, 25), (11_000, 0)] {
        pool.handle(now_ms, PoolInput::Tick);
        assert_eq!(percent, assessment(&pool, endpoint(0)).ramp_percent, "{now_ms}");
    }
}

fn names(text: &str) -> Vec<Arc<str>> {
    text.split_whitespace().map(Arc::from).collect()
}

fn report_adapters(pool: &mut Pool, generation: signalbox_types::Generation, running_adapters: &str) {
    let adapters = Adapters { slots: 2, running: names(running_adapters), waiting: Vec::new() };
    report(pool, 0, STREAM, generation, Update { adapters: Some(Arc::new(adapters)), ..running(0) });
}

fn send_adapter_use(pool: &mut Pool, seq: u64, adapter: &str) {
    let adapters = vec![(endpoint(0), Arc::from(adapter))];
    pool.handle(
        0,
        PoolInput::Feedback(Feedback { adapters, ..partial_batch(1, seq, Vec::new(), Vec::new()) }),
    );
}

fn residency(pool: &Pool) -> AdapterResidency {
    pool.pool_state().endpoint(endpoint(0)).unwrap().adapters.as_deref().cloned().unwrap_or_default()
}

#[test]
fn adapter_residency_follows_reports_and_requests() {
    let (mut pool, generation) = assigned_pool();
    report_adapters(&mut pool, generation, "a");
    report_adapters(&mut pool, generation, "b");
    report_adapters(&mut pool, generation, "");
    assert_eq!(names("a b"), residency(&pool).device);
    report_adapters(&mut pool, generation, "c");
    assert_eq!(AdapterLocation::Host, residency(&pool).location_of("a"));
    send_adapter_use(&mut pool, 1, "a");
    assert_eq!(AdapterLocation::Device, residency(&pool).location_of("a"));
    assert_eq!(AdapterLocation::Host, residency(&pool).location_of("b"));
}

#[test]
fn model_that_no_endpoint_reports_as_an_adapter_is_absent() {
    let (mut pool, generation) = assigned_pool();
    report_adapters(&mut pool, generation, "a");
    send_adapter_use(&mut pool, 1, "base-model");
    assert_eq!(AdapterLocation::Absent, residency(&pool).location_of("base-model"));
}

proptest! {
    #[test]
    fn rates_are_usable_after_any_responses(
        responses in proptest::collection::vec((proptest::num::u64::ANY, proptest::num::u64::ANY), 1..40),
    ) {
        let mut pool = pool_of(1, config());
        for (seq, (work_tokens, elapsed_us)) in responses.into_iter().enumerate() {
            send_response(&mut pool, 0, 1, seq as u64, ResponseOutcome::FirstOutput { work_tokens, elapsed_us });
            pool.handle(seq as u64 * 50, PoolInput::Tick);
            prop_assert!(assessment(&pool, endpoint(0)).rates.prefill_tokens_per_second >= 1);
        }
    }
}
