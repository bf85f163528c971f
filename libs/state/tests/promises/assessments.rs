//! What the owner makes of endpoints by what came of requests: rates, circuits, ramps, adapters.

use std::sync::Arc;

use proptest::prelude::{prop_assert, proptest};
use signalbox_state::{
    AdapterLocation, AdapterResidency, Assessment, Circuit, CollectorStream, DecodeObservation, Feedback,
    Pool, PoolInput, ResponseOutcome, ResponseReport, Update,
};
use signalbox_types::{Adapters, EndpointKey, Incarnation, Rates};

use crate::feedback::changed;
use crate::reports::{read_pool, running, say};
use crate::support::{config, endpoint, endpoint_spec, pool_of, pool_spec};

const STREAM: CollectorStream = CollectorStream(1);
const BEGAN: ResponseOutcome = ResponseOutcome::FirstOutput { work_tokens: 4_000, elapsed_us: 1_006_000 };

fn assessment(pool: &Pool, at: EndpointKey) -> Assessment {
    pool.pool_state().member(at).unwrap().assessment
}

fn answer(pool: &mut Pool, now_ms: u64, origin: u64, seq: u64, answered: ResponseOutcome) {
    let responses = vec![ResponseReport { endpoint: endpoint(0), answered }];
    pool.fold(
        now_ms,
        PoolInput::Feedback(Feedback { responses, ..changed(origin, seq, Vec::new(), Vec::new()) }),
    );
}

#[test]
fn rates_are_learnt_from_the_answers_of_all_replicas_and_from_what_the_endpoint_tells() {
    let (mut pool, generation) = read_pool();
    for seq in 0..40 {
        answer(&mut pool, seq, seq % 3, seq, BEGAN);
        let decode = Some(DecodeObservation { inter_token_us: 20_000, running_milli: 4_000 });
        say(&mut pool, seq, STREAM, generation, Update { decode, ..running(4) });
    }
    pool.fold(100, PoolInput::Tick);
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } =
        assessment(&pool, endpoint(0)).rates;
    assert!(prefill_tokens_per_second.abs_diff(4_000) < 300, "{prefill_tokens_per_second}");
    let at_four = decode_token_us + 4 * decode_interference_us;
    assert!(at_four.abs_diff(20_000) < 2_500, "{at_four}");
}

#[test]
fn a_newcomer_is_taken_to_be_as_fast_as_the_others() {
    let mut pool = pool_of(1, config());
    (0..40).for_each(|seq| answer(&mut pool, seq, 1, seq, BEGAN));
    pool.fold(100, PoolInput::Tick);
    pool.fold(100, PoolInput::Spec(pool_spec([endpoint_spec(0, 0), endpoint_spec(1, 0)])));
    assert_eq!(assessment(&pool, endpoint(0)).rates, assessment(&pool, endpoint(1)).rates);
    assert_ne!(Rates::default(), assessment(&pool, endpoint(1)).rates);
}

#[test]
fn failures_that_different_replicas_see_break_the_circuit_at_once() {
    let mut pool = pool_of(2, config());
    (0..5).for_each(|seq| answer(&mut pool, 10, seq % 2, seq, ResponseOutcome::Failed));
    assert_eq!(Circuit::Broken, assessment(&pool, endpoint(0)).circuit);
    assert_eq!(Circuit::Sound, assessment(&pool, endpoint(1)).circuit);
    pool.fold(1_009, PoolInput::Tick);
    assert_eq!(Circuit::Broken, assessment(&pool, endpoint(0)).circuit);
    pool.fold(1_010, PoolInput::Tick);
    assert_eq!(Circuit::Probing, assessment(&pool, endpoint(0)).circuit);
    answer(&mut pool, 1_100, 1, 9, BEGAN);
    assert_eq!(Circuit::Sound, assessment(&pool, endpoint(0)).circuit);
}

#[test]
fn a_server_that_was_started_anew_is_sound_and_new_again() {
    let (mut pool, generation) = read_pool();
    say(&mut pool, 0, STREAM, generation, running(0));
    (0..5).for_each(|seq| answer(&mut pool, 10, 1, seq, ResponseOutcome::Failed));
    pool.fold(11_000, PoolInput::Tick);
    assert_eq!(0, assessment(&pool, endpoint(0)).ramp_percent);
    say(&mut pool, 11_000, STREAM, generation, Update { incarnation: Incarnation(8), ..running(0) });
    pool.fold(11_001, PoolInput::Tick);
    let Assessment { circuit, ramp_percent, .. } = assessment(&pool, endpoint(0));
    assert_eq!((Circuit::Sound, 100), (circuit, ramp_percent));
}

#[test]
fn the_ramp_falls_in_steps_from_the_first_reading_on() {
    let (mut pool, generation) = read_pool();
    pool.fold(0, PoolInput::Tick);
    assert_eq!(100, assessment(&pool, endpoint(0)).ramp_percent);
    say(&mut pool, 1_000, STREAM, generation, running(0));
    for (now_ms, percent) in [(1_100, 100), (3_500, 75), (6_000, 50), (8_600, 25), (11_000, 0)] {
        pool.fold(now_ms, PoolInput::Tick);
        assert_eq!(percent, assessment(&pool, endpoint(0)).ramp_percent, "{now_ms}");
    }
}

fn names(text: &str) -> Vec<Arc<str>> {
    text.split_whitespace().map(Arc::from).collect()
}

fn tell(pool: &mut Pool, generation: signalbox_types::Generation, running_adapters: &str) {
    let adapters = Adapters { slots: 2, running: names(running_adapters), waiting: Vec::new() };
    say(pool, 0, STREAM, generation, Update { adapters: Some(Arc::new(adapters)), ..running(0) });
}

fn send(pool: &mut Pool, seq: u64, adapter: &str) {
    let adapters = vec![(endpoint(0), Arc::from(adapter))];
    pool.fold(0, PoolInput::Feedback(Feedback { adapters, ..changed(1, seq, Vec::new(), Vec::new()) }));
}

fn residency(pool: &Pool) -> AdapterResidency {
    pool.pool_state().member(endpoint(0)).unwrap().adapters.as_deref().cloned().unwrap_or_default()
}

#[test]
fn adapters_are_placed_by_what_is_told_and_by_what_is_sent() {
    let (mut pool, generation) = read_pool();
    tell(&mut pool, generation, "a");
    tell(&mut pool, generation, "b");
    tell(&mut pool, generation, "");
    assert_eq!(names("a b"), residency(&pool).device);
    tell(&mut pool, generation, "c");
    assert_eq!(AdapterLocation::Host, residency(&pool).place_of("a"));
    send(&mut pool, 1, "a");
    assert_eq!(AdapterLocation::Device, residency(&pool).place_of("a"));
    assert_eq!(AdapterLocation::Host, residency(&pool).place_of("b"));
}

#[test]
fn a_model_that_no_endpoint_tells_of_as_an_adapter_is_none() {
    let (mut pool, generation) = read_pool();
    tell(&mut pool, generation, "a");
    send(&mut pool, 1, "base-model");
    assert_eq!(AdapterLocation::Absent, residency(&pool).place_of("base-model"));
}

proptest! {
    #[test]
    fn whatever_comes_an_endpoint_has_usable_rates(
        responses in proptest::collection::vec((proptest::num::u64::ANY, proptest::num::u64::ANY), 1..40),
    ) {
        let mut pool = pool_of(1, config());
        for (seq, (work_tokens, elapsed_us)) in responses.into_iter().enumerate() {
            answer(&mut pool, 0, 1, seq as u64, ResponseOutcome::FirstOutput { work_tokens, elapsed_us });
            pool.fold(seq as u64 * 50, PoolInput::Tick);
            prop_assert!(assessment(&pool, endpoint(0)).rates.prefill_tokens_per_second >= 1);
        }
    }
}
