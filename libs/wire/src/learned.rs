//! What is learned from usage: token ratios and cache accuracies. Like models, each message carries them next to
//! a change that has no effect, which is all that a peer sees that does not know them.

use std::collections::BTreeMap;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::CacheAccuracy;
use signalbox_types::{EndpointKey, ModelKey, TokenRatio};

use crate::error::WireError;
use crate::no_op::{no_op_change, no_op_entry};

pub(crate) fn encode_entry(ratios: &BTreeMap<ModelKey, TokenRatio>) -> pb::SnapshotEntry {
    let token_ratios = ratios.iter().map(|(model, ratio)| encode_token_ratio(*model, *ratio)).collect();
    pb::SnapshotEntry { token_ratios, ..no_op_entry() }
}

pub(crate) fn decode_entry(messages: &[pb::TokenRatio]) -> Result<BTreeMap<ModelKey, TokenRatio>, WireError> {
    messages.iter().map(decode_token_ratio).collect()
}

pub(crate) fn encode_ratio_change(model: ModelKey, ratio: TokenRatio) -> pb::Change {
    pb::Change { token_ratio: Some(encode_token_ratio(model, ratio)), ..no_op_change() }
}

pub(crate) fn encode_accuracy_change(endpoint: EndpointKey, accuracy: CacheAccuracy) -> pb::Change {
    let accuracy = Some(encode_accuracy(accuracy));
    let changed = pb::CacheAccuracyChanged { endpoint: endpoint.0, accuracy };
    pb::Change { cache_accuracy: Some(changed), ..no_op_change() }
}

fn encode_token_ratio(model: ModelKey, ratio: TokenRatio) -> pb::TokenRatio {
    let TokenRatio { bytes_per_token_milli, media_percent, output_tokens } = ratio;
    pb::TokenRatio {
        model: model.0,
        bytes_per_token_milli,
        media_percent,
        output_tokens: Some(output_tokens),
    }
}

pub(crate) fn decode_token_ratio(message: &pb::TokenRatio) -> Result<(ModelKey, TokenRatio), WireError> {
    let pb::TokenRatio { model, bytes_per_token_milli, media_percent, output_tokens } = *message;
    let output_tokens = output_tokens.unwrap_or(TokenRatio::DEFAULT_OUTPUT_TOKENS);
    let ratio = TokenRatio { bytes_per_token_milli, media_percent, output_tokens };
    let ratio = Some(ratio).filter(TokenRatio::is_valid).ok_or(WireError::Bounds("token ratio"))?;
    Ok((ModelKey(model), ratio))
}

/// Encodes a cache accuracy; an absent one means that the engine reported nothing.
pub(crate) fn encode_accuracy(accuracy: CacheAccuracy) -> pb::CacheAccuracy {
    let CacheAccuracy { mean_error_tokens, capacity_percent } = accuracy;
    pb::CacheAccuracy { mean_error_tokens, capacity_percent: capacity_percent.into() }
}

pub(crate) fn decode_accuracy(message: Option<pb::CacheAccuracy>) -> Result<CacheAccuracy, WireError> {
    let Some(pb::CacheAccuracy { mean_error_tokens, capacity_percent }) = message else {
        return Ok(CacheAccuracy::default());
    };
    match u8::try_from(capacity_percent) {
        Ok(capacity_percent @ 1..=100) => Ok(CacheAccuracy { mean_error_tokens, capacity_percent }),
        Ok(_) | Err(_) => Err(WireError::Bounds("capacity percent")),
    }
}
