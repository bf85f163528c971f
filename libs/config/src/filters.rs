//! Filters by their parameters.

use signalbox_document::{Located, Problems};
use signalbox_schedule::{
    Concurrency, Filter, Limit, Metric, Must, PrefixAffinity, Requirement, Saturation, Selector, Unlabelled,
    WhenNone,
};

use crate::findings::Findings;
use crate::parameters::{Bounds, word};
use crate::plugin::Plugin;

pub(crate) fn label_selector(plugin: &Plugin<'_>, findings: &mut Findings) -> Filter {
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&["matchLabels", "matchExpressions"], problems);
    let mut requirements = Vec::new();
    let labels = parameters.optional("matchLabels").filter(|at| !at.is_nothing());
    for (key, value) in labels.and_then(|at| at.members(problems)).unwrap_or_default() {
        if let Some(value) = value.text(problems) {
            requirements.push(Requirement { key: key.to_owned(), must: Must::In(vec![value.to_owned()]) });
        }
    }
    for item in parameters.items("matchExpressions", problems) {
        requirements.extend(requirement(item, problems));
    }
    Filter::Labels(Selector { requirements })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

fn requirement(at: Located<'_>, problems: &mut Problems) -> Option<Requirement> {
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
    let operator = operator.and_then(|at| word(&at, OPERATORS, problems));
    let values = fields.optional("values").and_then(|at| at.items(problems)).unwrap_or_default();
    let values: Vec<_> = values.iter().filter_map(|item| item.text(problems).map(str::to_owned)).collect();
    let (key, operator) = (key?, operator?);
    match (matches!(operator, Operator::In | Operator::NotIn), values.is_empty()) {
        (true, true) => whole.report(problems, "In and NotIn need values; write values: [VALUE]"),
        (false, false) => whole.report(problems, "Exists and DoesNotExist have no values; remove them"),
        _ => {}
    }
    let must = match operator {
        Operator::In => Must::In(values),
        Operator::NotIn => Must::NotIn(values),
        Operator::Exists => Must::Exist,
        Operator::DoesNotExist => Must::NotExist,
    };
    Some(Requirement { key: key.to_owned(), must })
}

pub(crate) fn by_label(plugin: &Plugin<'_>, findings: &mut Findings) -> Filter {
    findings.warn(&plugin.at, "by-label is deprecated in the Go EPP; label-selector-filter takes its place");
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&["label", "validValues", "allowsNoLabel"], problems);
    let label = parameters.text("label", problems);
    let values = parameters.texts("validValues", problems);
    let allows_none = parameters.flag("allowsNoLabel", false, problems);
    if parameters.optional("label").is_none() {
        plugin.at.report(problems, "has no label; write parameters: { label: LABEL, validValues: [VALUE] }");
    }
    if values.is_empty() && !allows_none {
        let message =
            "leaves no endpoint for any request; write validValues: [VALUE], or allowsNoLabel: true";
        plugin.at.report(problems, message);
    }
    let unlabelled = if allows_none { Unlabelled::Pass } else { Unlabelled::Fail };
    Filter::ByLabel { label: label.unwrap_or_default().to_owned(), values, unlabelled }
}

pub(crate) fn utilization(plugin: &Plugin<'_>, findings: &mut Findings) -> Filter {
    let problems = &mut findings.problems;
    let known = ["conditions", "fallbackOnEmpty", "inFlightLoadProducerName"];
    let parameters = plugin.parameters(&known, problems);
    let items = parameters.items("conditions", problems);
    if items.is_empty() {
        let mend = "write conditions: [{ metric: waiting-queue, maxValue: 10 }]";
        plugin.at.report(problems, format!("has no conditions; {mend}"));
    }
    let limits = items.into_iter().filter_map(|item| limit(item, problems)).collect();
    let all = parameters.flag("fallbackOnEmpty", false, problems);
    plugin.inflight_load(&parameters, findings);
    Filter::Utilization { limits, when_none: if all { WhenNone::All } else { WhenNone::None } }
}

fn limit(at: Located<'_>, problems: &mut Problems) -> Option<Limit> {
    let metrics = Metric::ALL.map(|metric| (metric.name(), metric));
    let fields = at.fields(&["metric", "maxValue"], problems)?;
    let metric = fields.required("metric", "one of the four metrics", problems);
    let metric = metric.and_then(|at| word(&at, &metrics, problems));
    let bounds = match metric {
        Some(Metric::KvCacheUtilization) => Bounds::SHARE,
        _ => Bounds::AMOUNT,
    };
    let max = fields.required("maxValue", "a number", problems).and_then(|at| bounds.read(&at, problems));
    Some(Limit { metric: metric?, max: max? })
}

pub(crate) fn prefix_cache_affinity(plugin: &Plugin<'_>, findings: &mut Findings) -> Filter {
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
    let problems = &mut findings.problems;
    let parameters = plugin.parameters(&known, problems);
    let sources = [("prefillThroughput", true), ("latencyPredictor", false)];
    if !parameters.word("ttftSource", &sources, true, problems)
        && let Some(at) = parameters.optional("ttftSource")
    {
        at.report(problems, "predicted latency is not there yet; write ttftSource: prefillThroughput");
    }
    let affinity = PrefixAffinity {
        threshold: parameters.number("affinityThreshold", 0.8, Bounds::AT_MOST_ONE, problems),
        exploration: parameters.number("explorationProbability", 0.0, Bounds::SHARE, problems),
        max_penalty_ms: parameters.number("maxTTFTPenaltyMs", 18_000.0, Bounds::AMOUNT, problems),
        peak_tokens_per_second: parameters.number(
            "peakPrefillThroughput",
            15_928.0,
            Bounds::POSITIVE,
            problems,
        ),
    };
    if affinity.threshold <= 0.0 {
        findings.warn(&plugin.at, "an affinityThreshold of 0 or less turns it off");
    }
    plugin.prefix_matches(&parameters, findings);
    plugin.inflight_load(&parameters, findings);
    Filter::PrefixAffinity(affinity)
}

pub(crate) fn utilization_detector(plugin: &Plugin<'_>, findings: &mut Findings) -> Filter {
    let problems = &mut findings.problems;
    let known = ["queueDepthThreshold", "kvCacheUtilThreshold", "metricsStalenessThreshold", "headroom"];
    let parameters = plugin.parameters(&known, problems);
    let saturation = Saturation {
        queue_depth: parameters.number("queueDepthThreshold", 5.0, Bounds::POSITIVE_COUNT, problems),
        kv_used: parameters.number("kvCacheUtilThreshold", 0.8, Bounds::POSITIVE_SHARE, problems),
        headroom: parameters.number("headroom", 0.0, Bounds::AMOUNT, problems),
    };
    if let Some(at) = parameters.optional("metricsStalenessThreshold") {
        let _ = at.text(problems);
        findings.ignore(&at, "the collector says when metrics are stale");
    }
    Filter::Saturation(saturation)
}

pub(crate) fn concurrency_detector(plugin: &Plugin<'_>, findings: &mut Findings) -> Filter {
    let problems = &mut findings.problems;
    let known =
        ["concurrencyMode", "maxConcurrency", "maxTokenConcurrency", "headroom", "inFlightLoadProducerName"];
    let parameters = plugin.parameters(&known, problems);
    let modes = [("requests", (true, false)), ("tokens", (false, true)), ("hybrid", (true, true))];
    let (by_requests, by_tokens) = parameters.word("concurrencyMode", &modes, (true, false), problems);
    let requests = parameters.number("maxConcurrency", 100.0, Bounds::POSITIVE_COUNT, problems);
    let tokens = parameters.number("maxTokenConcurrency", 1e6, Bounds::POSITIVE_COUNT, problems);
    let headroom = parameters.number("headroom", 0.0, Bounds::AMOUNT, problems);
    plugin.inflight_load(&parameters, findings);
    Filter::Concurrency(Concurrency {
        requests: by_requests.then_some(requests),
        tokens: by_tokens.then_some(tokens),
        headroom,
    })
}
