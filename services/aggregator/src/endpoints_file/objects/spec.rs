//! Reads the specs of objects. Invalid parts are reported and left out, because a file with problems is
//! rejected anyway.

use std::ops::RangeInclusive;

use signalbox_document::{Fields, Located, Problems, quoted};
use signalbox_types::{RewriteRule, RewriteTarget};

use super::header::{Kind, PoolRef, non_null, pool_ref};
use crate::endpoints_file::scalar;
use crate::endpoints_file::schema::parse_scalar;

/// What an object defines.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Priority of the objective with the object's name.
    pub(super) priority: Option<i32>,
    /// Rules of the rewrite with the object's name.
    pub(super) rules: Option<Vec<RewriteRule>>,
}

/// Reads the spec at `at` of an object of this `kind`. Returns the pool that it references and what it
/// defines.
pub(super) fn read<'a>(
    kind: Kind,
    at: Located<'a>,
    problems: &mut Problems,
) -> Option<(Option<PoolRef<'a>>, Content)> {
    let known: &[&str] = match kind {
        Kind::Objective => &["poolRef", "priority"],
        Kind::Rewrite => &["poolRef", "rules"],
        Kind::Model => &["poolRef", "modelName", "criticality", "targetModels"],
    };
    let spec = at.fields(known, problems)?;
    let pool = pool_ref(&spec, problems);
    let content = match kind {
        Kind::Objective => Content { priority: Some(priority(&spec, problems)), rules: None },
        Kind::Rewrite => Content { priority: None, rules: Some(rules(&spec, problems)) },
        Kind::Model => model(&spec, problems),
    };
    Some((pool, content))
}

fn priority(spec: &Fields<'_>, problems: &mut Problems) -> i32 {
    let priority =
        non_null(spec, "priority").and_then(|at| integer(&at, i32::MIN.into()..=i32::MAX.into(), problems));
    priority.and_then(|priority| priority.try_into().ok()).unwrap_or_default()
}

fn rules(spec: &Fields<'_>, problems: &mut Problems) -> Vec<RewriteRule> {
    let items = spec.required("rules", "a list of rules", problems).and_then(|at| at.items(problems));
    items.into_iter().flatten().filter_map(|item| rule(item, problems)).collect()
}

fn rule(at: Located<'_>, problems: &mut Problems) -> Option<RewriteRule> {
    let fields = at.fields(&["matches", "targets"], problems)?;
    let matches = non_null(&fields, "matches").and_then(|at| at.items(problems)).into_iter().flatten();
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
    if let Some(at) = non_null(&model, "type")
        && let Some(written) = at.raw_text("Exact", problems)
        && written != "Exact"
    {
        at.report(problems, format!("{} is not supported; write Exact or remove the field", quoted(written)));
    }
    model_in(&model, "value", problems)
}

/// Reads the targets at `at`. The model of each is in its field `name`.
fn targets(at: &Located<'_>, name: &'static str, problems: &mut Problems) -> Option<Vec<RewriteTarget>> {
    let items = at.items(problems)?;
    let read = |item: Located<'_>| {
        let fields = item.fields(&[name, "weight"], problems)?;
        let model = model_in(&fields, name, problems);
        let weights = 1..=RewriteTarget::WEIGHT_MAX.into();
        let weight = non_null(&fields, "weight").and_then(|at| integer(&at, weights, problems));
        let weight = weight.and_then(|weight| weight.try_into().ok());
        Some(RewriteTarget { model: model.unwrap_or_default(), weight })
    };
    Some(items.into_iter().filter_map(read).collect())
}

/// Reads an InferenceModel: an objective, and a rewrite if it has targets.
fn model(spec: &Fields<'_>, problems: &mut Problems) -> Content {
    let model = model_in(spec, "modelName", problems).unwrap_or_default();
    let priority =
        non_null(spec, "criticality").and_then(|at| criticality(&at, problems)).unwrap_or_default();
    let targets = non_null(spec, "targetModels").and_then(|at| targets(&at, "name", problems));
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

/// Reads the name of a model from the field `field`.
fn model_in(fields: &Fields<'_>, field: &str, problems: &mut Problems) -> Option<String> {
    let at = fields.required(field, "MODEL", problems)?;
    parse_scalar(&at, at.text(problems)?, scalar::model, problems)
}

fn integer(at: &Located<'_>, range: RangeInclusive<i64>, problems: &mut Problems) -> Option<i64> {
    let number = at.number(problems)?;
    // All integers of the range are exact in an `f64`.
    let integer = Some(number).filter(|number| number.fract() == 0.0).map(|number| number as i64);
    let integer = integer.filter(|integer| range.contains(integer));
    if integer.is_none() {
        let (least, most) = (range.start(), range.end());
        at.report(problems, format!("must be a whole number from {least} to {most}"));
    }
    integer
}
