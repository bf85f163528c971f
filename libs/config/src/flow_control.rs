//! Reads flow control: which requests wait while the pool is full, in which order they go, and for how long they wait.

mod bands;
mod detector;

use signalbox_document::{Fields, Located};
use signalbox_flow::{Caps, Ceilings, FlowKey, FlowSettings};

use crate::diagnostics::Diagnostics;
use crate::other_sections::report_undeclared;
use crate::parameters::{Bounds, Parameters};
use crate::plugins::flow_policies::FlowPolicy;
use crate::plugins::{Component, DeclaredPlugin};

const KNOWN: [&str; 13] = [
    "maxBytes",
    "maxRequests",
    "maxTokens",
    "defaultRequestTTL",
    "noEndpointRequestTTL",
    "sheddableWait",
    "defaultPriorityBand",
    "defaultNegativePriorityBand",
    "priorityBands",
    "weights",
    "usageLimitPolicyPluginRef",
    DETECTOR,
    "enableEviction",
];

/// The field with the saturation detector. Older files have it at the top level.
const DETECTOR: &str = "saturationDetector";

/// Which requests wait while the pool is full.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowControl {
    /// Whether the feature gate is set. Otherwise no request waits, and those with a negative priority are refused while the
    /// pool is full.
    pub is_enabled: bool,
    /// The settings.
    pub settings: FlowSettings,
}

/// Reads flow control, whose feature gate is set or not.
pub(crate) fn read(
    fields: &Fields<'_>,
    is_enabled: bool,
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) -> FlowControl {
    let section = fields.optional("flowControl").filter(|at| !at.is_null());
    let flow = Parameters::read(section.clone(), &KNOWN, &mut diagnostics.problems);
    if let Some(at) = &section
        && !is_enabled
        && KNOWN.iter().any(|name| *name != DETECTOR && flow.optional(name).is_some())
    {
        let message = "of this section, only saturationDetector has an effect without the feature gate; write featureGates: [flowControl]";
        diagnostics.add_warning(at, message);
    }
    let mut settings = bands::read(&flow, plugins, diagnostics);
    let problems = &mut diagnostics.problems;
    settings.caps = Caps {
        requests: flow.limit("maxRequests", problems).unwrap_or(u64::MAX),
        bytes: flow.bytes("maxBytes", problems).unwrap_or(u64::MAX),
        tokens: flow.limit("maxTokens", problems).unwrap_or(u64::MAX),
    };
    read_times(&flow, &mut settings, diagnostics);
    read_weights(&flow, &mut settings, diagnostics);
    settings.revokes = flow.boolean("enableEviction", false, &mut diagnostics.problems);
    if let Some(at) = flow.optional("usageLimitPolicyPluginRef").filter(|at| !at.is_null())
        && let Some(ceilings) = ceilings(&at, plugins, diagnostics)
    {
        settings.ceilings = ceilings;
    }
    if let Some(detector) = detector::read(fields, &flow, plugins, diagnostics) {
        settings.detector = detector;
    }
    FlowControl { is_enabled, settings }
}

fn read_times(flow: &Parameters<'_>, settings: &mut FlowSettings, diagnostics: &mut Diagnostics) {
    let problems = &mut diagnostics.problems;
    // 0 stands for no limit.
    let limit = |ttl_ms: u64| Some(ttl_ms).filter(|ttl_ms| *ttl_ms > 0);
    if let Some(ttl_ms) = flow.duration_ms("defaultRequestTTL", problems) {
        (settings.request_ttl_ms, settings.no_endpoint_ttl_ms) = (limit(ttl_ms), limit(ttl_ms));
    }
    if let Some(ttl_ms) = flow.duration_ms("noEndpointRequestTTL", problems) {
        settings.no_endpoint_ttl_ms = limit(ttl_ms);
    }
    settings.sheddable_wait_ms = flow.duration_ms("sheddableWait", problems).unwrap_or(0);
}

fn read_weights(flow: &Parameters<'_>, settings: &mut FlowSettings, diagnostics: &mut Diagnostics) {
    let problems = &mut diagnostics.problems;
    let weights = flow.optional("weights").filter(|at| !at.is_null());
    let members = weights.as_ref().and_then(|at| at.members(problems)).unwrap_or_default();
    if let Some(at) = &weights
        && members.len() > FlowSettings::MAX_WEIGHTS
    {
        let (count, most) = (members.len(), FlowSettings::MAX_WEIGHTS);
        at.report(problems, format!("{count} weights are too many; keep at most {most}"));
    }
    for (id, at) in members {
        if id.len() > FlowKey::MAX_ID_BYTES {
            let most = FlowKey::MAX_ID_BYTES;
            at.report(problems, format!("the fairness id is longer than {most} bytes; shorten it"));
        }
        if let Some(weight) = Bounds::WEIGHT.read(&at, problems) {
            settings.weights.insert(id.to_owned(), weight as u32);
        }
    }
}

fn ceilings(
    at: &Located<'_>,
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) -> Option<Ceilings> {
    let name = at.text(&mut diagnostics.problems)?;
    match find(name, plugins) {
        Some(Component::Flow(FlowPolicy::Ceilings(ceilings))) => Some(*ceilings),
        None if name == "static-usage-limit-policy" => Some(Ceilings::Static),
        None if name == "soft-reflective-ceiling-policy" => Some(Ceilings::Reflective),
        _ => {
            report_undeclared(at, name, "usage limit policy", diagnostics);
            None
        }
    }
}

/// Returns what the plugin named `name` is, if it is declared.
fn find<'p>(name: &str, plugins: &'p [DeclaredPlugin<'_>]) -> Option<&'p Component> {
    plugins.iter().find(|declared| declared.plugin.name == name).map(|declared| &declared.component)
}
