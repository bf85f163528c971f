//! What teaches the owner how fast endpoints are.

use proptest::prelude::{prop_assert, proptest};
use signalbox_state::{
    CollectorStream, DecodeObservation, Feedback, Pool, PoolEffect, PoolInput, Report, Update, UsageReport,
};
use signalbox_types::{Generation, Incarnation, ModelKey, Rates};

use crate::feedback::partial_batch;
use crate::fixtures::{config, endpoint, endpoint_spec, pool_of, pool_spec};
use crate::reports::{assigned_pool, report, running};

const STREAM: CollectorStream = CollectorStream(1);

fn rates(pool: &Pool, at: usize) -> Rates {
    pool.pool_state().endpoint(endpoint(at)).unwrap().assessment.rates
}

fn prefill_rate(pool: &Pool, at: usize) -> u32 {
    rates(pool, at).prefill_tokens_per_second
}

/// The usage of a prompt that the replica believed to be uncached.
fn usage(at: usize, prompt_tokens: u64, elapsed_us: u64) -> UsageReport {
    UsageReport {
        predicted_tokens: prompt_tokens,
        prompt_tokens: Some(prompt_tokens),
        cached_tokens: Some(0),
        sole_prefill_us: Some(elapsed_us),
        ..UsageReport::new(endpoint(at), Incarnation::default(), ModelKey(1))
    }
}

fn without_usage(at: usize, predicted_tokens: u64, elapsed_us: u64) -> UsageReport {
    let usage = usage(at, predicted_tokens, elapsed_us);
    UsageReport { prompt_tokens: None, cached_tokens: None, ..usage }
}

fn send(pool: &mut Pool, seq: u64, usage: UsageReport) {
    let batch = Feedback { usage: vec![usage], ..partial_batch(seq % 3, seq, Vec::new(), Vec::new()) };
    pool.handle(seq, PoolInput::Feedback(batch));
    pool.handle(seq, PoolInput::Tick);
}

/// Returns a pool of three endpoints with the generations of their assignments.
fn pool_of_three() -> (Pool, Vec<Generation>) {
    let mut pool = pool_of(3, config());
    let effects = pool.handle(0, PoolInput::CollectorJoined(STREAM, "one".to_owned()));
    let assigned = effects.into_iter().find_map(|effect| match effect {
        PoolEffect::Assign(_, assigned) => Some(assigned),
        _ => None,
    });
    let assigned = assigned.unwrap();
    let generation = |at: usize| assigned.iter().find(|one| one.endpoint == endpoint(at)).unwrap().generation;
    (pool, (0..3).map(generation).collect())
}

/// Sends usage of each of the endpoints in turn, at these rates.
fn serve(pool: &mut Pool, first_seq: u64, rates: &[u64]) {
    for round in 0..40_u64 {
        for (at, rate) in rates.iter().enumerate() {
            let seq = first_seq + round * rates.len() as u64 + at as u64;
            send(pool, seq, usage(at, 4_000, 4_000 * 1_000_000 / rate + 6_000));
        }
    }
}

#[test]
fn rates_are_estimated_from_usage_of_all_replicas_and_decode_reports() {
    let (mut pool, generation) = assigned_pool();
    for seq in 0..40 {
        send(&mut pool, seq, UsageReport { incarnation: Incarnation(7), ..usage(0, 4_000, 1_006_000) });
        let decode = Some(DecodeObservation { inter_token_us: 20_000, running_milli: 4_000 });
        report(&mut pool, seq, STREAM, generation, Update { decode, ..running(4) });
    }
    pool.handle(100, PoolInput::Tick);
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } = rates(&pool, 0);
    assert!(prefill_tokens_per_second.abs_diff(4_000) < 300, "{prefill_tokens_per_second}");
    let at_four = decode_token_us + 4 * decode_interference_us;
    assert!(at_four.abs_diff(20_000) < 2_500, "{at_four}");
}

#[test]
fn new_endpoint_starts_with_the_typical_rates() {
    let mut pool = pool_of(1, config());
    serve(&mut pool, 0, &[4_000]);
    pool.handle(100, PoolInput::Spec(pool_spec([endpoint_spec(0, 0), endpoint_spec(1, 0)])));
    assert_eq!(rates(&pool, 0), rates(&pool, 1));
    assert_ne!(Rates::default(), rates(&pool, 1));
}

#[test]
fn mixed_accelerators_are_told_apart() {
    let mut pool = pool_of(4, config());
    serve(&mut pool, 0, &[20_000, 20_000, 5_000, 5_000]);
    let found: Vec<_> = (0..4).map(|at| prefill_rate(&pool, at)).collect();
    assert_eq!((found[0], found[2]), (found[1], found[3]), "equal ones are equal");
    assert!(found[0].abs_diff(20_000) < 3_000 && found[2].abs_diff(5_000) < 800, "{found:?}");
}

#[test]
fn a_warm_engine_behind_a_cold_picker_gains_nothing() {
    let mut pool = pool_of(2, config());
    for seq in 0..200 {
        let served = usage(0, 30_000, 90_000);
        send(&mut pool, seq, UsageReport { cached_tokens: Some(29_400), ..served });
    }
    assert_eq!(rates(&pool, 1), rates(&pool, 0), "600 tokens were processed, not 30,000");
    for seq in 200..400 {
        send(&mut pool, seq, without_usage(0, 30_000, 90_000));
    }
    assert_eq!(rates(&pool, 1), rates(&pool, 0), "the engine tells no usage");
}

#[test]
fn five_images_whose_weight_was_overestimated_gain_nothing() {
    for reported in [Some(1_600), None] {
        let mut pool = pool_of(2, config());
        for seq in 0..5 {
            let image = UsageReport { predicted_tokens: 250_020, ..usage(0, 1_600, 206_000) };
            send(
                &mut pool,
                seq,
                UsageReport { prompt_tokens: reported, cached_tokens: reported.map(|_| 0), ..image },
            );
        }
        assert_eq!(rates(&pool, 1), rates(&pool, 0), "{reported:?}");
    }
}

#[test]
fn one_long_prompt_counts_no_more_than_all_that_is_known() {
    let mut pool = pool_of(2, config());
    serve(&mut pool, 0, &[8_000, 8_000]);
    for at in 0..2 {
        send(&mut pool, 100 + at as u64, usage(at, 200_000, 100_006_000));
    }
    let found = prefill_rate(&pool, 0);
    assert!(found > 3_100, "the mean of 8,000 and 2,000 tokens/s over equal work is 3,200, not {found}");
}

#[test]
fn absent_cached_tokens_are_zero_once_the_engine_has_told_some() {
    let uncached = |at| UsageReport { cached_tokens: None, ..usage(at, 4_000, 2_000_000) };
    let mut pool = pool_of(1, config());
    (0..40).for_each(|seq| send(&mut pool, seq, uncached(0)));
    assert_eq!(Rates::default(), rates(&pool, 0), "all that is known is a prediction");
    send(&mut pool, 40, UsageReport { cached_tokens: Some(3_900), ..uncached(0) });
    (41..80).for_each(|seq| send(&mut pool, seq, uncached(0)));
    assert!(prefill_rate(&pool, 0).abs_diff(2_000) < 300, "{}", prefill_rate(&pool, 0));
}

#[test]
fn predictions_move_a_rate_within_what_endpoints_of_the_kind_show() {
    let mut pool = pool_of(2, config());
    serve(&mut pool, 0, &[4_000]);
    (40..400).for_each(|seq| send(&mut pool, seq, without_usage(1, 40_000, 40_000_000)));
    let (shown, found) = (prefill_rate(&pool, 0), prefill_rate(&pool, 1));
    assert!(found < 8_000 * 3 / 4 && found >= shown, "{shown} {found}");
}

#[test]
fn usage_of_an_earlier_incarnation_teaches_nothing() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 0, STREAM, generation, Update { incarnation: Incarnation(8), ..running(0) });
    (0..40).for_each(|seq| {
        send(&mut pool, seq, UsageReport { incarnation: Incarnation(7), ..usage(0, 4_000, 4_000_000) });
    });
    assert_eq!(Rates::default(), rates(&pool, 0));
}

#[test]
fn one_endpoint_cannot_make_itself_the_fastest() {
    let mut pool = pool_of(4, config());
    for seq in 0..400 {
        send(&mut pool, seq, usage(0, 50_000, 1_000));
    }
    assert_eq!(prefill_rate(&pool, 1), prefill_rate(&pool, 0));
}

#[test]
fn a_faster_endpoint_counts_as_such_when_another_is_as_fast_or_it_decodes_faster() {
    let mut pool = pool_of(4, config());
    serve(&mut pool, 0, &[30_000, 30_000]);
    assert!(prefill_rate(&pool, 0).abs_diff(30_000) < 4_000, "{}", prefill_rate(&pool, 0));
    let (mut pool, generations) = pool_of_three();
    for seq in 0..200 {
        for (at, generation) in generations.iter().enumerate() {
            let inter_token_us = if at == 0 { 5_000 } else { 12_000 };
            let decode = Some(DecodeObservation { inter_token_us, running_milli: 4_000 });
            let update = Update { decode, ..running(4) };
            let report = Report { endpoint: endpoint(at), generation: *generation, age_ms: 0, update };
            pool.handle(seq, PoolInput::Reports(STREAM, vec![report]));
        }
        send(&mut pool, seq, UsageReport { incarnation: Incarnation(7), ..usage(0, 6_000, 206_000) });
    }
    assert!(prefill_rate(&pool, 0) > 20_000, "{}", prefill_rate(&pool, 0));
    let published = rates(&pool, 0);
    let mut pool = Pool::inherit(2, config(), pool.into_replica(), 1_000);
    pool.handle(1_050, PoolInput::Tick);
    assert_eq!(published, rates(&pool, 0), "the next owner believes it before the next window of decoding");
}

proptest! {
    #[test]
    fn rates_are_usable_after_any_usage(
        reports in proptest::collection::vec(proptest::prelude::any::<(u64, Option<u64>, Option<u64>, Option<u64>)>(), 1..40),
    ) {
        let mut pool = pool_of(1, config());
        for (seq, (predicted_tokens, prompt_tokens, cached_tokens, sole_prefill_us)) in reports.into_iter().enumerate() {
            let usage = UsageReport { predicted_tokens, prompt_tokens, cached_tokens, sole_prefill_us, ..usage(0, 0, 0) };
            send(&mut pool, seq as u64, usage);
            let Rates { prefill_tokens_per_second, .. } = rates(&pool, 0);
            prop_assert!(prefill_tokens_per_second >= 1);
        }
    }
}
