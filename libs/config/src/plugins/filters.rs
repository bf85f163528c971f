//! Builds filters from their parameters.

use signalbox_document::{Located, Problems};
use signalbox_schedule::{
    Concurrency, Fallback, Filter, LabelOperator, LabelRequirement, LabelSelector, Limit, Metric,
    PrefixAffinity, Saturation, Unlabeled,
};

use super::plugin::Plugin;
use crate::diagnostics::Diagnostics;
use crate::parameters::{Bounds, Parameters, choice};

pub(crate) fn label_selector(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Filter {
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&["matchLabels", "matchExpressions"], problems);
    let mut requirements = Vec::new();
    let labels = parameters.optional("matchLabels").filter(|at| !at.is_null());
    for (key, value) in labels.and_then(|at| at.members(problems)).unwrap_or_default() {
        if let Some(value) = value.text(problems) {
            requirements.push(LabelRequirement {
                key: key.to_owned(),
                operator: LabelOperator::In(vec![value.to_owned()]),
            });
        }
    }
    for item in parameters.items("matchExpressions", problems) {
        requirements.extend(requirement(item, problems));
    }
    Filter::Labels(LabelSelector { requirements })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

fn requirement(at: Located<'_>, problems: &mut Problems) -> Option<LabelRequirement> {
    const OPERATORS: &[(&str, Operator)] = &[
        ("In", Operator::In),
        ("NotIn", Operator::NotIn),
        ("Exists", Operator::Exists),
        ("DoesNotExist", Operator::DoesNotExist),
    ];
    let whole = at.clone();
    let fields = at.fields(&["key", "operator", "values"], problems)?;
    let key = fields.required("key", "LABEL", problems).and_then(|at| at.text(problems));
    let operator = fields.required("operator", "In, NotIn, Exists or DoesNotExist", problems);
    let operator = operator.and_then(|at| choice(&at, OPERATORS, problems));
    let values = fields.optional("values").and_then(|at| at.items(problems)).unwrap_or_default();
    let values: Vec<_> = values.iter().filter_map(|item| item.text(problems).map(str::to_owned)).collect();
    let (key, operator) = (key?, operator?);
    match (matches!(operator, Operator::In | Operator::NotIn), values.is_empty()) {
        (true, true) => whole.report(problems, "In and NotIn need values; write values: [VALUE]"),
        (false, false) => whole.report(problems, "Exists and DoesNotExist take no values; remove them"),
        _ => {}
    }
    let operator = match operator {
        Operator::In => LabelOperator::In(values),
        Operator::NotIn => LabelOperator::NotIn(values),
        Operator::Exists => LabelOperator::Exists,
        Operator::DoesNotExist => LabelOperator::DoesNotExist,
    };
    Some(LabelRequirement { key: key.to_owned(), operator })
}

pub(crate) fn by_label(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Filter {
    diagnostics.add_warning(&plugin.at, "by-label is deprecated in the Go EPP; use label-selector-filter");
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&["label", "validValues", "allowsNoLabel"], problems);
    let label = parameters.text("label", problems);
    let values = parameters.texts("validValues", problems);
    let allows_none = parameters.boolean("allowsNoLabel", false, problems);
    if parameters.optional("label").is_none() {
        plugin
            .at
            .report(problems, "label is missing; write parameters: { label: LABEL, validValues: [VALUE] }");
    }
    if values.is_empty() && !allows_none {
        let message = "rejects every endpoint; write validValues: [VALUE], or allowsNoLabel: true";
        plugin.at.report(problems, message);
    }
    let unlabeled = if allows_none { Unlabeled::Pass } else { Unlabeled::Fail };
    Filter::ByLabel { label: label.unwrap_or_default().to_owned(), values, unlabeled }
}

pub(crate) fn utilization(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Filter {
    let problems = &mut diagnostics.problems;
    let known = ["conditions", "fallbackOnEmpty", "inFlightLoadProducerName"];
    let parameters = plugin.parameters(&known, problems);
    let items = parameters.items("conditions", problems);
    if items.is_empty() {
        let message = "conditions are missing; write conditions: [{ metric: waiting-queue, maxValue: 10 }]";
        plugin.at.report(problems, message);
    }
    let limits = items.into_iter().filter_map(|item| limit(item, problems)).collect();
    let all = parameters.boolean("fallbackOnEmpty", false, problems);
    plugin.check_inflight_load_producer(&parameters, diagnostics);
    Filter::Utilization { limits, fallback: if all { Fallback::KeepAll } else { Fallback::KeepNone } }
}

fn limit(at: Located<'_>, problems: &mut Problems) -> Option<Limit> {
    let metrics = Metric::ALL.map(|metric| (metric.name(), metric));
    let fields = at.fields(&["metric", "maxValue"], problems)?;
    let metric = fields.required("metric", "one of the four metrics", problems);
    let metric = metric.and_then(|at| choice(&at, &metrics, problems));
    let bounds = match metric {
        Some(Metric::KvCacheUtilization) => Bounds::RATIO,
        _ => Bounds::NON_NEGATIVE,
    };
    let max = fields.required("maxValue", "a number", problems).and_then(|at| bounds.read(&at, problems));
    Some(Limit { metric: metric?, max: max? })
}

pub(crate) fn prefix_cache_affinity(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Filter {
    let known = [
        "affinityThreshold",
        "explorationProbability",
        "maxTTFTPenaltyMs",
        "ttftSource",
        "peakPrefillThroughput",
        "prefixMatchInfoProducerName",
        "latencyPredictionInfoProducerName",
        "inFlightLoadProducerName",
    ];
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&known, problems);
    let sources = [("prefillThroughput", true), ("latencyPredictor", false)];
    if !parameters.choice("ttftSource", &sources, true, problems)
        && let Some(at) = parameters.optional("ttftSource")
    {
        at.report(problems, "predicted latency is not supported yet; write ttftSource: prefillThroughput");
    }
    let affinity = PrefixAffinity {
        threshold: parameters.number("affinityThreshold", 0.8, Bounds::AT_MOST_ONE, problems),
        exploration: parameters.number("explorationProbability", 0.0, Bounds::RATIO, problems),
        max_penalty_ms: parameters.number("maxTTFTPenaltyMs", 18_000.0, Bounds::NON_NEGATIVE, problems),
        peak_tokens_per_second: parameters.number(
            "peakPrefillThroughput",
            15_928.0,
            Bounds::POSITIVE,
            problems,
        ),
    };
    if affinity.threshold <= 0.0 {
        diagnostics.add_warning(&plugin.at, "an affinityThreshold of 0 or less turns the filter off");
    }
    plugin.check_prefix_producer(&parameters, diagnostics);
    plugin.check_inflight_load_producer(&parameters, diagnostics);
    Filter::PrefixAffinity(affinity)
}

pub(crate) fn utilization_detector(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Filter {
    let known = ["queueDepthThreshold", "kvCacheUtilThreshold", "metricsStalenessThreshold", "headroom"];
    let parameters = plugin.parameters(&known, &mut diagnostics.problems);
    Filter::Saturation(saturation(&parameters, diagnostics))
}

/// Reads the parameters of `utilization-detector`.
pub(crate) fn saturation(parameters: &Parameters<'_>, diagnostics: &mut Diagnostics) -> Saturation {
    let problems = &mut diagnostics.problems;
    let saturation = Saturation {
        queue_depth: parameters.number("queueDepthThreshold", 5.0, Bounds::POSITIVE_COUNT, problems),
        kv_used: parameters.number("kvCacheUtilThreshold", 0.8, Bounds::POSITIVE_RATIO, problems),
        headroom: parameters.number("headroom", 0.0, Bounds::NON_NEGATIVE, problems),
    };
    if let Some(at) = parameters.optional("metricsStalenessThreshold") {
        let _ = at.text(problems);
        diagnostics.add_ignored(&at, "the collector determines when metrics are stale");
    }
    saturation
}

pub(crate) fn concurrency_detector(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) -> Filter {
    let problems = &mut diagnostics.problems;
    let known =
        ["concurrencyMode", "maxConcurrency", "maxTokenConcurrency", "headroom", "inFlightLoadProducerName"];
    let parameters = plugin.parameters(&known, problems);
    let modes = [("requests", (true, false)), ("tokens", (false, true)), ("hybrid", (true, true))];
    let (by_requests, by_tokens) = parameters.choice("concurrencyMode", &modes, (true, false), problems);
    let requests = parameters.number("maxConcurrency", 100.0, Bounds::POSITIVE_COUNT, problems);
    let tokens = parameters.number("maxTokenConcurrency", 1e6, Bounds::POSITIVE_COUNT, problems);
    let headroom = parameters.number("headroom", 0.0, Bounds::NON_NEGATIVE, problems);
    plugin.check_inflight_load_producer(&parameters, diagnostics);
    Filter::Concurrency(Concurrency {
        requests: by_requests.then_some(requests),
        tokens: by_tokens.then_some(tokens),
        headroom,
    })
}
