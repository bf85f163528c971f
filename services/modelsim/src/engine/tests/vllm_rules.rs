//! The rules of vLLM's scheduler that routing can tell.

use proptest::prelude::*;

use super::{BLOCK_TOKENS, arrival, drain, engine, small, usage_of};
use crate::engine::{Arrival, Effect, Input, ModelConfig, RequestId};

/// Returns what `is` reads from the first effect that it accepts.
fn time_of(effects: &[Effect], is: impl Fn(&Effect) -> Option<u64>) -> u64 {
    effects.iter().find_map(is).expect("the effect happened")
}

fn first_token_us(effects: &[Effect], wanted: RequestId) -> u64 {
    time_of(effects, |effect| match effect {
        Effect::FirstToken { id, at_us, .. } if *id == wanted => Some(*at_us),
        _ => None,
    })
}

#[test]
fn next_turn_hits_the_full_blocks_of_the_answer() {
    let (mut engine, mut effects) = (engine(small()), Vec::new());
    // 22 prompt tokens and 12 output tokens, of which the last is never computed: 33 tokens are 8 full blocks.
    engine.step(0, Input::Arrive(arrival(1, 7, 22, Some(12))), &mut effects);
    drain(&mut engine, &mut effects);
    let now_us = 10_000_000;
    engine.step(now_us, Input::Arrive(arrival(2, 7, 50, Some(1))), &mut effects);
    drain(&mut engine, &mut effects);
    assert_eq!(usage_of(&effects)[&2].cached_tokens, 8 * BLOCK_TOKENS);
}

#[test]
fn answer_without_known_hashes_takes_blocks_but_is_never_hit() {
    let (mut engine, mut effects) = (engine(small()), Vec::new());
    let opaque = |id, prompt_tokens| {
        let arrival = arrival(id, 7, prompt_tokens, Some(12));
        let prompt_blocks = (prompt_tokens / BLOCK_TOKENS) as usize;
        Arrival { chain: arrival.chain[..prompt_blocks].into(), ..arrival }
    };
    engine.step(0, Input::Arrive(opaque(1, 22)), &mut effects);
    drain(&mut engine, &mut effects);
    engine.step(10_000_000, Input::Arrive(opaque(2, 50)), &mut effects);
    drain(&mut engine, &mut effects);
    assert_eq!(usage_of(&effects)[&2].cached_tokens, 20);
}

#[test]
fn preempted_request_hits_its_own_blocks() {
    let mut engine = engine(small());
    let mut effects = Vec::new();
    // Together 26 blocks, two more than there are.
    for id in 0..2 {
        engine.step(0, Input::Arrive(arrival(id, id, 16, Some(36))), &mut effects);
    }
    let mut computed_before = 0;
    while engine.stats().preemptions == 0 {
        computed_before = engine.running.last().map_or(0, |request| request.computed_tokens);
        let at_us = engine.next_wakeup_us().unwrap();
        engine.step(at_us, Input::Tick, &mut effects);
    }
    assert_eq!(engine.waiting.front().map(|request| request.id), Some(1), "the youngest goes to the head");
    while engine.running.iter().all(|request| request.id != 1) {
        let at_us = engine.next_wakeup_us().unwrap();
        engine.step(at_us, Input::Tick, &mut effects);
    }
    let readmitted = engine.running.iter().find(|request| request.id == 1).unwrap();
    assert!(readmitted.computed_tokens > 16, "its output is cached, too: {}", readmitted.computed_tokens);
    assert!(readmitted.computed_tokens <= computed_before);
    drain(&mut engine, &mut effects);
    assert_eq!(usage_of(&effects).len(), 2);
}

#[test]
fn prompt_gets_its_blocks_chunk_by_chunk() {
    let mut engine = engine(small());
    let mut effects = Vec::new();
    engine.step(0, Input::Arrive(arrival(1, 1, 80, Some(1))), &mut effects);
    // The budget is 16 tokens a pass.
    assert_eq!(engine.stats().used_blocks, 4);
    let at_us = engine.next_wakeup_us().unwrap();
    engine.step(at_us, Input::Tick, &mut effects);
    assert_eq!(engine.stats().used_blocks, 8);
}

#[test]
fn prompt_that_does_not_fit_whole_waits() {
    let mut engine = engine(small());
    let mut effects = Vec::new();
    engine.step(0, Input::Arrive(arrival(1, 1, 12, Some(10))), &mut effects);
    let at_us = engine.next_wakeup_us().unwrap();
    engine.step(at_us, Input::Tick, &mut effects);
    // 20 blocks are free; the first chunk would fit, the prompt of 22 blocks does not.
    engine.step(at_us, Input::Arrive(arrival(2, 2, 88, Some(1))), &mut effects);
    let next_us = engine.next_wakeup_us().unwrap();
    engine.step(next_us, Input::Tick, &mut effects);
    assert_eq!((engine.stats().running, engine.stats().waiting), (1, 1));
    drain(&mut engine, &mut effects);
    assert_eq!(usage_of(&effects).len(), 2);
}

#[test]
fn long_prompt_leaves_room_in_the_pass_when_its_chunks_are_limited() {
    let first_token_of_short = |long_prefill_tokens| {
        let mut engine = engine(ModelConfig { long_prefill_tokens, ..small() });
        let mut effects = Vec::new();
        engine.step(0, Input::Arrive(arrival(1, 1, 64, Some(1))), &mut effects);
        engine.step(0, Input::Arrive(arrival(2, 2, 8, Some(1))), &mut effects);
        drain(&mut engine, &mut effects);
        first_token_us(&effects, 2) < first_token_us(&effects, 1)
    };
    assert!(!first_token_of_short(None));
    assert!(first_token_of_short(Some(8)));
}

#[test]
fn attention_makes_long_contexts_slower() {
    let config = ModelConfig {
        kv_capacity_tokens: 100_000,
        pass_budget_tokens: 8_192,
        prefill_attention_ps: 1_300,
        decode_attention_ps: 50_000,
        ..small()
    };
    let ttft_us = |prompt_tokens| {
        let (mut engine, mut effects) = (engine(config.clone()), Vec::new());
        engine.step(0, Input::Arrive(arrival(1, 1, prompt_tokens, Some(2))), &mut effects);
        drain(&mut engine, &mut effects);
        (first_token_us(&effects, 1), engine.stats().inter_token_us_sum)
    };
    let ((short, short_decode), (long, long_decode)) = (ttft_us(8_192), ttft_us(65_536));
    // 65,536² / 2 pairs at 1,300 ps are 2,791,728.7 µs; eight times the short prompt's time has 8 · 43,621 µs. Each
    // of the long prompt's eight passes is rounded up.
    let attention_us = long - 8 * short + 8 * 43_621;
    assert!((2_791_729..=2_791_729 + 8).contains(&attention_us), "{attention_us}");
    assert_eq!(long_decode - short_decode, 57_344 / 20);
}

proptest! {
    /// A request waits no longer than all requests before it need one after another, since admission is in order
    /// of arrival and a preempted request keeps its turn.
    #[test]
    fn no_request_starves(
        requests in proptest::collection::vec((0u64..3, 1u32..60, 1u32..30), 1..25),
        long_prefill_tokens in proptest::option::of(1u32..16),
    ) {
        let config = ModelConfig { long_prefill_tokens, ..small() };
        let (mut engine, mut effects) = (engine(config.clone()), Vec::new());
        let mut bound_us = 0;
        for (id, &(family, prompt_tokens, output_tokens)) in requests.iter().enumerate() {
            engine.step(0, Input::Arrive(arrival(id as u64, family, prompt_tokens, Some(output_tokens))), &mut effects);
        }
        drain(&mut engine, &mut effects);
        for (id, &(_, prompt_tokens, output_tokens)) in requests.iter().enumerate() {
            let chunk = config.chunk_tokens(u32::MAX, config.pass_budget_tokens);
            // Preemption can make a request compute everything again for each of its tokens.
            let passes = u64::from((prompt_tokens + output_tokens).div_ceil(chunk)) * u64::from(output_tokens + 1);
            bound_us += passes * (config.pass_base_us + 6 * 350 + 16 * 125);
            prop_assert!(first_token_us(&effects, id as u64) <= bound_us);
        }
        prop_assert_eq!(usage_of(&effects).len(), requests.len());
    }
}
