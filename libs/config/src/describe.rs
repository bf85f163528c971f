//! Describes the effect of a configuration in plain text.

mod flow_control;
mod metrics_pages;

use std::fmt::Write;

use signalbox_schedule::{
    Concurrency, Fallback, Filter, LabelOperator, LabelRequirement, LabelSelector, Limit, Picker,
    PrefixAffinity, ROLE_LABEL, Saturation, Scorer, SessionAffinity, Unlabeled, Weighted,
};

use signalbox_types::PageSettings;

use crate::Configuration;

/// Describes what the file does: its filters in order, its scorers with weights and formulas, its picker, the
/// settings without effect and the warnings. Ends with a line break.
pub fn describe(configuration: &Configuration) -> String {
    let Configuration { profile, weighted, flow_control, pages, parsers, warnings, ignored } = configuration;
    let Weighted { filters, scorers, picker, .. } = weighted;
    let mut text = format!("profile {profile}, for every request\n\n");
    let mut line = |content: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{content}");
    };
    line(
        "candidates\n  endpoints that the gateway allows; stale, failing and unreachable ones only when the filters keep no other",
    );
    line("\nfilters, in this order");
    for (at, step) in filters.iter().enumerate() {
        line(&format!("  {}. {}: {}", at + 1, step.name, describe_filter(&step.filter)));
    }
    if filters.is_empty() {
        line("  none");
    } else {
        line("  when no endpoint is left, the request is rejected with 429 (rejected-saturated)");
    }
    line("\nscorers: total = sum of weight × score, each score limited to 0 to 1");
    for step in scorers {
        line(&format!("  {} × {}: {}", step.weight, step.name, describe_scorer(&step.scorer)));
    }
    if scorers.is_empty() {
        line("  none: every total is 0");
    }
    line(&format!("\npicker\n  {}", describe_picker(*picker)));
    line("\nflow control");
    for described in flow_control::describe(flow_control) {
        line(&format!("  {described}"));
    }
    if *pages != PageSettings::default() {
        line("\nmetrics pages, for aggregators with this --config-file");
        for described in metrics_pages::describe(pages) {
            line(&format!("  {described}"));
        }
    }
    if !parsers.is_empty() {
        line(&format!(
            "\nparsers\n  {}; a body that none of them can parse is rejected with 400",
            parsers.join(", ")
        ));
    }
    for (title, list) in [
        ("ignored, because Signalbox always does it or does it in its own way", ignored),
        ("warnings", warnings),
    ] {
        if !list.is_empty() {
            line(&format!("\n{title}"));
        }
        for problem in list {
            line(&format!("  {problem}"));
        }
    }
    text
}

fn describe_filter(filter: &Filter) -> String {
    match filter {
        Filter::Labels(selector) => describe_selector(selector),
        Filter::ByLabel { label, values, unlabeled } => {
            let values = values.join(", ");
            let absent = if *unlabeled == Unlabeled::Pass { ", or that do not have it" } else { "" };
            format!("keeps endpoints whose label {label} is one of [{values}]{absent}")
        }
        Filter::Role(role) => {
            let absent = if role.is_default() { ", or that do not have it" } else { "" };
            format!(
                "keeps endpoints whose label {ROLE_LABEL} is one of [{}]{absent}",
                role.values().join(", ")
            )
        }
        Filter::PrefixAffinity(affinity) => describe_prefix_affinity(affinity),
        Filter::Utilization { limits, fallback } => {
            let limit = |Limit { metric, max }: &Limit| format!("{} ≤ {max}", metric.name());
            let limits: Vec<_> = limits.iter().map(limit).collect();
            let fallback = if *fallback == Fallback::KeepAll { "; all, when there are none" } else { "" };
            format!(
                "keeps endpoints with {}; those with an unknown value only when no other is left{fallback}",
                limits.join(" and ")
            )
        }
        Filter::Saturation(Saturation { queue_depth, kv_used, headroom }) => {
            let (queue, kv) = (queue_depth * (1.0 + headroom), kv_used * (1.0 + headroom));
            format!(
                "keeps endpoints with fresh metrics, fewer than {queue} waiting requests and KV cache usage below {kv}; all, when there are none"
            )
        }
        Filter::Concurrency(Concurrency { requests, tokens, headroom }) => {
            let limit = |limit: &Option<f64>, what: &str| {
                limit.map(|limit| format!("fewer than {} {what}", limit * (1.0 + headroom)))
            };
            let limits = [limit(requests, "requests"), limit(tokens, "uncached prompt tokens")];
            let limits: Vec<_> = limits.into_iter().flatten().collect();
            format!("keeps endpoints with {} in flight from all replicas", limits.join(" and "))
        }
        Filter::Session(session) => {
            format!("keeps only {}; all, when it is not a candidate", session_endpoint(session))
        }
    }
}

fn describe_selector(LabelSelector { requirements }: &LabelSelector) -> String {
    let requirement = |LabelRequirement { key, operator }: &LabelRequirement| match operator {
        LabelOperator::In(values) => format!("{key} is one of [{}]", values.join(", ")),
        LabelOperator::NotIn(values) => format!("{key} is missing or none of [{}]", values.join(", ")),
        LabelOperator::Exists => format!("{key} exists"),
        LabelOperator::DoesNotExist => format!("{key} does not exist"),
    };
    let requirements: Vec<_> = requirements.iter().map(requirement).collect();
    match requirements.is_empty() {
        true => "keeps all endpoints: it has no requirements".to_owned(),
        false => format!("keeps endpoints whose label {}", requirements.join(", and label ")),
    }
}

fn describe_prefix_affinity(affinity: &PrefixAffinity) -> String {
    let PrefixAffinity { threshold, exploration, max_penalty_ms, peak_tokens_per_second } = *affinity;
    if threshold <= 0.0 {
        return "keeps all endpoints: the filter is turned off".to_owned();
    }
    let limit = match max_penalty_ms > 0.0 {
        true => format!(
            ", unless the least busy of them would start more than {max_penalty_ms} ms later than the least busy of the others, \
             at {peak_tokens_per_second} tokens/s"
        ),
        false => String::new(),
    };
    let explores = match exploration > 0.0 {
        true => format!("; all, for {} % of the requests", exploration * 100.0),
        false => String::new(),
    };
    format!(
        "keeps endpoints that hold at least {threshold} of the prompt's blocks{limit}; all, when none does{explores}"
    )
}

/// Describes the endpoint to which a session is bound.
fn session_endpoint(session: &SessionAffinity) -> String {
    match session {
        SessionAffinity::Token { header } => {
            format!("the endpoint named in the request header {header} (base64; returned in the response)")
        }
        SessionAffinity::Id { headers } => {
            format!("the endpoint to which the session id in {} hashes", headers.join(" or "))
        }
    }
}

fn describe_scorer(scorer: &Scorer) -> String {
    match scorer {
        Scorer::Least(metric) => {
            format!("(most − own) ÷ (most − least) of {} among the candidates; 1 when all are equal", metric.name())
        }
        Scorer::KvCacheFree => "1 − share of the KV cache in use".to_owned(),
        Scorer::LoadAware { threshold } => {
            format!("0.5 when nothing waits, else 0.5 · (1 − min(waiting, {threshold}) ÷ {threshold})")
        }
        Scorer::PrefixCache { length_weight, .. } if *length_weight == 0.0 => {
            "held blocks ÷ blocks of the prompt".to_owned()
        }
        Scorer::PrefixCache { length_weight, scale_tokens } => format!(
            "{length_weight} · min(1, held tokens ÷ {scale_tokens})² + {} · held blocks ÷ blocks of the prompt",
            1.0 - length_weight
        ),
        Scorer::LoraAffinity => {
            "1 when the adapter runs, 0.8 when a slot is free, 0.6 when requests wait for it, else 0".to_owned()
        }
        Scorer::ActiveRequests { idle, max_busy } => format!(
            "1 up to {idle} requests in flight from all replicas, else (most − own) ÷ most · {max_busy}"
        ),
        Scorer::TokenLoad { threshold_tokens } => format!(
            "1 − min(t, {threshold_tokens}) ÷ {threshold_tokens}, t = uncached prompt tokens in flight from all replicas and of this request"
        ),
        Scorer::Session(session) => format!("1 for {}, else 0", session_endpoint(session)),
        Scorer::NoHitLru => {
            "0.5 when any endpoint holds a block of the prompt; else 1 for the endpoint whose last such prompt is the oldest, down to 0"
                .to_owned()
        }
    }
}

fn describe_picker(picker: Picker) -> &'static str {
    match picker {
        Picker::MaxScore => "max-score-picker: the highest total; ties are broken at random",
        Picker::Random => "random-picker: any candidate, regardless of its total",
        Picker::WeightedRandom => {
            "weighted-random-picker: each with probability total ÷ sum of totals; any candidate, when no total is above 0"
        }
    }
}
