//! Properties of the engine, and helpers to drive it.

mod adapters;
mod blocks;
mod scheduling;
mod vllm_rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Arrival, Effect, Engine, Input, ModelConfig, RequestId, Usage};

const BLOCK_TOKENS: u32 = 4;

/// A small model server: 24 blocks of 4 tokens.
fn small() -> ModelConfig {
    ModelConfig {
        block_size_tokens: BLOCK_TOKENS,
        kv_capacity_tokens: 96,
        pass_budget_tokens: 16,
        max_running: 6,
        mean_output_tokens: 5,
        ..ModelConfig::default()
    }
}

fn engine(config: ModelConfig) -> Engine {
    Engine::new(config).unwrap()
}

/// Builds an arrival. Prompts of one family are prefixes of each other, and their outputs continue them.
fn arrival(id: RequestId, family: u64, prompt_tokens: u32, max_output_tokens: Option<u32>) -> Arrival {
    let known_tokens = prompt_tokens + max_output_tokens.unwrap_or(0);
    let chain: Arc<[u64]> =
        (0..u64::from(known_tokens / BLOCK_TOKENS)).map(|block| family * 1_000 + block).collect();
    Arrival { id, chain, adapter: None, prompt_tokens, max_output_tokens }
}

/// Jumps from wakeup to wakeup until the engine is idle.
fn drain(engine: &mut Engine, effects: &mut Vec<Effect>) {
    while let Some(at_us) = engine.next_wakeup_us() {
        engine.step(at_us, Input::Tick, effects);
        engine.pool.assert_conserved();
    }
}

/// Returns the usage of each finished request.
fn usage_of(effects: &[Effect]) -> BTreeMap<RequestId, Usage> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Finished { id, usage, .. } => Some((*id, *usage)),
            _ => None,
        })
        .collect()
}
