//! Objectives and model rewrites. Each message carries them next to a change that has no effect. A peer that
//! does not know models applies that change instead, and its state otherwise equals the owner's.

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{ModelRewrite, Models, Objective, RewriteRule, RewriteTarget};

use crate::error::WireError;
use crate::no_op::{no_op_change, no_op_entry};

pub(crate) fn encode_entry(models: &Models) -> pb::SnapshotEntry {
    pb::SnapshotEntry { models: Some(encode_models(models)), ..no_op_entry() }
}

pub(crate) fn encode_change(models: &Models) -> pb::Change {
    pb::Change { models: Some(encode_models(models)), ..no_op_change() }
}

fn encode_models(models: &Models) -> pb::Models {
    let objective =
        |Objective { name, priority }: &Objective| pb::Objective { name: name.clone(), priority: *priority };
    pb::Models {
        objectives: models.objectives().iter().map(objective).collect(),
        rewrites: models.rewrites().iter().map(encode_rewrite).collect(),
    }
}

pub(crate) fn decode_models(message: pb::Models) -> Result<Models, WireError> {
    let pb::Models { objectives, rewrites } = message;
    let objective = |pb::Objective { name, priority }| Objective { name, priority };
    let rewrites = rewrites.into_iter().map(decode_rewrite).collect::<Result<_, _>>()?;
    Ok(Models::new(objectives.into_iter().map(objective).collect(), rewrites))
}

fn encode_rewrite(rewrite: &ModelRewrite) -> pb::ModelRewrite {
    let ModelRewrite { name, created_ms, rules } = rewrite;
    let rules = rules.iter().map(encode_rule).collect();
    pb::ModelRewrite { name: name.clone(), created_ms: *created_ms, rules }
}

fn decode_rewrite(message: pb::ModelRewrite) -> Result<ModelRewrite, WireError> {
    let pb::ModelRewrite { name, created_ms, rules } = message;
    Ok(ModelRewrite {
        name,
        created_ms,
        rules: rules.into_iter().map(decode_rule).collect::<Result<_, _>>()?,
    })
}

fn encode_rule(rule: &RewriteRule) -> pb::RewriteRule {
    let RewriteRule { models, targets } = rule;
    let target = |RewriteTarget { model, weight }: &RewriteTarget| pb::RewriteTarget {
        model: model.clone(),
        weight: *weight,
    };
    pb::RewriteRule { models: models.clone(), targets: targets.iter().map(target).collect() }
}

fn decode_rule(message: pb::RewriteRule) -> Result<RewriteRule, WireError> {
    let pb::RewriteRule { models, targets } = message;
    if targets.is_empty() {
        return Err(WireError::Missing("rewrite target"));
    }
    Ok(RewriteRule { models, targets: targets.into_iter().map(decode_target).collect::<Result<_, _>>()? })
}

fn decode_target(message: pb::RewriteTarget) -> Result<RewriteTarget, WireError> {
    let pb::RewriteTarget { model, weight } = message;
    let is_weight = |weight: u32| (1..=RewriteTarget::WEIGHT_MAX).contains(&weight);
    match weight {
        Some(weight) if !is_weight(weight) => Err(WireError::Bounds("rewrite weight")),
        weight => Ok(RewriteTarget { model, weight }),
    }
}
