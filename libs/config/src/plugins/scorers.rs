//! Builds scorers from their parameters.

use signalbox_schedule::{Metric, Scorer};

use super::older_prefix;
use super::plugin::Plugin;
use crate::diagnostics::Diagnostics;
use crate::parameters::Bounds;

pub(crate) fn queue(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    plugin.reject_parameters(diagnostics);
    Scorer::Least(Metric::WaitingQueue)
}

pub(crate) fn running_requests(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    plugin.reject_parameters(diagnostics);
    Scorer::Least(Metric::RunningRequests)
}

pub(crate) fn kv_cache_utilization(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    plugin.reject_parameters(diagnostics);
    Scorer::KvCacheFree
}

pub(crate) fn lora_affinity(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    plugin.reject_parameters(diagnostics);
    Scorer::LoraAffinity
}

pub(crate) fn load_aware(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    const DEFAULT: f64 = 128.0;
    let parameters = plugin.parameters(&["threshold"], &mut diagnostics.problems);
    let threshold = parameters.number("threshold", DEFAULT, Bounds::INTEGER, &mut diagnostics.problems);
    if threshold > 0.0 {
        return Scorer::LoadAware { threshold };
    }
    diagnostics.add_warning(&plugin.at, "a threshold of 0 or less means 128, as in the Go EPP");
    Scorer::LoadAware { threshold: DEFAULT }
}

pub(crate) fn prefix_cache(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    let own = ["prefixMatchInfoProducerName", "matchLengthWeight", "matchLengthScaleTokens"];
    let known: Vec<_> = own.into_iter().chain(older_prefix::known()).collect();
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&known, problems);
    let length_weight = parameters.number("matchLengthWeight", 0.0, Bounds::RATIO, problems);
    let scale_tokens = parameters.number("matchLengthScaleTokens", 8_192.0, Bounds::POSITIVE_COUNT, problems);
    older_prefix::check(&parameters, diagnostics);
    plugin.check_prefix_producer(&parameters, diagnostics);
    Scorer::PrefixCache { length_weight, scale_tokens }
}

pub(crate) fn active_request(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    let known = ["idleThreshold", "maxBusyScore", "inFlightLoadProducerName", "requestTimeout"];
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&known, problems);
    let idle = parameters.number("idleThreshold", 0.0, Bounds::COUNT, problems);
    let max_busy = parameters.number("maxBusyScore", 1.0, Bounds::RATIO, problems);
    if let Some(at) = parameters.optional("requestTimeout") {
        diagnostics.add_ignored(&at, "the Go EPP ignores it too; a booking ends with its request");
    }
    plugin.check_inflight_load_producer(&parameters, diagnostics);
    Scorer::ActiveRequests { idle, max_busy }
}

pub(crate) fn token_load(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    let known = ["queueThresholdTokens", "inFlightLoadProducerName"];
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&known, problems);
    let threshold_tokens =
        parameters.number("queueThresholdTokens", 4_194_304.0, Bounds::POSITIVE_COUNT, problems);
    plugin.check_inflight_load_producer(&parameters, diagnostics);
    Scorer::TokenLoad { threshold_tokens }
}

pub(crate) fn no_hit_lru(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Scorer {
    let known = ["lruSize", "prefixMatchInfoProducerName"];
    let parameters = plugin.parameters(&known, &mut diagnostics.problems);
    if let Some(at) = parameters.optional("lruSize") {
        let _ = Bounds::POSITIVE_COUNT.read(&at, &mut diagnostics.problems);
        diagnostics.add_ignored(&at, "the pool state has the order in which endpoints were last used");
    }
    plugin.check_prefix_producer(&parameters, diagnostics);
    Scorer::NoHitLru
}
