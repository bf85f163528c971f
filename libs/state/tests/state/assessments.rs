//! The owner assesses endpoints by the outcomes of their requests: circuit breakers, ramps, adapters.

use std::sync::Arc;

use signalbox_state::{
    AdapterLocation, AdapterResidency, Assessment, Circuit, CollectorStream, Feedback, Pool, PoolInput,
    ResponseOutcome, ResponseReport, Update,
};
use signalbox_types::{Adapters, EndpointKey, Incarnation, ModelKey};

use crate::feedback::partial_batch;
use crate::fixtures::{config, endpoint, pool_of};
use crate::reports::{assigned_pool, report, running};

const STREAM: CollectorStream = CollectorStream(1);
fn assessment(pool: &Pool, at: EndpointKey) -> Assessment {
    pool.pool_state().endpoint(at).unwrap().assessment.clone()
}

fn send_response(pool: &mut Pool, now_ms: u64, origin: u64, seq: u64, outcome: ResponseOutcome) {
    let responses = vec![ResponseReport { endpoint: endpoint(0), model: ModelKey(1), outcome }];
    pool.handle(
        now_ms,
        PoolInput::Feedback(Feedback { responses, ..partial_batch(origin, seq, Vec::new(), Vec::new()) }),
    );
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
    assert!(matches!(assessment(&pool, endpoint(0)).circuit, Circuit::HalfOpen(Some(_))));
    send_response(&mut pool, 1_100, 1, 9, ResponseOutcome::FirstOutput);
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
    let adapters = Adapters { slots: 2, running: names(running_adapters), ..Adapters::default() };
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
