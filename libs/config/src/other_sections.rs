//! Checks the sections for request parsing and the data layer; reads references to plugins.

use signalbox_document::{Fields, Located, quoted};

use crate::diagnostics::Diagnostics;
use crate::parameters::Parameters;
use crate::plugins::catalog::{self, Support};
use crate::plugins::{Component, DeclaredPlugin};

/// Checks all these sections.
pub(crate) fn check(fields: &Fields<'_>, plugins: &[DeclaredPlugin<'_>], diagnostics: &mut Diagnostics) {
    parsers(fields, plugins, diagnostics);
    data_layer(fields, plugins, diagnostics);
}

/// Reads the list of parsers, or the field that older files have instead. If both are given, the list counts, as in
/// the Go EPP.
fn parsers(fields: &Fields<'_>, plugins: &[DeclaredPlugin<'_>], diagnostics: &mut Diagnostics) {
    let handler =
        Parameters::read(fields.optional("requestHandler"), &["parsers"], &mut diagnostics.problems);
    let listed = handler.items("parsers", &mut diagnostics.problems);
    if let Some(at) = fields.non_null("parser") {
        if listed.is_empty() {
            let message = "parser is deprecated; write requestHandler: { parsers: [{ pluginRef: NAME }] }";
            diagnostics.add_warning(&at, message);
            parser(at, plugins, diagnostics);
        } else {
            diagnostics.add_warning(&at, "has no effect besides requestHandler.parsers; remove it");
        }
    }
    for item in listed {
        parser(item, plugins, diagnostics);
    }
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

/// Reports that `plugins` does not declare `name` as a plugin of the kind `expected`, unless what it declares by
/// this name is reported already.
pub(crate) fn report_undeclared(at: &Located<'_>, name: &str, expected: &str, diagnostics: &mut Diagnostics) {
    if diagnostics.unusable.contains(name) {
        return;
    }
    diagnostics
        .add_problem(at, format!("plugins declares no {expected} named {}; declare it there", quoted(name)));
}

fn parser(at: Located<'_>, plugins: &[DeclaredPlugin<'_>], diagnostics: &mut Diagnostics) {
    let Some((name, at)) = reference(at, diagnostics) else { return };
    if diagnostics.unusable.contains(name) {
        return;
    }
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
    let mut section = fields.non_null("dataLayer");
    if let Some(older) = fields.non_null("data") {
        let message = match section {
            Some(_) => "has no effect besides dataLayer; remove it",
            None => "is the older name of dataLayer; write that",
        };
        diagnostics.add_warning(&older, message);
        section = section.or(Some(older));
    }
    let layer = Parameters::read(section, &known, &mut diagnostics.problems);
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
