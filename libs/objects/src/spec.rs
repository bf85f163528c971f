//! Reads the specs of objects. Invalid parts are reported and left out, because a file with problems is
//! rejected anyway.

use signalbox_document::{Fields, Located, Problems, quoted};
use signalbox_types::{RewriteRule, RewriteTarget};

use crate::kind::ObjectKind;
use crate::name::read_model;
use crate::pool_ref::{PoolRef, read_pool_ref};

/// What an object defines.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Priority of the objective with the object's name.
    pub(crate) priority: Option<i32>,
    /// Rules of the rewrite with the object's name.
    pub(crate) rules: Option<Vec<RewriteRule>>,
}

/// Reads the spec at `at` of an object of this `kind`. Returns the pool that it references and what it
/// defines.
pub(crate) fn read(
    kind: ObjectKind,
    at: Located<'_>,
    problems: &mut Problems,
) -> Option<(Option<PoolRef>, Content)> {
    let known: &[&str] = match kind {
        ObjectKind::Objective => &["poolRef", "priority", "modelName", "criticality"],
        ObjectKind::Rewrite => &["poolRef", "rules"],
        ObjectKind::Model => &["poolRef", "modelName", "criticality", "targetModels"],
    };
    let spec = at.fields(known, problems)?;
    let pool = read_pool_ref(&spec, problems);
    let content = match kind {
        ObjectKind::Objective => Content { priority: Some(objective(&spec, problems)), rules: None },
        ObjectKind::Rewrite => Content { priority: None, rules: Some(rules(&spec, problems)) },
        ObjectKind::Model => model(&spec, problems),
    };
    Some((pool, content))
}

/// Reads the priority of an InferenceObjective. Early ones have the form of an InferenceModel, with a
/// `criticality`.
fn objective(spec: &Fields<'_>, problems: &mut Problems) -> i32 {
    if spec.non_null("modelName").is_some() {
        read_model(spec, "modelName", problems);
    }
    let criticality = spec.non_null("criticality").map(|at| (criticality(&at, problems), at));
    let priority = spec.non_null("priority").map(|at| {
        at.integer(i32::MIN.into()..=i32::MAX.into(), problems)
            .and_then(|priority| priority.try_into().ok())
            .unwrap_or_default()
    });
    match (priority, criticality) {
        (Some(priority), Some((_, at))) => {
            at.report(problems, "cannot be given together with priority; remove one of them");
            priority
        }
        (Some(priority), None) => priority,
        (None, criticality) => criticality.and_then(|(priority, _)| priority).unwrap_or_default(),
    }
}

fn rules(spec: &Fields<'_>, problems: &mut Problems) -> Vec<RewriteRule> {
    let items = spec.required("rules", "a list of rules", problems).and_then(|at| at.items(problems));
    items.into_iter().flatten().filter_map(|item| rule(item, problems)).collect()
}

fn rule(at: Located<'_>, problems: &mut Problems) -> Option<RewriteRule> {
    let fields = at.fields(&["matches", "targets"], problems)?;
    let matches = fields.non_null("matches").and_then(|at| at.items(problems)).into_iter().flatten();
    let models = matches.filter_map(|item| read_match(item, problems)).collect();
    let at = fields.required("targets", "a list of one or more targets", problems)?;
    let targets = targets(&at, "modelRewrite", problems)?;
    if targets.is_empty() {
        at.report(problems, "must not be empty; name at least one target");
    }
    Some(RewriteRule { models, targets })
}

fn read_match(at: Located<'_>, problems: &mut Problems) -> Option<String> {
    let model = at.fields(&["model"], problems)?.required("model", "{ value: MODEL }", problems)?;
    let model = model.fields(&["type", "value"], problems)?;
    if let Some(at) = model.non_null("type")
        && let Some(written) = at.raw_text("Exact", problems)
        && written != "Exact"
    {
        at.report(problems, format!("{} is not supported; write Exact or remove the field", quoted(written)));
    }
    read_model(&model, "value", problems)
}

/// Reads the targets at `at`. The model of each is in its field `name`.
fn targets(at: &Located<'_>, name: &'static str, problems: &mut Problems) -> Option<Vec<RewriteTarget>> {
    let items = at.items(problems)?;
    let read = |item: Located<'_>| {
        let fields = item.fields(&[name, "weight"], problems)?;
        let model = read_model(&fields, name, problems);
        let weights = 1..=RewriteTarget::WEIGHT_MAX.into();
        let weight = fields.non_null("weight").and_then(|at| at.integer(weights, problems));
        let weight = weight.and_then(|weight| weight.try_into().ok());
        Some(RewriteTarget { model: model.unwrap_or_default(), weight })
    };
    Some(items.into_iter().filter_map(read).collect())
}

/// Reads an InferenceModel: an objective, and a rewrite if it has targets.
fn model(spec: &Fields<'_>, problems: &mut Problems) -> Content {
    let model = read_model(spec, "modelName", problems).unwrap_or_default();
    let priority = spec.non_null("criticality").and_then(|at| criticality(&at, problems)).unwrap_or_default();
    let targets = spec.non_null("targetModels").and_then(|at| targets(&at, "name", problems));
    let targets = targets.filter(|targets| !targets.is_empty());
    let rules = targets.map(|targets| vec![RewriteRule { models: vec![model], targets }]);
    Content { priority: Some(priority), rules }
}

fn criticality(at: &Located<'_>, problems: &mut Problems) -> Option<i32> {
    const SUPPORTED: &str = "Critical, Standard or Sheddable";
    match at.raw_text(SUPPORTED, problems)? {
        "Critical" => Some(10),
        "Standard" => Some(0),
        "Sheddable" => Some(-10),
        written => {
            at.report(problems, format!("{} is not supported; write {SUPPORTED}", quoted(written)));
            None
        }
    }
}
