//! One entry of the list of plugins.

use signalbox_document::{Located, Problems, quoted};

use crate::findings::Findings;
use crate::parameters::Parameters;

/// One entry of the list of plugins.
#[derive(Clone, Debug)]
pub(crate) struct Plugin<'a> {
    pub(crate) at: Located<'a>,
    pub(crate) name: &'a str,
    /// Its type.
    pub(crate) kind: &'a str,
    parameters: Option<Located<'a>>,
}

impl<'a> Plugin<'a> {
    /// The entry at `at`.
    pub(crate) fn read(at: Located<'a>, problems: &mut Problems) -> Option<Self> {
        let fields = at.clone().fields(&["name", "type", "parameters"], problems)?;
        let kind = fields.required("type", "TYPE", problems).and_then(|at| at.text(problems));
        let name = fields.optional("name").filter(|at| !at.is_nothing());
        let name = match name {
            Some(at) => at.text(problems)?,
            None => kind?,
        };
        Some(Self { at, name, kind: kind?, parameters: fields.optional("parameters") })
    }

    /// Its parameters, of which only `known` may be.
    pub(crate) fn parameters(&self, known: &[&'static str], problems: &mut Problems) -> Parameters<'a> {
        Parameters::at(self.parameters.clone(), known, problems)
    }

    /// Reports any parameter.
    pub(crate) fn takes_none(&self, findings: &mut Findings) {
        self.parameters(&[], &mut findings.problems);
    }

    /// How it is called in messages.
    pub(crate) fn shown(&self) -> String {
        match self.name == self.kind {
            true => self.kind.to_owned(),
            false => format!("{} ({})", quoted(self.name), self.kind),
        }
    }

    /// Checks the parameter that names a producer of prefix matches.
    pub(crate) fn prefix_matches(&self, parameters: &Parameters<'_>, findings: &mut Findings) {
        self.producer(parameters, "prefixMatchInfoProducerName", "approx-prefix-cache-producer", findings);
    }

    /// Checks the parameter that names a producer of loads in flight.
    pub(crate) fn inflight_load(&self, parameters: &Parameters<'_>, findings: &mut Findings) {
        self.producer(parameters, "inFlightLoadProducerName", "inflight-load-producer", findings);
    }

    fn producer(&self, parameters: &Parameters<'_>, field: &str, kind: &str, findings: &mut Findings) {
        let Some(at) = parameters.optional(field).filter(|at| !at.is_nothing()) else { return };
        let Some(name) = at.text(&mut findings.problems) else { return };
        let declared = findings.declared.iter().find(|(declared, _)| declared == name);
        match declared.map(|(_, kind)| kind.as_str()) {
            _ if name == kind => {}
            Some(declared) if declared == kind => {}
            Some(other) => findings.problem(
                &at,
                format!("{} is a plugin of type {other}; name one of type {kind}", quoted(name)),
            ),
            None => findings
                .problem(&at, format!("no plugin is called {}; remove it, or write {kind}", quoted(name))),
        }
    }
}
