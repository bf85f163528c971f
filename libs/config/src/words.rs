//! A configuration in words.

use std::fmt::Write;

use signalbox_schedule::{
    Concurrency, Filter, Limit, Must, Picker, PrefixAffinity, ROLE_LABEL, Requirement, Saturation, Scorer,
    Selector, SessionAffinity, Unlabelled, Weighted, WhenNone,
};

use crate::Configuration;

/// What the file will do, in words: its filters in order, its scorers with their weights and formulas, its picker, what is
/// done anyway, and what it may have meant otherwise. Ends with a line break.
pub fn describe(configuration: &Configuration) -> String {
    let Configuration { profile, weighted, parsers, warnings, ignored } = configuration;
    let Weighted { filters, scorers, picker, .. } = weighted;
    let mut text = format!("profile {profile}, for every request\n\n");
    let mut line = |words: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{words}");
    };
    line(
        "candidates\n  endpoints that the gateway allows; stale, failing and unreachable ones only when the filters leave no other",
    );
    line("\nfilters, in this order");
    for (at, step) in filters.iter().enumerate() {
        line(&format!("  {}. {}: {}", at + 1, step.name, filter(&step.filter)));
    }
    if filters.is_empty() {
        line("  none");
    } else {
        line("  when they leave none, the request is refused with 429 (rejected-saturated)");
    }
    line("\nscorers: total = sum of weight × score, each score cut to 0 to 1");
    for step in scorers {
        line(&format!("  {} × {}: {}", step.weight, step.name, scorer(&step.scorer)));
    }
    if scorers.is_empty() {
        line("  none: every total is 0");
    }
    line(&format!("\npicker\n  {}", picker_words(*picker)));
    if !parsers.is_empty() {
        line(&format!(
            "\nparsers\n  {}; a body that none of them is for is refused with 400",
            parsers.join(", ")
        ));
    }
    for (title, list) in [("done anyway", ignored), ("warnings", warnings)] {
        if !list.is_empty() {
            line(&format!("\n{title}"));
        }
        for problem in list {
            line(&format!("  {problem}"));
        }
    }
    text
}

fn filter(filter: &Filter) -> String {
    match filter {
        Filter::Labels(selector) => labels(selector),
        Filter::ByLabel { label, values, unlabelled } => {
            let values = values.join(", ");
            let absent = if *unlabelled == Unlabelled::Pass { "; or no such label" } else { "" };
            format!("keeps endpoints whose label {label} is one of [{values}]{absent}")
        }
        Filter::Role(role) => {
            let absent = if role.is_default() { "; or no such label" } else { "" };
            format!(
                "keeps endpoints whose label {ROLE_LABEL} is one of [{}]{absent}",
                role.values().join(", ")
            )
        }
        Filter::PrefixAffinity(affinity) => prefix_affinity(affinity),
        Filter::Utilization { limits, when_none } => {
            let limit = |Limit { metric, max }: &Limit| format!("{} ≤ {max}", metric.name());
            let limits: Vec<_> = limits.iter().map(limit).collect();
            let fallback = if *when_none == WhenNone::All { "; all, when none is" } else { "" };
            format!(
                "keeps endpoints with {}; those that do not tell a value only when no other is left{fallback}",
                limits.join(" and ")
            )
        }
        Filter::Saturation(Saturation { queue_depth, kv_used, headroom }) => {
            let (queue, kv) = (queue_depth * (1.0 + headroom), kv_used * (1.0 + headroom));
            format!(
                "keeps endpoints with fresh metrics, fewer than {queue} waiting requests and a KV cache used below {kv}; all, when none is"
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
        Filter::Session(session) => format!("keeps only {}; all, when it is no candidate", bound(session)),
    }
}

fn labels(Selector { requirements }: &Selector) -> String {
    let requirement = |Requirement { key, must }: &Requirement| match must {
        Must::In(values) => format!("{key} is one of [{}]", values.join(", ")),
        Must::NotIn(values) => format!("{key} is none of [{}] or not there", values.join(", ")),
        Must::Exist => format!("{key} is there"),
        Must::NotExist => format!("{key} is not there"),
    };
    let requirements: Vec<_> = requirements.iter().map(requirement).collect();
    match requirements.is_empty() {
        true => "keeps all endpoints: it requires nothing of their labels".to_owned(),
        false => format!("keeps endpoints of whose labels {}", requirements.join(", and ")),
    }
}

fn prefix_affinity(affinity: &PrefixAffinity) -> String {
    let PrefixAffinity { threshold, exploration, max_penalty_ms, peak_tokens_per_second } = *affinity;
    if threshold <= 0.0 {
        return "keeps all endpoints: it is turned off".to_owned();
    }
    let until = match max_penalty_ms > 0.0 {
        true => format!(
            ", unless the least busy of them would begin more than {max_penalty_ms} ms later than the least busy of the others, \
             at {peak_tokens_per_second} tokens/s"
        ),
        false => String::new(),
    };
    let explores = match exploration > 0.0 {
        true => format!("; all, for {} % of requests", exploration * 100.0),
        false => String::new(),
    };
    format!(
        "keeps endpoints that hold at least {threshold} of the prompt's blocks{until}; all, when none does{explores}"
    )
}

fn bound(session: &SessionAffinity) -> String {
    match session {
        SessionAffinity::Token { header } => {
            format!("the endpoint that the request's header {header} names (base64; told in the response)")
        }
        SessionAffinity::Id { headers } => {
            format!("the endpoint that the session in {} is hashed to", headers.join(" or "))
        }
    }
}

fn scorer(scorer: &Scorer) -> String {
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
        Scorer::Session(session) => format!("1 for {}, else 0", bound(session)),
        Scorer::NoHitLru => {
            "0.5 when anyone holds a block of the prompt, else 1 for who has gone the longest without such a prompt, down to 0".to_owned()
        }
    }
}

fn picker_words(picker: Picker) -> &'static str {
    match picker {
        Picker::MaxScore => "max-score-picker: the highest total; at random among equals",
        Picker::Random => "random-picker: any candidate, whatever its total",
        Picker::WeightedRandom => {
            "weighted-random-picker: each with a chance of its total ÷ the sum of all; any, when no total is above 0"
        }
    }
}
