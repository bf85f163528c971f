//! Reads how saturation is measured.

use signalbox_document::{Fields, Located, Value, quoted};
use signalbox_flow::Detector;
use signalbox_schedule::{Concurrency, Filter, Saturation};

use super::{DETECTOR, find};
use crate::diagnostics::Diagnostics;
use crate::other_sections::report_undeclared;
use crate::parameters::Parameters;
use crate::plugins::flow_policies::FlowPolicy;
use crate::plugins::{Component, DeclaredPlugin, saturation};

/// The detector that the Go EPP declares by itself.
const DEFAULT_OF_GO: &str = "utilization-detector";
/// Signalbox's own detector, which has a default for its only parameter.
const OWN: &str = "wait-detector";

/// Parameters of [`DEFAULT_OF_GO`] that files of older releases have in place of a reference.
const INLINE: [&str; 3] = ["queueDepthThreshold", "kvCacheUtilThreshold", "metricsStalenessThreshold"];

/// Returns the detector that the file names, in the section `flow` or, as older files do, at the top level. If both
/// are given, the section counts, as in the Go EPP. Without one, or with an empty one, the default applies.
pub(super) fn read(
    top: &Fields<'_>,
    flow: &Parameters<'_>,
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) -> Option<Detector> {
    let nested = flow.optional(DETECTOR).filter(|at| !at.is_null());
    if let Some(at) = top.non_null(DETECTOR) {
        if nested.is_some() {
            diagnostics.add_warning(&at, "has no effect besides flowControl.saturationDetector; remove it");
        } else {
            diagnostics.add_warning(&at, "saturationDetector is deprecated here; move it to flowControl");
            return detector(at, plugins, diagnostics);
        }
    }
    detector(nested?, plugins, diagnostics)
}

fn detector(
    at: Located<'_>,
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) -> Option<Detector> {
    if has_inline(&at) {
        return inline(at, diagnostics);
    }
    let whole = at.clone();
    let fields = at.fields(&["pluginRef"], &mut diagnostics.problems)?;
    let Some(at) = fields.non_null("pluginRef") else {
        diagnostics.add_ignored(&whole, "it names no detector, so the default one measures saturation");
        return None;
    };
    let name = at.text(&mut diagnostics.problems)?;
    if name.is_empty() {
        diagnostics.add_ignored(&at, "it names no detector, so the default one measures saturation");
        return None;
    }
    diagnostics.detectors.push(name.to_owned());
    match find(name, plugins) {
        Some(Component::Flow(FlowPolicy::Detector(detector))) => Some(*detector),
        Some(Component::Filter(Filter::Saturation(saturation))) => Some(by_utilization(*saturation)),
        Some(Component::Filter(Filter::Concurrency(Concurrency { requests, tokens, .. }))) => {
            Some(Detector::Concurrency { requests: *requests, tokens: *tokens })
        }
        _ if diagnostics.unusable.contains(name) => None,
        Some(_) => {
            let known = "utilization-detector, concurrency-detector or wait-detector";
            let name = quoted(name);
            diagnostics
                .add_problem(&at, format!("{name} is no saturation detector; name a plugin of type {known}"));
            None
        }
        None if name == DEFAULT_OF_GO => Some(by_utilization(saturation(
            &Parameters::read(None, &[], &mut diagnostics.problems),
            diagnostics,
        ))),
        None if name == OWN => Some(Detector::default()),
        None => {
            report_undeclared(&at, name, "saturation detector", diagnostics);
            None
        }
    }
}

/// Returns whether the detector at `at` has parameters in place of a reference.
fn has_inline(at: &Located<'_>) -> bool {
    let Value::Map(entries) = &at.node.value else { return false };
    entries.iter().any(|entry| INLINE.contains(&entry.key.as_str()))
}

/// Reads the form of older releases: the parameters of the default detector.
fn inline(at: Located<'_>, diagnostics: &mut Diagnostics) -> Option<Detector> {
    let parameters = Parameters::read(Some(at), &INLINE, &mut diagnostics.problems);
    for name in INLINE {
        if let Some(at) = parameters.optional(name) {
            let message = format!(
                "is the form of older releases; it is now the parameter {name} of a plugin of type {DEFAULT_OF_GO} that flowControl.saturationDetector.pluginRef names"
            );
            diagnostics.add_warning(&at, message);
        }
    }
    Some(by_utilization(saturation(&parameters, diagnostics)))
}

fn by_utilization(saturation: Saturation) -> Detector {
    Detector::Utilization { queue_depth: saturation.queue_depth, kv_use: saturation.kv_used }
}
