//! The engine of an endpoint.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{CustomEngine, Engine, MetricSpec};

use crate::error::WireError;

/// Encodes an engine. A peer of an earlier version reads the name alone, so for an engine that it cannot know, that is
/// the default one.
pub(crate) fn encode_engine(engine: &Engine) -> (String, Option<pb::CustomEngine>) {
    let Engine::Custom(custom) = engine else { return (engine.name().to_owned(), None) };
    let CustomEngine {
        name,
        waiting,
        running,
        kv_use,
        adapters,
        cache_info,
        block_label,
        blocks_label,
        block_tokens,
        blocks,
    } = &**custom;
    let metric = |spec: &Option<MetricSpec>| spec.as_ref().map(MetricSpec::to_string).unwrap_or_default();
    let message = pb::CustomEngine {
        name: name.clone(),
        waiting: metric(waiting),
        running: metric(running),
        kv_use: metric(kv_use),
        adapters: metric(adapters),
        cache_info: metric(cache_info),
        block_label: block_label.clone(),
        blocks_label: blocks_label.clone(),
        block_tokens: metric(block_tokens),
        blocks: metric(blocks),
    };
    (Engine::default().name().to_owned(), Some(message))
}

pub(crate) fn decode_engine(name: &str, custom: Option<pb::CustomEngine>) -> Result<Engine, WireError> {
    let Some(message) = custom else { return Ok(name.parse()?) };
    let metric = |text: String| match text.is_empty() {
        true => Ok(None),
        false => text.parse().map(Some).map_err(|_| WireError::Metric(text)),
    };
    Ok(Engine::Custom(Arc::new(CustomEngine {
        name: message.name,
        waiting: metric(message.waiting)?,
        running: metric(message.running)?,
        kv_use: metric(message.kv_use)?,
        adapters: metric(message.adapters)?,
        cache_info: metric(message.cache_info)?,
        block_label: message.block_label,
        blocks_label: message.blocks_label,
        block_tokens: metric(message.block_tokens)?,
        blocks: metric(message.blocks)?,
    })))
}
