//! What must hold for every sequence of inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Arrival, Effect, Engine, Input, RequestId, Usage};
use crate::config::ModelConfig;

pub(super) const BLOCK_TOKENS: u32 = 4;

pub(super) fn small() -> ModelConfig {
    ModelConfig {
        block_size_tokens: BLOCK_TOKENS,
        kv_capacity_tokens: 96,
        pass_budget_tokens: 16,
        max_running: 6,
        mean_output_tokens: 5,
        ..ModelConfig::default()
    }
}

pub(super) fn engine(config: ModelConfig) -> Engine {
    Engine::new(config).unwrap()
}

/// Prompts of one family are prefixes of each other.
pub(super) fn arrival(
    id: RequestId,
    family: u64,
    prompt_tokens: u32,
    max_output_tokens: Option<u32>,
) -> Arrival {
    let chain: Arc<[u64]> =
        (0..u64::from(prompt_tokens / BLOCK_TOKENS)).map(|block| family * 1_000 + block).collect();
    Arrival { id, chain, adapter: None, prompt_tokens, max_output_tokens }
}

/// Lets time jump from wakeup to wakeup until nothing is left to do.
pub(super) fn drain(engine: &mut Engine, effects: &mut Vec<Effect>) {
    while let Some(at_us) = engine.next_wakeup_us() {
        engine.step(at_us, Input::Tick, effects);
        engine.pool.assert_conserved();
    }
}

fn run_alone(engine: &mut Engine, now_us: u64, arrival: Arrival) -> Vec<Effect> {
    let mut effects = Vec::new();
    engine.step(now_us, Input::Arrive(arrival), &mut effects);
    drain(engine, &mut effects);
    effects
}

pub(super) fn usage_of(effects: &[Effect]) -> BTreeMap<RequestId, Usage> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Finished { id, usage, .. } => Some((*id, *usage)),
            _ => None,
        })
        .collect()
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

struct Played {
    effects: Vec<Effect>,
    arrived: BTreeMap<RequestId, (u32, Option<u32>)>,
    cancelled: BTreeSet<RequestId>,
    engine: Engine,
}

fn play(script: &[Action]) -> Played {
    let mut played = Played {
        effects: Vec::new(),
        arrived: BTreeMap::new(),
        cancelled: BTreeSet::new(),
        engine: engine(small()),
    };
    let mut now_us = 0;
    for action in script {
        let next = played.arrived.len() as u64;
        let input = match *action {
            Action::Arrive { family, prompt_tokens, output_tokens } => {
                played.arrived.insert(next, (prompt_tokens, output_tokens));
                Input::Arrive(arrival(next, family, prompt_tokens, output_tokens))
            }
            Action::Cancel { back } => {
                let id = next.saturating_sub(back);
                played.cancelled.insert(id);
                Input::Cancel(id)
            }
            Action::Wait { by_us } => {
                now_us += by_us;
                Input::Tick
            }
        };
        played.engine.step(now_us, input, &mut played.effects);
        played.engine.pool.assert_conserved();
    }
    drain(&mut played.engine, &mut played.effects);
    played
}

proptest! {
    #[test]
    fn everything_finishes_with_exact_counts_and_no_block_is_lost(script in actions()) {
        let Played { effects, arrived, cancelled, engine } = play(&script);
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
    fn the_same_inputs_have_the_same_effects(script in actions()) {
        prop_assert_eq!(play(&script).effects, play(&script).effects);
    }

    #[test]
    fn time_in_effects_never_goes_back(script in actions()) {
        let mut last_us = 0;
        for effect in play(&script).effects {
            if let Effect::FirstToken { at_us, .. } | Effect::Token { at_us, .. } | Effect::Finished { at_us, .. } = effect {
                prop_assert!(at_us >= last_us);
                last_us = at_us;
            }
        }
    }

    #[test]
    fn a_late_caller_sees_what_a_punctual_one_sees(
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
    fn equal_requests_get_their_first_token_in_order_of_arrival(
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
fn a_second_identical_prompt_is_served_from_cache() {
    let mut engine = engine(ModelConfig { block_size_tokens: BLOCK_TOKENS, ..ModelConfig::default() });
    let first = run_alone(&mut engine, 0, arrival(1, 7, 400, Some(4)));
    let second = run_alone(&mut engine, 10_000_000, arrival(2, 7, 400, Some(4)));
    assert_eq!(usage_of(&first)[&1].cached_tokens, 0);
    // All blocks are resident, but the last token has to be computed, and with it its block.
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
fn decoding_goes_on_while_a_long_prompt_is_computed_in_chunks() {
    let mut engine = engine(ModelConfig { pass_budget_tokens: 256, ..ModelConfig::default() });
    let mut effects = Vec::new();
    engine.step(0, Input::Arrive(arrival(1, 1, 8, Some(50))), &mut effects);
    engine.step(10_000, Input::Arrive(arrival(2, 2, 2_000, Some(1))), &mut effects);
    drain(&mut engine, &mut effects);
    let until_first_of_long =
        effects.iter().position(|effect| matches!(effect, Effect::FirstToken { id: 2, .. })).unwrap();
    // 2,000 tokens at 255 beside the one decoding token take 8 passes, each with a token for the other request.
    assert!((8..12).contains(&produced(&effects[..until_first_of_long], 1)));
}

#[test]
fn the_youngest_gives_way_when_blocks_run_out_and_still_finishes() {
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
fn the_least_recently_used_prompt_is_the_one_forgotten() {
    let mut engine = engine(small());
    // Three prompts of 8 blocks fill the 24 blocks; using the first again leaves the second as the oldest.
    for (at, family) in [1, 2, 3, 1, 4].into_iter().enumerate() {
        run_alone(&mut engine, at as u64 * 10_000_000, arrival(at as u64, family, 32, Some(1)));
    }
    // The last block of a prompt is computed again even on a hit, so the cached part is at most 28.
    let mut cached_at = |at: u64, family| {
        usage_of(&run_alone(&mut engine, at * 10_000_000, arrival(at, family, 32, Some(1))))[&at]
            .cached_tokens
    };
    assert_eq!(cached_at(10, 1), 28);
    assert!(cached_at(11, 3) >= 24);
    assert!(cached_at(12, 2) < 8);
}

#[test]
fn a_request_larger_than_the_pool_is_rejected_and_costs_nothing() {
    let mut engine = engine(small());
    let effects = run_alone(&mut engine, 0, arrival(1, 1, 90, Some(8)));
    assert!(matches!(effects[..], [Effect::Rejected { id: 1, .. }]));
    assert_eq!(engine.next_wakeup_us(), None);
    assert_eq!(usage_of(&run_alone(&mut engine, 0, arrival(2, 1, 90, Some(7))))[&2].output_tokens, 7);
}

#[test]
fn cancelling_frees_blocks_at_once_and_lets_the_next_in() {
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

/// What a fixed script of 600 requests did before the engine knew of adapters.
#[test]
fn requests_without_adapters_are_served_as_they_always_were() {
    let config =
        ModelConfig { kv_capacity_tokens: 1_200, max_running: 24, pass_budget_tokens: 64, ..small() };
    let mut engine = engine(config);
    let mut effects = Vec::new();
    for id in 0..600 {
        let draw = crate::seeded::mix(7, id);
        let arrival = arrival(id, draw % 9, 1 + (draw >> 8) as u32 % 300, Some(1 + (draw >> 32) as u32 % 90));
        engine.step(id * 20_000, Input::Arrive(arrival), &mut effects);
        if draw.is_multiple_of(17) {
            engine.step(id * 20_000 + 5_000, Input::Cancel(id.saturating_sub(3)), &mut effects);
        }
    }
    drain(&mut engine, &mut effects);
    let stats = engine.stats();
    assert!(stats.preemptions > 0 && stats.prefix_hits_tokens > 0, "{stats:?}");
    let told = format!("{effects:?} {} {}", stats.preemptions, stats.prefix_hits_tokens);
    assert_eq!(xxhash_rust::xxh3::xxh3_64(told.as_bytes()), 9_469_336_549_836_653_383);
}
