//! Scheduling, caching and preemption.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{BLOCK_TOKENS, arrival, drain, engine, small, usage_of};
use crate::engine::{Arrival, Effect, Engine, Input, ModelConfig, RequestId};

fn run_alone(engine: &mut Engine, now_us: u64, arrival: Arrival) -> Vec<Effect> {
    let mut effects = Vec::new();
    engine.step(now_us, Input::Arrive(arrival), &mut effects);
    drain(engine, &mut effects);
    effects
}

fn produced(effects: &[Effect], wanted: RequestId) -> u32 {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::FirstToken { id, .. } | Effect::Token { id, .. } if *id == wanted))
        .count() as u32
}

#[derive(Debug, Clone)]
enum Action {
    Arrive { family: u64, prompt_tokens: u32, output_tokens: Option<u32> },
    Cancel { back: u64 },
    Wait { by_us: u64 },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let one = prop_oneof![
        4 => (0u64..3, 1u32..40, proptest::option::weighted(0.8, 1u32..30))
            .prop_map(|(family, prompt_tokens, output_tokens)| Action::Arrive { family, prompt_tokens, output_tokens }),
        1 => (0u64..6).prop_map(|back| Action::Cancel { back }),
        3 => (0u64..40_000).prop_map(|by_us| Action::Wait { by_us }),
    ];
    proptest::collection::vec(one, 1..60)
}

struct Run {
    effects: Vec<Effect>,
    arrived: BTreeMap<RequestId, (u32, Option<u32>)>,
    cancelled: BTreeSet<RequestId>,
    engine: Engine,
}

fn run(script: &[Action]) -> Run {
    let mut run = Run {
        effects: Vec::new(),
        arrived: BTreeMap::new(),
        cancelled: BTreeSet::new(),
        engine: engine(small()),
    };
    let mut now_us = 0;
    for action in script {
        let next = run.arrived.len() as u64;
        let input = match *action {
            Action::Arrive { family, prompt_tokens, output_tokens } => {
                run.arrived.insert(next, (prompt_tokens, output_tokens));
                Input::Arrive(arrival(next, family, prompt_tokens, output_tokens))
            }
            Action::Cancel { back } => {
                let id = next.saturating_sub(back);
                run.cancelled.insert(id);
                Input::Cancel(id)
            }
            Action::Wait { by_us } => {
                now_us += by_us;
                Input::Tick
            }
        };
        run.engine.step(now_us, input, &mut run.effects);
        run.engine.pool.assert_conserved();
    }
    drain(&mut run.engine, &mut run.effects);
    run
}

proptest! {
    #[test]
    fn requests_finish_with_exact_counts_and_no_block_is_lost(script in actions()) {
        let Run { effects, arrived, cancelled, engine } = run(&script);
        let finished = usage_of(&effects);
        for (&id, &(prompt_tokens, output_tokens)) in &arrived {
            let Some(usage) = finished.get(&id) else {
                prop_assert!(cancelled.contains(&id), "{} neither finished nor was cancelled", id);
                continue;
            };
            prop_assert_eq!(usage.prompt_tokens, prompt_tokens);
            prop_assert!(usage.cached_tokens < usage.prompt_tokens);
            prop_assert_eq!(usage.cached_tokens % BLOCK_TOKENS, 0);
            prop_assert_eq!(usage.output_tokens, output_tokens.unwrap_or(usage.output_tokens));
            prop_assert_eq!(produced(&effects, id), usage.output_tokens);
        }
        let stats = engine.stats();
        prop_assert_eq!((stats.running, stats.waiting, stats.used_blocks), (0, 0, 0));
        prop_assert_eq!(stats.finished as usize, finished.len());
        prop_assert!(stats.prefix_hits_tokens <= stats.prefix_queries_tokens);
    }

    #[test]
    fn same_inputs_have_the_same_effects(script in actions()) {
        prop_assert_eq!(run(&script).effects, run(&script).effects);
    }

    #[test]
    fn effect_times_never_decrease(script in actions()) {
        let mut last_us = 0;
        for effect in run(&script).effects {
            if let Effect::FirstToken { at_us, .. } | Effect::Token { at_us, .. } | Effect::Finished { at_us, .. } = effect {
                prop_assert!(at_us >= last_us);
                last_us = at_us;
            }
        }
    }

    #[test]
    fn late_steps_have_the_same_effects_as_punctual_ones(
        requests in proptest::collection::vec((0u64..3, 1u32..40, 1u32..30), 1..20),
    ) {
        let (mut punctual, mut late) = (engine(small()), engine(small()));
        let (mut on_time, mut afterwards) = (Vec::new(), Vec::new());
        for (id, &(family, prompt_tokens, output_tokens)) in requests.iter().enumerate() {
            let arrival = arrival(id as u64, family, prompt_tokens, Some(output_tokens));
            punctual.step(0, Input::Arrive(arrival.clone()), &mut on_time);
            late.step(0, Input::Arrive(arrival), &mut afterwards);
        }
        drain(&mut punctual, &mut on_time);
        late.step(u64::MAX, Input::Tick, &mut afterwards);
        prop_assert_eq!(on_time, afterwards);
    }

    #[test]
    fn equal_requests_get_their_first_tokens_in_arrival_order(
        count in 2u64..20, prompt_tokens in 1u32..40, gap_us in 0u64..20_000,
    ) {
        let mut engine = engine(small());
        let mut effects = Vec::new();
        for id in 0..count {
            engine.step(id * gap_us, Input::Arrive(arrival(id, id, prompt_tokens, Some(3))), &mut effects);
        }
        drain(&mut engine, &mut effects);
        let order: Vec<RequestId> = effects.iter().filter_map(|effect| match effect {
            Effect::FirstToken { id, .. } => Some(*id),
            _ => None,
        }).collect();
        prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn repeated_prompt_is_served_from_cache() {
    let mut engine = engine(ModelConfig { block_size_tokens: BLOCK_TOKENS, ..ModelConfig::default() });
    let first = run_alone(&mut engine, 0, arrival(1, 7, 400, Some(4)));
    let second = run_alone(&mut engine, 10_000_000, arrival(2, 7, 400, Some(4)));
    assert_eq!(usage_of(&first)[&1].cached_tokens, 0);
    // All blocks are cached, but the last token must be computed, and with it its block.
    assert_eq!(usage_of(&second)[&2].cached_tokens, 396);
    let first_token_us = |effects: &[Effect]| match effects[0] {
        Effect::FirstToken { at_us, .. } => at_us,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(first_token_us(&first), 6_000 + 400 * 125);
    assert_eq!(first_token_us(&second) - 10_000_000, 6_000 + 4 * 125);
    let stats = engine.stats();
    assert_eq!((stats.prefix_queries_tokens, stats.prefix_hits_tokens), (800, 396));
}

#[test]
fn decoding_continues_while_a_long_prompt_is_prefilled_in_chunks() {
    let mut engine = engine(ModelConfig { pass_budget_tokens: 256, ..ModelConfig::default() });
    let mut effects = Vec::new();
    engine.step(0, Input::Arrive(arrival(1, 1, 8, Some(50))), &mut effects);
    engine.step(10_000, Input::Arrive(arrival(2, 2, 2_000, Some(1))), &mut effects);
    drain(&mut engine, &mut effects);
    let first_of_long =
        effects.iter().position(|effect| matches!(effect, Effect::FirstToken { id: 2, .. })).unwrap();
    // A pass has room for 255 prompt tokens next to the decoding token, so 2,000 tokens take 8 passes, each
    // of which produces a token for the other request.
    assert!((8..12).contains(&produced(&effects[..first_of_long], 1)));
}

#[test]
fn youngest_request_is_preempted_when_blocks_run_out_and_still_finishes() {
    let mut engine = engine(small());
    let mut effects = Vec::new();
    for id in 0..4 {
        engine.step(0, Input::Arrive(arrival(id, id, 16, Some(40))), &mut effects);
    }
    drain(&mut engine, &mut effects);
    assert!(engine.stats().preemptions > 0);
    let finished: Vec<RequestId> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Finished { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(finished, [0, 1, 2, 3]);
}

#[test]
fn least_recently_used_prompt_is_evicted() {
    let mut engine = engine(small());
    // Three prompts of 8 blocks fill the 24 blocks. Using the first again leaves the second as the oldest.
    for (at, family) in [1, 2, 3, 1, 4].into_iter().enumerate() {
        run_alone(&mut engine, at as u64 * 10_000_000, arrival(at as u64, family, 32, Some(1)));
    }
    // The last block of a prompt is computed even on a hit, so at most 28 tokens are cached.
    let mut cached_at = |at: u64, family| {
        usage_of(&run_alone(&mut engine, at * 10_000_000, arrival(at, family, 32, Some(1))))[&at]
            .cached_tokens
    };
    assert_eq!(cached_at(10, 1), 28);
    assert!(cached_at(11, 3) >= 24);
    assert!(cached_at(12, 2) < 8);
}

#[test]
fn request_larger_than_the_cache_is_rejected_without_side_effects() {
    let mut engine = engine(small());
    let effects = run_alone(&mut engine, 0, arrival(1, 1, 90, Some(8)));
    assert!(matches!(effects[..], [Effect::Rejected { id: 1, .. }]));
    assert_eq!(engine.next_wakeup_us(), None);
    assert_eq!(usage_of(&run_alone(&mut engine, 0, arrival(2, 1, 90, Some(7))))[&2].output_tokens, 7);
}

#[test]
fn cancellation_frees_blocks_at_once_and_admits_the_next_request() {
    let mut engine = engine(small());
    let mut effects = Vec::new();
    engine.step(0, Input::Arrive(arrival(1, 1, 80, Some(10))), &mut effects);
    engine.step(0, Input::Arrive(arrival(2, 2, 80, Some(1))), &mut effects);
    assert_eq!((engine.stats().running, engine.stats().waiting), (1, 1));
    engine.step(1, Input::Cancel(1), &mut effects);
    assert_eq!(engine.stats().used_blocks, 0);
    drain(&mut engine, &mut effects);
    assert_eq!(usage_of(&effects).keys().copied().collect::<Vec<_>>(), [2]);
}

/// Pins the effects of a fixed script of 600 requests, so that no change of the schedule goes unnoticed.
#[test]
fn schedule_of_a_fixed_script_is_unchanged() {
    let config =
        ModelConfig { kv_capacity_tokens: 1_200, max_running: 24, pass_budget_tokens: 64, ..small() };
    let mut engine = engine(config);
    let mut effects = Vec::new();
    for id in 0..600 {
        let draw = crate::seeded_random::mix(7, id);
        let arrival = arrival(id, draw % 9, 1 + (draw >> 8) as u32 % 300, Some(1 + (draw >> 32) as u32 % 90));
        engine.step(id * 20_000, Input::Arrive(arrival), &mut effects);
        if draw.is_multiple_of(17) {
            engine.step(id * 20_000 + 5_000, Input::Cancel(id.saturating_sub(3)), &mut effects);
        }
    }
    drain(&mut engine, &mut effects);
    let stats = engine.stats();
    assert!(stats.preemptions > 0 && stats.prefix_hits_tokens > 0, "{stats:?}");
    let summary = format!("{effects:?} {} {}", stats.preemptions, stats.prefix_hits_tokens);
    assert_eq!(xxhash_rust::xxh3::xxh3_64(summary.as_bytes()), 4_852_399_706_669_632_709);
}
