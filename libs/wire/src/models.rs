//! What a pool says of models. It travels beside something that changes nothing, so that a reader that does not know models takes it for
//! just that, and holds all else as everybody does.

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{ModelRewrite, Models, Objective, RewriteRule, RewriteTarget};

use crate::error::WireError;

/// Nobody's: a replica takes a random one.
const NO_ORIGIN: u64 = 0;

pub(crate) fn entry_message(models: &Models) -> pb::SnapshotEntry {
    let nothing = pb::snapshot_entry::Entry::Runs(pb::RunsEntry { runs: Vec::new() });
    pb::SnapshotEntry { entry: Some(nothing), models: Some(models_message(models)) }
}

pub(crate) fn change_message(models: &Models) -> pb::Change {
    let nothing = pb::change::Change::OriginExpired(pb::OriginExpired { origin: NO_ORIGIN });
    pb::Change { change: Some(nothing), models: Some(models_message(models)) }
}

fn models_message(models: &Models) -> pb::Models {
    let objective =
        |Objective { name, priority }: &Objective| pb::Objective { name: name.clone(), priority: *priority };
    pb::Models {
        objectives: models.objectives().iter().map(objective).collect(),
        rewrites: models.rewrites().iter().map(rewrite_message).collect(),
    }
}

pub(crate) fn models(message: pb::Models) -> Result<Models, WireError> {
    let pb::Models { objectives, rewrites } = message;
    let objective = |pb::Objective { name, priority }| Objective { name, priority };
    let rewrites = rewrites.into_iter().map(rewrite).collect::<Result<_, _>>()?;
    Ok(Models::new(objectives.into_iter().map(objective).collect(), rewrites))
}

fn rewrite_message(rewrite: &ModelRewrite) -> pb::ModelRewrite {
    let ModelRewrite { name, created_ms, rules } = rewrite;
    let rules = rules.iter().map(rule_message).collect();
    pb::ModelRewrite { name: name.clone(), created_ms: *created_ms, rules }
}

fn rewrite(message: pb::ModelRewrite) -> Result<ModelRewrite, WireError> {
    let pb::ModelRewrite { name, created_ms, rules } = message;
    Ok(ModelRewrite { name, created_ms, rules: rules.into_iter().map(rule).collect::<Result<_, _>>()? })
}

fn rule_message(rule: &RewriteRule) -> pb::RewriteRule {
    let RewriteRule { models, targets } = rule;
    let target = |RewriteTarget { model, weight }: &RewriteTarget| pb::RewriteTarget {
        model: model.clone(),
        weight: *weight,
    };
    pb::RewriteRule { models: models.clone(), targets: targets.iter().map(target).collect() }
}

fn rule(message: pb::RewriteRule) -> Result<RewriteRule, WireError> {
    let pb::RewriteRule { models, targets } = message;
    if targets.is_empty() {
        return Err(WireError::Missing("what a model becomes"));
    }
    Ok(RewriteRule { models, targets: targets.into_iter().map(target).collect::<Result<_, _>>()? })
}

fn target(message: pb::RewriteTarget) -> Result<RewriteTarget, WireError> {
    let pb::RewriteTarget { model, weight } = message;
    let is_weight = |weight: u32| (1..=RewriteTarget::WEIGHT_MAX).contains(&weight);
    match weight {
        Some(weight) if !is_weight(weight) => Err(WireError::Bounds("a weight")),
        weight => Ok(RewriteTarget { model, weight }),
    }
}
