//! What must hold for requests with LoRA adapters.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::properties::{arrival, drain, engine, small, usage_of};
use super::{AdapterId, Arrival, Effect, Engine, Input, RequestId};
use crate::config::ModelConfig;

const SLOTS: u32 = 2;

fn config() -> ModelConfig {
    ModelConfig { max_loras: SLOTS, max_cpu_loras: Some(3), ..small() }
}

/// Prompts of different adapters share nothing.
fn asking(id: RequestId, adapter: Option<AdapterId>, prompt_tokens: u32, output_tokens: u32) -> Arrival {
    let family = adapter.map_or(0, |adapter| u64::from(adapter) + 1);
    Arrival { adapter, ..arrival(id, family, prompt_tokens, Some(output_tokens)) }
}

#[derive(Debug, Clone)]
struct Ask {
    gap_us: u64,
    adapter: Option<AdapterId>,
    prompt_tokens: u32,
    output_tokens: u32,
    /// Cancels the request that came so many before.
    cancel_back: Option<u64>,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let one = (0u64..200_000, 0u32..6, 1u32..40, 1u32..30, proptest::option::weighted(0.1, 0u64..6))
        .prop_map(|(gap_us, adapter, prompt_tokens, output_tokens, cancel_back)| Ask {
            gap_us,
            adapter: adapter.checked_sub(1),
            prompt_tokens,
            output_tokens,
            cancel_back,
        });
    proptest::collection::vec(one, 1..60)
}

fn assert_within_slots(engine: &Engine) {
    let reading = engine.adapters();
    let running: BTreeSet<AdapterId> = engine.running.iter().filter_map(|request| request.adapter).collect();
    assert!(running.len() <= SLOTS as usize, "{reading:?}");
    assert!(running.iter().all(|adapter| reading.resident.contains(adapter)), "{reading:?}");
    assert!(reading.resident.len() <= SLOTS as usize && reading.host.len() <= 3, "{reading:?}");
}

proptest! {
    #[test]
    fn a_batch_never_has_more_adapters_than_slots_and_every_request_ends(script in asks()) {
        let (mut engine, mut effects) = (engine(config()), Vec::new());
        let (mut now_us, mut cancelled) = (0, BTreeSet::new());
        for (id, ask) in (0..).zip(&script) {
            now_us += ask.gap_us;
            // Every pass on the way is looked at.
            while let Some(at_us) = engine.next_wakeup_us().filter(|at_us| *at_us <= now_us) {
                engine.step(at_us, Input::Tick, &mut effects);
                assert_within_slots(&engine);
            }
            let arrival = asking(id, ask.adapter, ask.prompt_tokens, ask.output_tokens);
            engine.step(now_us, Input::Arrive(arrival), &mut effects);
            if let Some(victim) = ask.cancel_back.map(|back| id.saturating_sub(back)) {
                cancelled.insert(victim);
                engine.step(now_us, Input::Cancel(victim), &mut effects);
            }
            assert_within_slots(&engine);
        }
        while let Some(at_us) = engine.next_wakeup_us() {
            engine.step(at_us, Input::Tick, &mut effects);
            assert_within_slots(&engine);
        }
        let finished = usage_of(&effects);
        for (id, ask) in (0..).zip(&script) {
            match finished.get(&id) {
                Some(usage) => prop_assert_eq!(usage.output_tokens, ask.output_tokens),
                None => prop_assert!(cancelled.contains(&id), "{} never ended", id),
            }
        }
        let reading = engine.adapters();
        prop_assert!(reading.running.is_empty() && reading.waiting.is_empty());
        prop_assert_eq!(engine.stats().used_blocks, 0);
    }

    #[test]
    fn a_late_caller_sees_what_a_punctual_one_sees(script in asks()) {
        let (mut punctual, mut late) = (engine(config()), engine(config()));
        let (mut on_time, mut afterwards, mut now_us) = (Vec::new(), Vec::new(), 0);
        for (id, ask) in (0..).zip(&script) {
            now_us += ask.gap_us;
            while let Some(at_us) = punctual.next_wakeup_us().filter(|at_us| *at_us <= now_us) {
                punctual.step(at_us, Input::Tick, &mut on_time);
            }
            let arrival = asking(id, ask.adapter, ask.prompt_tokens, ask.output_tokens);
            punctual.step(now_us, Input::Arrive(arrival.clone()), &mut on_time);
            late.step(now_us, Input::Arrive(arrival), &mut afterwards);
        }
        drain(&mut punctual, &mut on_time);
        late.step(u64::MAX, Input::Tick, &mut afterwards);
        prop_assert_eq!(on_time, afterwards);
    }

    #[test]
    fn with_no_time_to_load_and_a_slot_for_each_adapters_change_nothing(script in asks()) {
        let config = ModelConfig { max_loras: 8, lora_disk_load_us: 0, ..small() };
        let (mut with, mut without) = (engine(config.clone()), engine(config));
        let (mut some, mut none, mut now_us) = (Vec::new(), Vec::new(), 0);
        for (id, ask) in (0..).zip(&script) {
            now_us += ask.gap_us;
            let arrival = asking(id, ask.adapter, ask.prompt_tokens, ask.output_tokens);
            with.step(now_us, Input::Arrive(arrival.clone()), &mut some);
            without.step(now_us, Input::Arrive(Arrival { adapter: None, ..arrival }), &mut none);
        }
        drain(&mut with, &mut some);
        drain(&mut without, &mut none);
        prop_assert_eq!(some, none);
    }
}

fn first_token_us(effects: &[Effect], wanted: RequestId) -> u64 {
    let first = effects.iter().find_map(|effect| match effect {
        Effect::FirstToken { id, at_us, .. } if *id == wanted => Some(*at_us),
        _ => None,
    });
    first.expect("it was served")
}

#[test]
fn others_go_on_while_an_adapter_is_loaded_and_it_is_loaded_once() {
    let (mut engine, mut effects) = (engine(config()), Vec::new());
    for (id, adapter) in [(1, Some(7)), (2, Some(7)), (3, None)] {
        engine.step(0, Input::Arrive(asking(id, adapter, 8, 2)), &mut effects);
    }
    assert_eq!((engine.adapters().waiting, engine.stats().running), (vec![7], 1));
    drain(&mut engine, &mut effects);
    // A prompt of 8 tokens takes 6,000 + 8 · 125 µs; of the second of the adapter, a block is cached.
    assert_eq!([1, 2, 3].map(|id| first_token_us(&effects, id)), [307_500, 307_500, 7_000]);
    let stats = engine.stats();
    assert_eq!((stats.lora_disk_loads, stats.lora_host_loads), (1, 0));
}

#[test]
fn a_request_that_was_passed_over_is_the_first_to_get_the_slot_that_frees_up() {
    let (mut engine, mut effects) = (engine(config()), Vec::new());
    for adapter in 0..SLOTS {
        engine.step(0, Input::Arrive(asking(u64::from(adapter), Some(adapter), 4, 60)), &mut effects);
    }
    engine.step(400_000, Input::Tick, &mut effects);
    // Passed over by one whose adapter is there; another one without a slot comes after it.
    for (id, adapter) in [(10, 10), (11, 1), (12, 12)] {
        engine.step(400_000, Input::Arrive(asking(id, Some(adapter), 4, 4)), &mut effects);
    }
    drain(&mut engine, &mut effects);
    let [passed_over, passing, last] = [10, 11, 12].map(|id| first_token_us(&effects, id));
    assert!(passing < passed_over && passed_over < last, "{passing} {passed_over} {last}");
    assert_eq!(usage_of(&effects).len(), 5);
}

#[test]
fn the_times_between_tokens_are_counted() {
    let (mut engine, mut effects) = (engine(ModelConfig::default()), Vec::new());
    engine.step(0, Input::Arrive(asking(1, None, 8, 5)), &mut effects);
    engine.step(0, Input::Arrive(asking(2, None, 8, 1)), &mut effects);
    drain(&mut engine, &mut effects);
    let stats = engine.stats();
    // The second request's prompt was computed in the pass between the first two tokens.
    let prefill_us = 8 * 125;
    assert_eq!((stats.inter_token_us_sum, stats.inter_token_count), (4 * 6_350 + prefill_us, 4));
}
