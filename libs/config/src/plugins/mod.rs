//! Reads the `plugins` list.

pub(crate) mod catalog;
mod filters;
pub(crate) mod flow_policies;
mod ignored;
mod metrics_pages;
mod older_prefix;
mod older_types;
mod pickers;
mod plugin;
mod scorers;
mod session_affinity;

use std::collections::HashMap;

use signalbox_document::{Fields, quoted};
use signalbox_schedule::{Filter, Picker, Scorer};

use crate::diagnostics::Diagnostics;
use catalog::Support;
pub(crate) use filters::saturation;
use flow_policies::FlowPolicy;
use plugin::Plugin;

/// A plugin that the file declares, and its function in decisions.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredPlugin<'a> {
    pub(crate) plugin: Plugin<'a>,
    pub(crate) component: Component,
}

/// The function of a plugin in decisions.
#[derive(Clone, Debug)]
pub(crate) enum Component {
    Filter(Filter),
    Scorer(Scorer),
    Picker(Picker),
    Parser,
    /// A policy of flow control.
    Flow(FlowPolicy),
    /// No function.
    Other,
}

/// Returns all declared plugins in the order of the file, including those that are reported as unusable.
pub(crate) fn read<'a>(fields: &Fields<'a>, diagnostics: &mut Diagnostics) -> Vec<DeclaredPlugin<'a>> {
    let problems = &mut diagnostics.problems;
    let list = fields.required("plugins", "a list of { type: TYPE }", problems);
    let items = list.and_then(|list| list.items(problems)).unwrap_or_default();
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut plugins = Vec::new();
    for item in items {
        let Some(plugin) = Plugin::read(item, diagnostics) else { continue };
        let line = *first.entry(plugin.name).or_insert(plugin.at.node.line);
        if diagnostics.declared.iter().any(|(name, _)| name == plugin.name) {
            let name = quoted(plugin.name);
            diagnostics.add_problem(
                &plugin.at,
                format!("duplicate plugin name {name}, first used on line {line}; rename one"),
            );
            continue;
        }
        diagnostics.declared.push((plugin.name.to_owned(), plugin.plugin_type.to_owned()));
        if let Some(problem) = unusable(plugin.plugin_type) {
            diagnostics.unusable.insert(plugin.name.to_owned());
            diagnostics.add_problem(&plugin.at, problem);
        }
        plugins.push(plugin);
    }
    plugins.into_iter().map(|plugin| build(plugin, diagnostics)).collect()
}

fn build<'a>(plugin: Plugin<'a>, diagnostics: &mut Diagnostics) -> DeclaredPlugin<'a> {
    let component = match catalog::support(plugin.plugin_type) {
        Some(Support::Filter(build)) => Component::Filter(build(&plugin, diagnostics)),
        Some(Support::Scorer(build)) => Component::Scorer(build(&plugin, diagnostics)),
        Some(Support::Picker(build)) => Component::Picker(build(&plugin, diagnostics)),
        Some(Support::Flow(build)) => Component::Flow(build(&plugin, diagnostics)),
        Some(Support::BuiltIn(check, how)) => {
            check(&plugin, diagnostics);
            diagnostics.add_ignored(&plugin.at, format!("{}: {how}", plugin.display_name()));
            Component::Other
        }
        Some(Support::MetricsPages(read)) => {
            let before = diagnostics.pages.clone();
            read(&plugin, diagnostics);
            if diagnostics.pages == before {
                let name = plugin.display_name();
                let why = format!("{name}: the collector scrapes each endpoint's metrics");
                diagnostics.add_ignored(&plugin.at, why);
            }
            Component::Other
        }
        Some(Support::Parser) => {
            plugin.reject_parameters(diagnostics);
            diagnostics.add_ignored(
                &plugin.at,
                format!("{}: the request's path selects the parser", plugin.display_name()),
            );
            Component::Parser
        }
        // Reported already.
        Some(Support::NotYet(_) | Support::NotPlanned(_)) | None => Component::Other,
    };
    DeclaredPlugin { plugin, component }
}

/// Returns what is wrong with the type of a plugin, if it cannot be used.
fn unusable(plugin_type: &str) -> Option<String> {
    let name = quoted(plugin_type);
    match catalog::support(plugin_type) {
        Some(_) => catalog::unusable(plugin_type).map(|why| format!("{name} {why}")),
        None => Some(format!("unknown plugin type {name}; {}", catalog::hint(plugin_type))),
    }
}
