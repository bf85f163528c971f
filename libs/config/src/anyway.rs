//! Plugins that a file may name and that change nothing, because Signalbox does what they do anyway. Their parameters are checked all
//! the same.

use crate::findings::Findings;
use crate::parameters::{Bounds, Parameters};
use crate::plugin::Plugin;

pub(crate) fn no_parameters(plugin: &Plugin<'_>, findings: &mut Findings) {
    plugin.takes_none(findings);
}

pub(crate) fn metrics_source(plugin: &Plugin<'_>, findings: &mut Findings) {
    let texts = ["scheme", "path", "caCertPath", "clientCertPath", "clientKeyPath", "interval"];
    let known = [&texts[..], &["port", "insecureSkipVerify"]].concat();
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    for text in texts {
        let _ = parameters.text(text, problems);
    }
    parameters.number("port", 1.0, Bounds::PORT, problems);
    parameters.flag("insecureSkipVerify", true, problems);
    if known.iter().any(|name| parameters.optional(name).is_some()) {
        let message = "its parameters are ignored: metricsUrl in the endpoints file says where metrics are";
        findings.warn(&plugin.at, message);
    }
}

pub(crate) fn metrics_extractor(plugin: &Plugin<'_>, findings: &mut Findings) {
    let known = ["engineLabelKey", "defaultEngine", "engineConfigs"];
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    let _ = (parameters.text("engineLabelKey", problems), parameters.text("defaultEngine", problems));
    parameters.items("engineConfigs", problems);
    if known.iter().any(|name| parameters.optional(name).is_some()) {
        let message = "its parameters are ignored: engine in the endpoints file says how metrics are read";
        findings.warn(&plugin.at, message);
    }
}

pub(crate) fn approximate_prefixes(plugin: &Plugin<'_>, findings: &mut Findings) {
    let counts = [
        "blockSizeTokens",
        "blockSize",
        "maxPrefixTokensToMatch",
        "maxPrefixBlocksToMatch",
        "lruCapacityPerServer",
    ];
    let known = [&["autoTune"][..], &counts].concat();
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    parameters.flag("autoTune", true, problems);
    for count in counts {
        parameters.number(count, 0.0, Bounds::COUNT, problems);
    }
}

pub(crate) fn inflight_load(plugin: &Plugin<'_>, findings: &mut Findings) {
    let known = [
        "addEstimatedOutputTokens",
        "outputRatio",
        "maxEstimatedOutputTokens",
        "prefixMatchInfoProducerName",
        "syncCrossReplicaState",
    ];
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    let adds_output = parameters.flag("addEstimatedOutputTokens", false, problems);
    parameters.number("outputRatio", 1.5, Bounds::AMOUNT, problems);
    parameters.number("maxEstimatedOutputTokens", 0.0, Bounds::COUNT, problems);
    let syncs = parameters.flag("syncCrossReplicaState", true, problems);
    if adds_output {
        findings.warn(&plugin.at, "addEstimatedOutputTokens is ignored: tokens in flight are prompt tokens");
    }
    if !syncs {
        findings.warn(&plugin.at, "syncCrossReplicaState is ignored: replicas always share their bookings");
    }
    plugin.prefix_matches(&parameters, findings);
}

pub(crate) fn tokens(plugin: &Plugin<'_>, findings: &mut Findings) {
    let known = ["modelName", "vllm", "estimate", "udsTokenizerConfig"];
    let parameters = plugin.parameters(&known, &mut findings.problems);
    let _ = parameters.text("modelName", &mut findings.problems);
    for backend in ["vllm", "udsTokenizerConfig"] {
        if let Some(at) = parameters.optional(backend) {
            findings
                .problem(&at, "prompts are not tokenized, 4 bytes count as one token; write estimate: {}");
        }
    }
    let estimate = parameters.nested("estimate", &["image", "video"], &mut findings.problems);
    for medium in ["image", "video"] {
        if let Some(at) = estimate.optional(medium) {
            findings.warn(&at, "is ignored: what is no text counts by the length of its bytes");
        }
    }
}

/// Duration-like text such as `200ms`, or nothing.
pub(crate) fn duration(parameters: &Parameters<'_>, name: &str, findings: &mut Findings) {
    if let Some(at) = parameters.optional(name) {
        let _ = at.text(&mut findings.problems);
    }
}
