//! Reads priority bands.

use std::collections::BTreeMap;

use signalbox_document::quoted;
use signalbox_flow::{BandSettings, Caps, Fairness, FlowSettings, Ordering};

use super::find;
use crate::diagnostics::Diagnostics;
use crate::other_sections::report_undeclared;
use crate::parameters::{Bounds, Parameters};
use crate::plugins::flow_policies::FlowPolicy;
use crate::plugins::{Component, DeclaredPlugin};

const KNOWN: [&str; 7] = [
    "priority",
    "maxBytes",
    "maxRequests",
    "maxTokens",
    "fairnessPolicyRef",
    "orderingPolicyRef",
    "minShare",
];

/// Policies that need not be declared.
const FAIRNESS: [(&str, Fairness); 4] = [
    ("weighted-fairness-policy", Fairness::Weighted),
    ("global-strict-fairness-policy", Fairness::Strict),
    ("round-robin-fairness-policy", Fairness::RoundRobin),
    ("program-aware-fairness", Fairness::ProgramAware),
];
const ORDERING: [(&str, Ordering); 3] = [
    ("fcfs-ordering-policy", Ordering::Arrival),
    ("edf-ordering-policy", Ordering::Deadline),
    ("slo-deadline-ordering-policy", Ordering::TtftGoal),
];

/// Returns settings with the bands of the section `flow`.
pub(super) fn read(
    flow: &Parameters<'_>,
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) -> FlowSettings {
    let base = BandSettings::default();
    let template = |name, diagnostics: &mut Diagnostics| {
        let fields = flow.nested(name, &KNOWN, &mut diagnostics.problems);
        band(&fields, base, plugins, diagnostics)
    };
    let default_band = template("defaultPriorityBand", diagnostics);
    let default_negative_band = template("defaultNegativePriorityBand", diagnostics);
    let mut bands = BTreeMap::new();
    let items = flow.items("priorityBands", &mut diagnostics.problems);
    if let Some(at) = flow.optional("priorityBands")
        && items.len() > FlowSettings::MAX_BANDS
    {
        let (count, most) = (items.len(), FlowSettings::MAX_BANDS);
        diagnostics.add_problem(&at, format!("{count} bands are too many; keep at most {most}"));
    }
    for at in items {
        let fields = Parameters::read(Some(at.clone()), &KNOWN, &mut diagnostics.problems);
        let priority = fields.optional("priority");
        let Some(priority) = priority.and_then(|at| Bounds::PRIORITY.read(&at, &mut diagnostics.problems))
        else {
            if fields.optional("priority").is_none() {
                diagnostics.add_problem(&at, "priority is missing; write priority: 0");
            }
            continue;
        };
        // What a band leaves out is as in the template for its priority.
        let template = if priority < 0.0 { default_negative_band } else { default_band };
        let settings = band(&fields, template, plugins, diagnostics);
        if bands.insert(priority as i32, settings).is_some() {
            diagnostics.add_problem(&at, format!("priority {priority} has two bands; keep one"));
        }
    }
    let shares = bands.values().map(|band: &BandSettings| u32::from(band.min_share_percent)).sum::<u32>();
    if shares > 100
        && let Some(at) = flow.optional("priorityBands")
    {
        diagnostics.add_problem(&at, format!("the bands' minShare add up to {shares} %; lower them to 100"));
    }
    FlowSettings { bands, default_band, default_negative_band, ..FlowSettings::default() }
}

/// Reads the settings of one band; what is left out is as in `template`.
fn band(
    fields: &Parameters<'_>,
    template: BandSettings,
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) -> BandSettings {
    let problems = &mut diagnostics.problems;
    let share = fields.number("minShare", f64::from(template.min_share_percent), Bounds::PERCENT, problems);
    let caps = Caps {
        requests: fields.limit("maxRequests", problems).unwrap_or(template.caps.requests),
        bytes: fields.bytes("maxBytes", problems).unwrap_or(template.caps.bytes),
        tokens: fields.limit("maxTokens", problems).unwrap_or(template.caps.tokens),
    };
    let fairness =
        policy(fields, "fairnessPolicyRef", &FAIRNESS, plugins, diagnostics, |policy| match policy {
            FlowPolicy::Fairness(fairness) => Some(*fairness),
            _ => None,
        });
    let ordering =
        policy(fields, "orderingPolicyRef", &ORDERING, plugins, diagnostics, |policy| match policy {
            FlowPolicy::Ordering(ordering) => Some(*ordering),
            _ => None,
        });
    BandSettings {
        caps,
        fairness: fairness.unwrap_or(template.fairness),
        ordering: ordering.unwrap_or(template.ordering),
        min_share_percent: share as u8,
    }
}

/// Returns the policy that the field `name` refers to: a declared plugin, or one of the types `known`.
fn policy<T: Copy>(
    fields: &Parameters<'_>,
    name: &str,
    known: &[(&'static str, T)],
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
    select: impl Fn(&FlowPolicy) -> Option<T>,
) -> Option<T> {
    let at = fields.optional(name).filter(|at| !at.is_null())?;
    let referred = at.text(&mut diagnostics.problems)?;
    if diagnostics.unusable.contains(referred) {
        return None;
    }
    let known_type = known.iter().find(|(known, _)| *known == referred).map(|(_, policy)| *policy);
    match find(referred, plugins) {
        Some(Component::Flow(policy)) if select(policy).is_some() => select(policy),
        None if known_type.is_some() => known_type,
        Some(_) => {
            let types: Vec<_> = known.iter().map(|(known, _)| *known).collect();
            let message = format!(
                "{} is none of the plugins for this; use one of: {}",
                quoted(referred),
                types.join(", ")
            );
            diagnostics.add_problem(&at, message);
            None
        }
        None => {
            let types: Vec<_> = known.iter().map(|(known, _)| *known).collect();
            report_undeclared(
                &at,
                referred,
                &format!("plugin of the types {}", types.join(", ")),
                diagnostics,
            );
            None
        }
    }
}
