//! The list of plugins.

use std::collections::HashMap;

use signalbox_document::{Fields, quoted};
use signalbox_schedule::{Filter, Picker, Scorer};

use crate::catalogue::{self, Fate};
use crate::findings::Findings;
use crate::plugin::Plugin;

/// A plugin that the file declares, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Declared<'a> {
    pub(crate) plugin: Plugin<'a>,
    pub(crate) part: Part,
}

/// What part a plugin has in decisions.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Filter(Filter),
    Scorer(Scorer),
    Picker(Picker),
    Parser,
    /// None.
    Other,
}

/// All that are declared, in the order of the file; those that cannot be used are reported and among them.
pub(crate) fn read<'a>(fields: &Fields<'a>, findings: &mut Findings) -> Vec<Declared<'a>> {
    let problems = &mut findings.problems;
    let list = fields.required("plugins", "a list of { type: TYPE }", problems);
    let items = list.and_then(|list| list.items(problems)).unwrap_or_default();
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut plugins = Vec::new();
    for item in items {
        let Some(plugin) = Plugin::read(item, &mut findings.problems) else { continue };
        let line = *first.entry(plugin.name).or_insert(plugin.at.node.line);
        if findings.declared.iter().any(|(name, _)| name == plugin.name) {
            let name = quoted(plugin.name);
            findings.problem(
                &plugin.at,
                format!("another plugin is called {name} (line {line}); give one another name"),
            );
            continue;
        }
        findings.declared.push((plugin.name.to_owned(), plugin.kind.to_owned()));
        plugins.push(plugin);
    }
    plugins.into_iter().map(|plugin| declared(plugin, findings)).collect()
}

fn declared<'a>(plugin: Plugin<'a>, findings: &mut Findings) -> Declared<'a> {
    let kind = quoted(plugin.kind);
    let part = match catalogue::fate(plugin.kind) {
        Some(Fate::Filter(build)) => Part::Filter(build(&plugin, findings)),
        Some(Fate::Scorer(build)) => Part::Scorer(build(&plugin, findings)),
        Some(Fate::Picker(build)) => Part::Picker(build(&plugin, findings)),
        Some(Fate::Anyway(check, why)) => {
            check(&plugin, findings);
            findings.ignore(&plugin.at, format!("{}: {why}", plugin.shown()));
            Part::Other
        }
        Some(Fate::Parser) => {
            plugin.takes_none(findings);
            findings.ignore(
                &plugin.at,
                format!("{}: a request's path says how its body is read", plugin.shown()),
            );
            Part::Parser
        }
        Some(Fate::Later(with)) => {
            findings.problem(&plugin.at, format!("{kind} is not there yet, it comes with {with}; remove it"));
            Part::Other
        }
        Some(Fate::Unplanned(why)) => {
            findings.problem(&plugin.at, format!("{kind} is not there and not planned: {why}; remove it"));
            Part::Other
        }
        None => {
            let mend = catalogue::mend(plugin.kind);
            findings.problem(&plugin.at, format!("no plugin has the type {kind}; {mend}"));
            Part::Other
        }
    };
    Declared { plugin, part }
}
