//! Checks the sections for request parsing and the data layer; reads references to plugins.

use signalbox_document::{Fields, Located, quoted};

use crate::diagnostics::Diagnostics;
use crate::parameters::Parameters;
use crate::plugins::catalog::{self, Support};
use crate::plugins::{Component, DeclaredPlugin};

/// Checks all these sections.
pub(crate) fn check(fields: &Fields<'_>, plugins: &[DeclaredPlugin<'_>], diagnostics: &mut Diagnostics) {
    let handler =
        Parameters::read(fields.optional("requestHandler"), &["parsers"], &mut diagnostics.problems);
    for item in handler.items("parsers", &mut diagnostics.problems) {
        parser(item, plugins, diagnostics);
    }
    if let Some(at) = fields.optional("parser").filter(|at| !at.is_null()) {
        diagnostics.add_warning(
            &at,
            "parser is deprecated; write requestHandler: { parsers: [{ pluginRef: NAME }] }",
        );
        parser(at, plugins, diagnostics);
    }
    data_layer(fields, plugins, diagnostics);
}

/// Reads a mapping whose only field is `pluginRef`. Returns the name and its position.
pub(crate) fn reference<'a>(
    at: Located<'a>,
    diagnostics: &mut Diagnostics,
) -> Option<(&'a str, Located<'a>)> {
    let fields = at.fields(&["pluginRef"], &mut diagnostics.problems)?;
    let at = fields.required("pluginRef", "NAME", &mut diagnostics.problems)?;
    Some((at.text(&mut diagnostics.problems)?, at))
}

/// Reports that `plugins` does not declare `name` as a plugin of the kind `expected`.
pub(crate) fn report_undeclared(at: &Located<'_>, name: &str, expected: &str, diagnostics: &mut Diagnostics) {
    diagnostics
        .add_problem(at, format!("plugins declares no {expected} named {}; declare it there", quoted(name)));
}

fn parser(at: Located<'_>, plugins: &[DeclaredPlugin<'_>], diagnostics: &mut Diagnostics) {
    let Some((name, at)) = reference(at, diagnostics) else { return };
    let declared = plugins.iter().find(|declared| declared.plugin.name == name);
    let is_parser = match declared {
        Some(declared) => matches!(declared.component, Component::Parser),
        // In the list of parsers, a type can be given instead of a declared plugin.
        None => matches!(catalog::support(name), Some(Support::Parser)),
    };
    if !is_parser {
        return report_undeclared(&at, name, "parser", diagnostics);
    }
    if declared.is_none() {
        diagnostics.add_ignored(&at, format!("{name}: the request's path selects the parser"));
    }
    diagnostics.parsers.push(declared.map_or(name, |declared| declared.plugin.plugin_type).to_owned());
}

fn data_layer(fields: &Fields<'_>, plugins: &[DeclaredPlugin<'_>], diagnostics: &mut Diagnostics) {
    let known = [
        "injectDefaults",
        "sources",
        "discovery",
        "peerDiscovery",
        "crossReplicaSyncerPluginRef",
        "crossReplicaSyncInterval",
    ];
    let layer = Parameters::read(fields.optional("dataLayer"), &known, &mut diagnostics.problems);
    if !layer.boolean("injectDefaults", true, &mut diagnostics.problems)
        && let Some(at) = layer.optional("injectDefaults")
    {
        diagnostics.add_warning(&at, "no effect: metrics are always scraped");
    }
    for item in layer.items("sources", &mut diagnostics.problems) {
        let Some(source) = item.fields(&["pluginRef", "extractors"], &mut diagnostics.problems) else {
            continue;
        };
        if let Some(at) = source.required("pluginRef", "NAME", &mut diagnostics.problems) {
            data_plugin(&at, plugins, diagnostics);
        }
        let extractors = source.optional("extractors").filter(|at| !at.is_null());
        let extractors = extractors.and_then(|at| at.items(&mut diagnostics.problems)).unwrap_or_default();
        for item in extractors {
            let Some(fields) = item.fields(&["pluginRef"], &mut diagnostics.problems) else { continue };
            if let Some(at) = fields.required("pluginRef", "NAME", &mut diagnostics.problems) {
                data_plugin(&at, plugins, diagnostics);
            }
        }
    }
    for name in ["discovery", "peerDiscovery"] {
        if let Some(at) = layer.optional(name) {
            diagnostics.add_problem(&at, "endpoints and replicas come from the aggregator; remove it");
        }
    }
    if let Some(at) = layer.optional("crossReplicaSyncerPluginRef") {
        diagnostics.add_problem(&at, "replicas share their state without a syncer; remove it");
    }
    if let Some(at) = layer.optional("crossReplicaSyncInterval") {
        // A duration such as `200ms`; only its type is checked.
        let _ = at.text(&mut diagnostics.problems);
        diagnostics.add_ignored(&at, "replicas share their state within milliseconds");
    }
}

fn data_plugin(at: &Located<'_>, plugins: &[DeclaredPlugin<'_>], diagnostics: &mut Diagnostics) {
    let Some(name) = at.text(&mut diagnostics.problems) else { return };
    if !plugins.iter().any(|declared| declared.plugin.name == name) {
        report_undeclared(at, name, "source or extractor", diagnostics);
    }
}
