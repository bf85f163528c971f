//! One entry of the `plugins` list.

use signalbox_document::{Located, Problems, quoted};

use super::older_types::current_type;
use crate::diagnostics::Diagnostics;
use crate::parameters::Parameters;

/// One entry of the `plugins` list.
#[derive(Clone, Debug)]
pub(crate) struct Plugin<'a> {
    pub(crate) at: Located<'a>,
    pub(crate) name: &'a str,
    pub(crate) plugin_type: &'a str,
    parameters: Option<Located<'a>>,
}

impl<'a> Plugin<'a> {
    /// Reads the entry at `at`. A plugin without a name is named after its type.
    pub(crate) fn read(at: Located<'a>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let problems = &mut diagnostics.problems;
        let fields = at.clone().fields(&["name", "type", "parameters"], problems)?;
        let plugin_type = fields.required("type", "TYPE", problems).and_then(|at| at.text(problems));
        let name = fields.non_null("name");
        let name = match name {
            Some(at) => at.text(problems)?,
            None => plugin_type?,
        };
        let Some(written) = plugin_type else {
            diagnostics.unusable.insert(name.to_owned());
            return None;
        };
        let plugin_type = current_type(written);
        if plugin_type != written {
            let message = format!("{} is the older name of {plugin_type}; write that", quoted(written));
            diagnostics.add_warning(&at, message);
        }
        Some(Self { at, name, plugin_type, parameters: fields.optional("parameters") })
    }

    /// Returns the parameters and reports those that are not in `known`.
    pub(crate) fn parameters(&self, known: &[&'static str], problems: &mut Problems) -> Parameters<'a> {
        Parameters::read(self.parameters.clone(), known, problems)
    }

    /// Reports every parameter as unknown.
    pub(crate) fn reject_parameters(&self, diagnostics: &mut Diagnostics) {
        self.parameters(&[], &mut diagnostics.problems);
    }

    /// Returns the type, and the name if it differs, for messages.
    pub(crate) fn display_name(&self) -> String {
        match self.name == self.plugin_type {
            true => self.plugin_type.to_owned(),
            false => format!("{} ({})", quoted(self.name), self.plugin_type),
        }
    }

    /// Checks the parameter that names the plugin which produces prefix matches.
    pub(crate) fn check_prefix_producer(&self, parameters: &Parameters<'_>, diagnostics: &mut Diagnostics) {
        self.check_producer(
            parameters,
            "prefixMatchInfoProducerName",
            "approx-prefix-cache-producer",
            diagnostics,
        );
    }

    /// Checks the parameter that names the plugin which produces in-flight loads.
    pub(crate) fn check_inflight_load_producer(
        &self,
        parameters: &Parameters<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        self.check_producer(parameters, "inFlightLoadProducerName", "inflight-load-producer", diagnostics);
    }

    /// Checks that the parameter `field` names a plugin of type `expected`.
    fn check_producer(
        &self,
        parameters: &Parameters<'_>,
        field: &str,
        expected: &str,
        diagnostics: &mut Diagnostics,
    ) {
        let Some(at) = parameters.optional(field).filter(|at| !at.is_null()) else { return };
        let Some(name) = at.text(&mut diagnostics.problems) else { return };
        let declared = diagnostics.declared.iter().find(|(declared, _)| declared == name);
        match declared.map(|(_, plugin_type)| plugin_type.as_str()) {
            _ if name == expected => {}
            Some(declared) if declared == expected => {}
            // Reported where it is declared.
            _ if diagnostics.unusable.contains(name) => {}
            Some(other) => diagnostics.add_problem(
                &at,
                format!("{} is a plugin of type {other}; name one of type {expected}", quoted(name)),
            ),
            None => diagnostics.add_problem(
                &at,
                format!("no plugin is named {}; remove it, or write {expected}", quoted(name)),
            ),
        }
    }
}
