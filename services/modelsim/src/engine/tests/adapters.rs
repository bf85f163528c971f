//! Requests with LoRA adapters.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{arrival, drain, engine, small, usage_of};
use crate::engine::{AdapterId, Arrival, Effect, Engine, Input, ModelConfig, RequestId};

const SLOTS: u32 = 2;

fn config() -> ModelConfig {
    ModelConfig { max_loras: SLOTS, max_cpu_loras: Some(3), ..small() }
}

/// Builds an arrival. Prompts of different adapters share no blocks.
fn arrival_for(id: RequestId, adapter: Option<AdapterId>, prompt_tokens: u32, output_tokens: u32) -> Arrival {
    let family = adapter.map_or(0, |adapter| u64::from(adapter) + 1);
    Arrival { adapter, ..arrival(id, family, prompt_tokens, Some(output_tokens)) }
}

#[derive(Debug, Clone)]
struct ScriptedRequest {
    gap_us: u64,
    adapter: Option<AdapterId>,
    prompt_tokens: u32,
    output_tokens: u32,
    /// Cancels the request that arrived this many requests earlier.
    cancel_back: Option<u64>,
}

fn scripts() -> impl Strategy<Value = Vec<ScriptedRequest>> {
    let one = (0u64..200_000, 0u32..6, 1u32..40, 1u32..30, proptest::option::weighted(0.1, 0u64..6))
        .prop_map(|(gap_us, adapter, prompt_tokens, output_tokens, cancel_back)| ScriptedRequest {
            gap_us,
            adapter: adapter.checked_sub(1),
            prompt_tokens,
            output_tokens,
            cancel_back,
        });
    proptest::collection::vec(one, 1..60)
}

fn assert_within_slots(engine: &Engine) {
    let adapters = engine.adapters();
    let running: BTreeSet<AdapterId> = engine.running.iter().filter_map(|request| request.adapter).collect();
    assert!(running.len() <= SLOTS as usize, "{adapters:?}");
    assert!(running.iter().all(|adapter| adapters.resident.contains(adapter)), "{adapters:?}");
    assert!(adapters.resident.len() <= SLOTS as usize && adapters.host.len() <= 3, "{adapters:?}");
}

proptest! {
    #[test]
    fn batch_never_has_more_adapters_than_slots_and_every_request_ends(script in scripts()) {
        let (mut engine, mut effects) = (engine(config()), Vec::new());
        let (mut now_us, mut cancelled) = (0, BTreeSet::new());
        for (id, request) in (0..).zip(&script) {
            now_us += request.gap_us;
            // Checks every pass in between.
            while let Some(at_us) = engine.next_wakeup_us().filter(|at_us| *at_us <= now_us) {
                engine.step(at_us, Input::Tick, &mut effects);
                assert_within_slots(&engine);
            }
            let arrival = arrival_for(id, request.adapter, request.prompt_tokens, request.output_tokens);
            engine.step(now_us, Input::Arrive(arrival), &mut effects);
            if let Some(victim) = request.cancel_back.map(|back| id.saturating_sub(back)) {
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
        for (id, request) in (0..).zip(&script) {
            match finished.get(&id) {
                Some(usage) => prop_assert_eq!(usage.output_tokens, request.output_tokens),
                None => prop_assert!(cancelled.contains(&id), "{} never finished", id),
            }
        }
        let adapters = engine.adapters();
        prop_assert!(adapters.running.is_empty() && adapters.waiting.is_empty());
        prop_assert_eq!(engine.stats().used_blocks, 0);
    }

    #[test]
    fn late_steps_have_the_same_effects_as_punctual_ones(script in scripts()) {
        let (mut punctual, mut late) = (engine(config()), engine(config()));
        let (mut on_time, mut afterwards, mut now_us) = (Vec::new(), Vec::new(), 0);
        for (id, request) in (0..).zip(&script) {
            now_us += request.gap_us;
            while let Some(at_us) = punctual.next_wakeup_us().filter(|at_us| *at_us <= now_us) {
                punctual.step(at_us, Input::Tick, &mut on_time);
            }
            let arrival = arrival_for(id, request.adapter, request.prompt_tokens, request.output_tokens);
            punctual.step(now_us, Input::Arrive(arrival.clone()), &mut on_time);
            late.step(now_us, Input::Arrive(arrival), &mut afterwards);
        }
        drain(&mut punctual, &mut on_time);
        late.step(u64::MAX, Input::Tick, &mut afterwards);
        prop_assert_eq!(on_time, afterwards);
    }

    #[test]
    fn adapters_change_nothing_without_load_time_and_with_a_slot_for_each(script in scripts()) {
        let config = ModelConfig { max_loras: 8, lora_disk_load_us: 0, ..small() };
        let (mut with, mut without) = (engine(config.clone()), engine(config));
        let (mut with_effects, mut without_effects, mut now_us) = (Vec::new(), Vec::new(), 0);
        for (id, request) in (0..).zip(&script) {
            now_us += request.gap_us;
            let arrival = arrival_for(id, request.adapter, request.prompt_tokens, request.output_tokens);
            with.step(now_us, Input::Arrive(arrival.clone()), &mut with_effects);
            without.step(now_us, Input::Arrive(Arrival { adapter: None, ..arrival }), &mut without_effects);
        }
        drain(&mut with, &mut with_effects);
        drain(&mut without, &mut without_effects);
        prop_assert_eq!(with_effects, without_effects);
    }
}

fn first_token_us(effects: &[Effect], wanted: RequestId) -> u64 {
    let first = effects.iter().find_map(|effect| match effect {
        Effect::FirstToken { id, at_us, .. } if *id == wanted => Some(*at_us),
        _ => None,
    });
    first.expect("the request was served")
}

#[test]
fn load_of_an_adapter_stalls_the_pass_of_all_requests() {
    let (mut engine, mut effects) = (engine(config()), Vec::new());
    for (id, adapter) in [(1, None), (2, Some(7)), (3, Some(7))] {
        engine.step(0, Input::Arrive(arrival_for(id, adapter, 8, 2)), &mut effects);
    }
    assert_eq!((engine.adapters().waiting, engine.stats().running), (vec![7], 1));
    drain(&mut engine, &mut effects);
    // A prompt of 8 tokens takes 6,000 + 8 · 125 µs. In the second pass, the first request decodes, and one block
    // of the third prompt is cached.
    let second_pass_us = 300_000 + 6_000 + 350 + 12 * 125;
    let expected = [7_000, 7_000 + second_pass_us, 7_000 + second_pass_us];
    assert_eq!([1, 2, 3].map(|id| first_token_us(&effects, id)), expected);
    let stats = engine.stats();
    assert_eq!((stats.lora_disk_loads, stats.lora_host_loads), (1, 0));
    assert!(stats.inter_token_us_sum >= second_pass_us, "the first request waited for its second token");
}

#[test]
fn request_that_was_passed_over_gets_the_next_free_slot() {
    let (mut engine, mut effects) = (engine(config()), Vec::new());
    for (adapter, output_tokens) in (0..SLOTS).zip([24, 36]) {
        let arrival = arrival_for(u64::from(adapter), Some(adapter), 4, output_tokens);
        engine.step(0, Input::Arrive(arrival), &mut effects);
    }
    engine.step(650_000, Input::Tick, &mut effects);
    // Request 11 passes 10, because its adapter has a slot. Request 12 also needs a slot and comes later.
    for (id, adapter) in [(10, 10), (11, 1), (12, 12)] {
        engine.step(650_000, Input::Arrive(arrival_for(id, Some(adapter), 4, 4)), &mut effects);
    }
    drain(&mut engine, &mut effects);
    let [passed_over, passing, last] = [10, 11, 12].map(|id| first_token_us(&effects, id));
    assert!(passing < passed_over && passed_over < last, "{passing} {passed_over} {last}");
    assert_eq!(usage_of(&effects).len(), 5);
}

#[test]
fn inter_token_times_are_counted() {
    let (mut engine, mut effects) = (engine(ModelConfig::default()), Vec::new());
    engine.step(0, Input::Arrive(arrival_for(1, None, 8, 5)), &mut effects);
    engine.step(0, Input::Arrive(arrival_for(2, None, 8, 1)), &mut effects);
    drain(&mut engine, &mut effects);
    let stats = engine.stats();
    // The second request's prompt was computed in the pass between the first two tokens.
    let prefill_us = 8 * 125;
    assert_eq!((stats.inter_token_us_sum, stats.inter_token_count), (4 * 6_350 + prefill_us, 4));
}
