//! What the objects say. What cannot be read is reported and left out: a file with problems is of no use anyway.

use std::ops::RangeInclusive;

use signalbox_document::{Fields, Located, Problems, quoted};
use signalbox_types::{RewriteRule, RewriteTarget};

use super::envelope::{Kind, PoolRef, given, pool_ref};
use crate::endpoints_file::scalar;
use crate::endpoints_file::schema::valid;

/// What an object says.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The priority of the objective of its name.
    pub(super) priority: Option<i32>,
    /// The rules of the rewrite of its name.
    pub(super) rules: Option<Vec<RewriteRule>>,
}

/// The pool that the object of this `kind` is about whose spec is at `at`, and what it says.
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
        given(spec, "priority").and_then(|at| integer(&at, i32::MIN.into()..=i32::MAX.into(), problems));
    priority.and_then(|priority| priority.try_into().ok()).unwrap_or_default()
}

fn rules(spec: &Fields<'_>, problems: &mut Problems) -> Vec<RewriteRule> {
    let items = spec.required("rules", "a list", problems).and_then(|at| at.items(problems));
    items.into_iter().flatten().filter_map(|item| rule(item, problems)).collect()
}

fn rule(at: Located<'_>, problems: &mut Problems) -> Option<RewriteRule> {
    let fields = at.fields(&["matches", "targets"], problems)?;
    let matches = given(&fields, "matches").and_then(|at| at.items(problems)).into_iter().flatten();
    let models = matches.filter_map(|item| matched(item, problems)).collect();
    let at = fields.required("targets", "a list of one or more", problems)?;
    let targets = targets(&at, "modelRewrite", problems)?;
    if targets.is_empty() {
        at.report(problems, "has no target; name one or more");
    }
    Some(RewriteRule { models, targets })
}

fn matched(at: Located<'_>, problems: &mut Problems) -> Option<String> {
    let model = at.fields(&["model"], problems)?.required("model", "{ value: MODEL }", problems)?;
    let model = model.fields(&["type", "value"], problems)?;
    if let Some(at) = given(&model, "type")
        && let Some(written) = at.written("Exact", problems)
        && written != "Exact"
    {
        at.report(problems, format!("{} is not known; write Exact, or leave it out", quoted(written)));
    }
    model_in(&model, "value", problems)
}

/// The targets at `at`, each with its model in the field called `name`.
fn targets(at: &Located<'_>, name: &'static str, problems: &mut Problems) -> Option<Vec<RewriteTarget>> {
    let items = at.items(problems)?;
    let read = |item: Located<'_>| {
        let fields = item.fields(&[name, "weight"], problems)?;
        let model = model_in(&fields, name, problems);
        let weights = 1..=RewriteTarget::WEIGHT_MAX.into();
        let weight = given(&fields, "weight").and_then(|at| integer(&at, weights, problems));
        let weight = weight.and_then(|weight| weight.try_into().ok());
        Some(RewriteTarget { model: model.unwrap_or_default(), weight })
    };
    Some(items.into_iter().filter_map(read).collect())
}

/// The objective that an InferenceModel is, and where it has targets the rewrite.
fn model(spec: &Fields<'_>, problems: &mut Problems) -> Content {
    let model = model_in(spec, "modelName", problems).unwrap_or_default();
    let priority = given(spec, "criticality").and_then(|at| criticality(&at, problems)).unwrap_or_default();
    let targets = given(spec, "targetModels").and_then(|at| targets(&at, "name", problems));
    let targets = targets.filter(|targets| !targets.is_empty());
    let rules = targets.map(|targets| vec![RewriteRule { models: vec![model], targets }]);
    Content { priority: Some(priority), rules }
}

fn criticality(at: &Located<'_>, problems: &mut Problems) -> Option<i32> {
    const KNOWN: &str = "Critical, Standard or Sheddable";
    match at.written(KNOWN, problems)? {
        "Critical" => Some(10),
        "Standard" => Some(0),
        "Sheddable" => Some(-10),
        written => {
            at.report(problems, format!("{} is not known; write {KNOWN}", quoted(written)));
            None
        }
    }
}

/// The model that is named in the field called `field`.
fn model_in(fields: &Fields<'_>, field: &str, problems: &mut Problems) -> Option<String> {
    let at = fields.required(field, "MODEL", problems)?;
    valid(&at, at.text(problems)?, scalar::model, problems)
}

fn integer(at: &Located<'_>, range: RangeInclusive<i64>, problems: &mut Problems) -> Option<i64> {
    let number = at.number(problems)?;
    // The range is far inside of what a fraction holds exactly.
    let integer = Some(number).filter(|number| number.fract() == 0.0).map(|number| number as i64);
    let integer = integer.filter(|integer| range.contains(integer));
    if integer.is_none() {
        let (least, most) = (range.start(), range.end());
        at.report(problems, format!("must be a whole number from {least} to {most}"));
    }
    integer
}
