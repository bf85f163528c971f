//! Reads the top level of a configuration file and delegates to its sections.

use signalbox_document::{Fields, Located, Node, quoted};
use signalbox_schedule::Weighted;

use crate::diagnostics::Diagnostics;
use crate::flow_control::FlowControl;
use crate::parameters::hint;
use crate::{flow_control, other_sections, plugins, profile};

pub(crate) const KIND: &str = "EndpointPickerConfig";
const API_VERSION: &str = "llm-d.ai/v1alpha1";
const LEGACY_API_VERSION: &str = "inference.networking.x-k8s.io/v1alpha1";

/// The fields of a configuration.
pub(crate) const FIELDS: [&str; 11] = [
    "apiVersion",
    "kind",
    "featureGates",
    "plugins",
    "schedulingProfiles",
    "requestHandler",
    "dataLayer",
    "data",
    "flowControl",
    "saturationDetector",
    "parser",
];

/// Returns the name of the profile, the policy that it defines, and flow control.
pub(crate) fn read(root: &Node, diagnostics: &mut Diagnostics) -> Option<(String, Weighted, FlowControl)> {
    let fields = Located::root(root).fields(&FIELDS, &mut diagnostics.problems)?;
    api_version(&fields, diagnostics);
    if let Some(at) = fields.required("kind", KIND, &mut diagnostics.problems)
        && let Some(written) = at.raw_text(KIND, &mut diagnostics.problems)
        && written != KIND
    {
        diagnostics.add_problem(&at, format!("unknown kind {}; write kind: {KIND}", quoted(written)));
    }
    let is_enabled = feature_gates(&fields, diagnostics);
    let plugins = plugins::read(&fields, diagnostics);
    other_sections::check(&fields, &plugins, diagnostics);
    let flow_control = flow_control::read(&fields, is_enabled, &plugins, diagnostics);
    let (name, weighted) = profile::read(&fields, &plugins, diagnostics)?;
    Some((name, weighted, flow_control))
}

fn api_version(fields: &Fields<'_>, diagnostics: &mut Diagnostics) {
    let Some(at) = fields.required("apiVersion", API_VERSION, &mut diagnostics.problems) else { return };
    match at.raw_text(API_VERSION, &mut diagnostics.problems) {
        None | Some(API_VERSION) => {}
        Some(LEGACY_API_VERSION) => {
            diagnostics.add_warning(&at, format!("{LEGACY_API_VERSION} is deprecated; write {API_VERSION}"));
        }
        Some(written) => {
            let message = format!("unknown version {}; write apiVersion: {API_VERSION}", quoted(written));
            diagnostics.add_problem(&at, message);
        }
    }
}

/// Feature gates of older releases of the Go EPP, and what applies instead.
const OLDER_GATES: [(&str, &str); 3] = [
    ("dataLayer", "the section dataLayer needs no gate; collectors always scrape metrics"),
    ("prepareDataPlugins", "what plugins need is always prepared; declare no gate"),
    (
        "model-server-protocol-metrics",
        "it is a plugin type now, core-metrics-extractor; metrics are always read",
    ),
];

/// Returns whether the feature gate of flow control is set.
fn feature_gates(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> bool {
    const FLOW_CONTROL: &str = "flowControl";
    const POPULATE: &str = "haPopulateNonLeaderDatastore";
    let mut is_enabled = false;
    let gates = fields.optional("featureGates").filter(|at| !at.is_null());
    for gate in gates.and_then(|at| at.items(&mut diagnostics.problems)).unwrap_or_default() {
        let Some(text) = gate.text(&mut diagnostics.problems) else { continue };
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        match (name, value) {
            (FLOW_CONTROL, "true" | "false") => is_enabled = value == "true",
            (POPULATE, "true" | "false") => {
                diagnostics.add_ignored(&gate, "all replicas hold the pool state; there is no leader");
            }
            (FLOW_CONTROL | POPULATE, _) => {
                diagnostics
                    .add_problem(&gate, format!("{} is not a boolean; write {name}=false", quoted(value)));
            }
            (older, "true" | "false") if instead_of_gate(older).is_some() => {
                let instead = instead_of_gate(older).unwrap_or_default();
                let message =
                    format!("{} is a gate of older releases, without effect: {instead}", quoted(name));
                diagnostics.add_warning(&gate, message);
            }
            _ => {
                let hint = hint(name, &[FLOW_CONTROL, POPULATE]);
                diagnostics.add_problem(&gate, format!("unknown feature gate {}; {hint}", quoted(name)));
            }
        }
    }
    is_enabled
}

/// Returns what applies instead of the older feature gate `name`.
fn instead_of_gate(name: &str) -> Option<&'static str> {
    OLDER_GATES.iter().find(|(older, _)| *older == name).map(|(_, instead)| *instead)
}
