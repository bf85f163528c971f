//! Scorers by their parameters.

use signalbox_schedule::{Metric, Picker, Scorer};

use crate::findings::Findings;
use crate::parameters::Bounds;
use crate::plugin::Plugin;

pub(crate) fn queue(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    plugin.takes_none(findings);
    Scorer::Least(Metric::WaitingQueue)
}

pub(crate) fn running_requests(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    plugin.takes_none(findings);
    Scorer::Least(Metric::RunningRequests)
}

pub(crate) fn kv_cache_utilization(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    plugin.takes_none(findings);
    Scorer::KvCacheFree
}

pub(crate) fn lora_affinity(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    plugin.takes_none(findings);
    Scorer::LoraAffinity
}

pub(crate) fn load_aware(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    const DEFAULT: f64 = 128.0;
    let parameters = plugin.parameters(&["threshold"], &mut findings.problems);
    let threshold = parameters.number("threshold", DEFAULT, Bounds::WHOLE, &mut findings.problems);
    if threshold > 0.0 {
        return Scorer::LoadAware { threshold };
    }
    findings.warn(&plugin.at, "a threshold of 0 or less stands for 128, as in the Go EPP");
    Scorer::LoadAware { threshold: DEFAULT }
}

pub(crate) fn prefix_cache(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    let known = ["prefixMatchInfoProducerName", "matchLengthWeight", "matchLengthScaleTokens"];
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    let length_weight = parameters.number("matchLengthWeight", 0.0, Bounds::SHARE, problems);
    let scale_tokens = parameters.number("matchLengthScaleTokens", 8_192.0, Bounds::POSITIVE_COUNT, problems);
    plugin.prefix_matches(&parameters, findings);
    Scorer::PrefixCache { length_weight, scale_tokens }
}

pub(crate) fn active_request(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    let known = ["idleThreshold", "maxBusyScore", "inFlightLoadProducerName", "requestTimeout"];
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    let idle = parameters.number("idleThreshold", 0.0, Bounds::COUNT, problems);
    let max_busy = parameters.number("maxBusyScore", 1.0, Bounds::SHARE, problems);
    if let Some(at) = parameters.optional("requestTimeout") {
        findings.ignore(&at, "the Go EPP ignores it too; a booking ends with its request");
    }
    plugin.inflight_load(&parameters, findings);
    Scorer::ActiveRequests { idle, max_busy }
}

pub(crate) fn token_load(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    let known = ["queueThresholdTokens", "inFlightLoadProducerName"];
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    let threshold_tokens =
        parameters.number("queueThresholdTokens", 4_194_304.0, Bounds::POSITIVE_COUNT, problems);
    plugin.inflight_load(&parameters, findings);
    Scorer::TokenLoad { threshold_tokens }
}

pub(crate) fn no_hit_lru(plugin: &Plugin<'_>, findings: &mut Findings) -> Scorer {
    let known = ["lruSize", "prefixMatchInfoProducerName"];
    let parameters = plugin.parameters(&known, &mut findings.problems);
    if let Some(at) = parameters.optional("lruSize") {
        let _ = Bounds::POSITIVE_COUNT.read(&at, &mut findings.problems);
        findings.ignore(&at, "each endpoint's last turn is part of the pool's state");
    }
    plugin.prefix_matches(&parameters, findings);
    Scorer::NoHitLru
}

pub(crate) fn max_score(plugin: &Plugin<'_>, findings: &mut Findings) -> Picker {
    picker(plugin, findings, Picker::MaxScore)
}

pub(crate) fn random(plugin: &Plugin<'_>, findings: &mut Findings) -> Picker {
    picker(plugin, findings, Picker::Random)
}

pub(crate) fn weighted_random(plugin: &Plugin<'_>, findings: &mut Findings) -> Picker {
    picker(plugin, findings, Picker::WeightedRandom)
}

fn picker(plugin: &Plugin<'_>, findings: &mut Findings, picker: Picker) -> Picker {
    let parameters = plugin.parameters(&["maxNumOfEndpoints"], &mut findings.problems);
    let endpoints = parameters.number("maxNumOfEndpoints", 1.0, Bounds::WHOLE, &mut findings.problems);
    if endpoints > 1.0 {
        findings.warn(&plugin.at, "gateways are told one endpoint, not maxNumOfEndpoints of them");
    }
    picker
}
