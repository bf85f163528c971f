//! Builds policies of flow control from their parameters.

use signalbox_flow::{Ceilings, Detector, Fairness, Ordering};

use super::plugin::Plugin;
use crate::diagnostics::Diagnostics;
use crate::parameters::Bounds;

/// A policy of flow control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FlowPolicy {
    Fairness(Fairness),
    Ordering(Ordering),
    Ceilings(Ceilings),
    Detector(Detector),
}

pub(crate) fn wait_detector(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&["hold"], problems);
    let hold_ms = parameters.duration_ms("hold", problems);
    if hold_ms == Some(0)
        && let Some(at) = parameters.optional("hold")
    {
        at.report(problems, "a hold of 0s lets no request go; write hold: 100ms");
    }
    let detector = hold_ms.map_or_else(Detector::default, |hold_ms| Detector::Wait { hold_ms });
    FlowPolicy::Detector(detector)
}

pub(crate) fn weighted(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    plugin.reject_parameters(diagnostics);
    FlowPolicy::Fairness(Fairness::Weighted)
}

pub(crate) fn strict(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    plugin.reject_parameters(diagnostics);
    FlowPolicy::Fairness(Fairness::Strict)
}

pub(crate) fn round_robin(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    plugin.reject_parameters(diagnostics);
    FlowPolicy::Fairness(Fairness::RoundRobin)
}

pub(crate) fn program_aware(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&["strategy"], problems);
    parameters.choice("strategy", &[("las", ())], (), problems);
    FlowPolicy::Fairness(Fairness::ProgramAware)
}

pub(crate) fn by_arrival(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    plugin.reject_parameters(diagnostics);
    FlowPolicy::Ordering(Ordering::Arrival)
}

pub(crate) fn by_deadline(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    plugin.reject_parameters(diagnostics);
    FlowPolicy::Ordering(Ordering::Deadline)
}

pub(crate) fn by_goal(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    plugin.reject_parameters(diagnostics);
    FlowPolicy::Ordering(Ordering::TtftGoal)
}

pub(crate) fn static_limit(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&["threshold"], problems);
    let threshold = parameters.number("threshold", 1.0, Bounds::POSITIVE_RATIO, problems);
    // With one ceiling for all bands, the way from the highest to the lowest one is flat.
    FlowPolicy::Ceilings(match threshold < 1.0 {
        true => Ceilings::HoldbackByRank { lowest: threshold, highest: threshold },
        false => Ceilings::Static,
    })
}

pub(crate) fn holdback(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&["minCeiling", "maxCeiling", "domain"], problems);
    if parameters.optional("minCeiling").is_none() {
        let message = "minCeiling is missing; write parameters: { minCeiling: 0.5 }";
        plugin.at.report(problems, message);
    }
    let lowest = parameters.number("minCeiling", 0.0, Bounds::RATIO, problems);
    let highest = parameters.number("maxCeiling", 1.0, Bounds::POSITIVE_RATIO, problems);
    if lowest >= highest {
        let message = "minCeiling must be below maxCeiling; lower it";
        plugin.at.report(problems, message);
    }
    let is_by_value = parameters.choice("domain", &[("rank", false), ("value", true)], false, problems);
    FlowPolicy::Ceilings(match is_by_value {
        true => Ceilings::HoldbackByValue { lowest, highest },
        false => Ceilings::HoldbackByRank { lowest, highest },
    })
}

pub(crate) fn reflective(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> FlowPolicy {
    plugin.reject_parameters(diagnostics);
    FlowPolicy::Ceilings(Ceilings::Reflective)
}
