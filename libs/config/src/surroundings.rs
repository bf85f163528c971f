//! What surrounds the profile: request parsing, the data layer, flow control.

use signalbox_document::{Fields, Located, quoted};

use crate::anyway::duration;
use crate::catalogue::{self, Fate};
use crate::findings::Findings;
use crate::parameters::Parameters;
use crate::plugins::{Declared, Part};

const FLOW_CONTROL: [&str; 10] = [
    "maxBytes",
    "maxRequests",
    "defaultRequestTTL",
    "noEndpointRequestTTL",
    "defaultPriorityBand",
    "defaultNegativePriorityBand",
    "priorityBands",
    "usageLimitPolicyPluginRef",
    "saturationDetector",
    "enableEviction",
];

/// Checks all of it.
pub(crate) fn check(fields: &Fields<'_>, plugins: &[Declared<'_>], findings: &mut Findings) {
    let handler = Parameters::at(fields.optional("requestHandler"), &["parsers"], &mut findings.problems);
    for item in handler.items("parsers", &mut findings.problems) {
        parser(item, plugins, findings);
    }
    if let Some(at) = fields.optional("parser").filter(|at| !at.is_nothing()) {
        findings.warn(&at, "parser is deprecated; write requestHandler: { parsers: [{ pluginRef: NAME }] }");
        parser(at, plugins, findings);
    }
    data_layer(fields, plugins, findings);
    let flow = fields.optional("flowControl");
    let flow = Parameters::at(flow, &FLOW_CONTROL, &mut findings.problems);
    for name in FLOW_CONTROL.into_iter().filter(|name| *name != "saturationDetector") {
        if let Some(at) = flow.optional(name) {
            findings.problem(&at, "flow control is not there yet; remove it");
        }
    }
    if let Some(at) = flow.optional("saturationDetector").filter(|at| !at.is_nothing()) {
        saturation_detector(at, plugins, findings);
    }
    if let Some(at) = fields.optional("saturationDetector").filter(|at| !at.is_nothing()) {
        findings.warn(&at, "saturationDetector is deprecated here; it belongs into flowControl");
        saturation_detector(at, plugins, findings);
    }
}

/// The name in a reference that has no other field, and where it is.
fn reference<'a>(at: Located<'a>, findings: &mut Findings) -> Option<(&'a str, Located<'a>)> {
    let fields = at.fields(&["pluginRef"], &mut findings.problems)?;
    let at = fields.required("pluginRef", "NAME", &mut findings.problems)?;
    Some((at.text(&mut findings.problems)?, at))
}

/// Says that `name` is not declared; `kind` is what it should be.
fn undeclared(at: &Located<'_>, name: &str, kind: &str, findings: &mut Findings) {
    findings.problem(at, format!("{} is no {kind} that plugins declares; declare it there", quoted(name)));
}

fn parser(at: Located<'_>, plugins: &[Declared<'_>], findings: &mut Findings) {
    let Some((name, at)) = reference(at, findings) else { return };
    let declared = plugins.iter().find(|declared| declared.plugin.name == name);
    let is_parser = match declared {
        Some(declared) => matches!(declared.part, Part::Parser),
        // A type stands for a plugin of that type, where parsers are listed.
        None => matches!(catalogue::fate(name), Some(Fate::Parser)),
    };
    if !is_parser {
        return undeclared(&at, name, "parser", findings);
    }
    if declared.is_none() {
        findings.ignore(&at, format!("{name}: a request's path says how its body is read"));
    }
    findings.parsers.push(declared.map_or(name, |declared| declared.plugin.kind).to_owned());
}

fn data_layer(fields: &Fields<'_>, plugins: &[Declared<'_>], findings: &mut Findings) {
    let known = [
        "injectDefaults",
        "sources",
        "discovery",
        "peerDiscovery",
        "crossReplicaSyncerPluginRef",
        "crossReplicaSyncInterval",
    ];
    let layer = Parameters::at(fields.optional("dataLayer"), &known, &mut findings.problems);
    if !layer.flag("injectDefaults", true, &mut findings.problems)
        && let Some(at) = layer.optional("injectDefaults")
    {
        findings.warn(&at, "metrics are read all the same");
    }
    for item in layer.items("sources", &mut findings.problems) {
        let Some(source) = item.fields(&["pluginRef", "extractors"], &mut findings.problems) else {
            continue;
        };
        if let Some(at) = source.required("pluginRef", "NAME", &mut findings.problems) {
            data_plugin(&at, plugins, findings);
        }
        let extractors = source.optional("extractors").filter(|at| !at.is_nothing());
        let extractors = extractors.and_then(|at| at.items(&mut findings.problems)).unwrap_or_default();
        for item in extractors {
            let Some(fields) = item.fields(&["pluginRef"], &mut findings.problems) else { continue };
            if let Some(at) = fields.required("pluginRef", "NAME", &mut findings.problems) {
                data_plugin(&at, plugins, findings);
            }
        }
    }
    for name in ["discovery", "peerDiscovery"] {
        if let Some(at) = layer.optional(name) {
            findings.problem(&at, "the aggregator says which endpoints and replicas there are; remove it");
        }
    }
    if let Some(at) = layer.optional("crossReplicaSyncerPluginRef") {
        findings.problem(&at, "replicas share their state without a syncer; remove it");
    }
    duration(&layer, "crossReplicaSyncInterval", findings);
    if let Some(at) = layer.optional("crossReplicaSyncInterval") {
        findings.ignore(&at, "replicas share their state within milliseconds");
    }
}

fn data_plugin(at: &Located<'_>, plugins: &[Declared<'_>], findings: &mut Findings) {
    let Some(name) = at.text(&mut findings.problems) else { return };
    if !plugins.iter().any(|declared| declared.plugin.name == name) {
        undeclared(at, name, "source or extractor", findings);
    }
}

fn saturation_detector(at: Located<'_>, plugins: &[Declared<'_>], findings: &mut Findings) {
    const DETECTORS: [&str; 2] = ["utilization-detector", "concurrency-detector"];
    let Some((name, at)) = reference(at, findings) else { return };
    let declared = plugins.iter().find(|declared| declared.plugin.name == name);
    if declared.is_some_and(|declared| DETECTORS.contains(&declared.plugin.kind)) {
        findings
            .warn(&at, "has no effect yet: no request is shed before flow control and priorities are there");
    } else {
        undeclared(&at, name, "saturation detector", findings);
    }
}
