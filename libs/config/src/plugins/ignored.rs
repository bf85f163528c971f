//! Plugins that a file can declare without effect, because Signalbox always does what they do. Their
//! parameters are checked nevertheless.

use super::plugin::Plugin;
use crate::diagnostics::Diagnostics;
use crate::parameters::Bounds;

pub(crate) fn no_parameters(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) {
    plugin.reject_parameters(diagnostics);
}

pub(crate) fn approximate_prefixes(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) {
    let counts = [
        "blockSizeTokens",
        "blockSize",
        "maxPrefixTokensToMatch",
        "maxPrefixBlocksToMatch",
        "lruCapacityPerServer",
    ];
    let known = [&["autoTune"][..], &counts].concat();
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&known, problems);
    parameters.boolean("autoTune", true, problems);
    for count in counts {
        parameters.number(count, 0.0, Bounds::COUNT, problems);
    }
}

pub(crate) fn inflight_load(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) {
    let known = [
        "addEstimatedOutputTokens",
        "outputRatio",
        "maxEstimatedOutputTokens",
        "prefixMatchInfoProducerName",
        "syncCrossReplicaState",
    ];
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&known, problems);
    let adds_output = parameters.boolean("addEstimatedOutputTokens", false, problems);
    parameters.number("outputRatio", 1.5, Bounds::NON_NEGATIVE, problems);
    parameters.number("maxEstimatedOutputTokens", 0.0, Bounds::COUNT, problems);
    let syncs = parameters.boolean("syncCrossReplicaState", true, problems);
    if adds_output {
        diagnostics.add_warning(
            &plugin.at,
            "addEstimatedOutputTokens is ignored: only prompt tokens count as in flight",
        );
    }
    if !syncs {
        diagnostics.add_warning(
            &plugin.at,
            "syncCrossReplicaState is ignored: replicas always share their bookings",
        );
    }
    plugin.check_prefix_producer(&parameters, diagnostics);
}

pub(crate) fn tokens(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) {
    let known = ["modelName", "vllm", "estimate", "udsTokenizerConfig"];
    let parameters = plugin.parameters(&known, &mut diagnostics.problems);
    let _ = parameters.text("modelName", &mut diagnostics.problems);
    for backend in ["vllm", "udsTokenizerConfig"] {
        if let Some(at) = parameters.optional(backend) {
            diagnostics.add_problem(
                &at,
                "prompts are not tokenized, 4 bytes count as one token; write estimate: {}",
            );
        }
    }
    let estimate = parameters.nested("estimate", &["image", "video"], &mut diagnostics.problems);
    for medium in ["image", "video"] {
        if let Some(at) = estimate.optional(medium) {
            diagnostics.add_warning(&at, "is ignored: content other than text counts by its length in bytes");
        }
    }
}
