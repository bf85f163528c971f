//! Builds pickers from their parameters.

use signalbox_schedule::Picker;

use super::plugin::Plugin;
use crate::diagnostics::Diagnostics;
use crate::parameters::Bounds;

pub(crate) fn max_score(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Picker {
    picker(plugin, diagnostics, Picker::MaxScore)
}

pub(crate) fn random(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Picker {
    picker(plugin, diagnostics, Picker::Random)
}

pub(crate) fn weighted_random(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Picker {
    picker(plugin, diagnostics, Picker::WeightedRandom)
}

fn picker(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics, picker: Picker) -> Picker {
    let parameters = plugin.parameters(&["maxNumOfEndpoints"], &mut diagnostics.problems);
    let endpoints = parameters.number("maxNumOfEndpoints", 1.0, Bounds::INTEGER, &mut diagnostics.problems);
    if endpoints > 1.0 {
        diagnostics
            .add_warning(&plugin.at, "maxNumOfEndpoints is ignored: gateways get one endpoint per request");
    }
    picker
}
