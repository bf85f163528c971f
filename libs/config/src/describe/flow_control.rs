//! Describes flow control in plain text.

use signalbox_flow::{BandSettings, Caps, Ceilings, Detector, Fairness, FlowSettings, Ordering};

use crate::flow_control::FlowControl;

/// Describes which requests wait, in which order they go, and when they are refused: one line each.
pub(super) fn describe(flow_control: &FlowControl) -> Vec<String> {
    let FlowControl { is_enabled, settings } = flow_control;
    let full = detector(&settings.detector);
    if !is_enabled {
        return vec![
            "off, unless --flow-control=on: no request waits".to_owned(),
            format!(
                "requests with a negative priority are refused with 429 while the pool is full, which it is when {full}"
            ),
        ];
    }
    let mut lines = vec![
        "on, unless --flow-control=off: requests wait in the picker while the pool is full".to_owned(),
        format!("the pool is full when {full}; {}", ceilings(settings.ceilings)),
        format!(
            "a request waits for a place {}, then it is refused with 429",
            limit(settings.request_ttl_ms)
        ),
        format!(
            "a request with a negative priority waits {}",
            match settings.sheddable_wait_ms {
                0 => "not at all: it is refused with 429".to_owned(),
                ms => format!("{}, then it is refused with 429", limit(Some(ms))),
            }
        ),
        revocation(settings).to_owned(),
        format!(
            "while the pool has no endpoint, every request waits for one {}, then it is refused with 503",
            limit(settings.no_endpoint_ttl_ms)
        ),
    ];
    if let Some(caps) = caps(settings.caps) {
        lines.push(format!("all replicas together keep at most {caps} waiting; others are refused with 429"));
    }
    lines.extend(bands(settings));
    if !settings.weights.is_empty() {
        let weights = settings.weights.iter().map(|(id, weight)| format!("{id} {weight}"));
        lines.push(format!("weights: {}, all others 1", weights.collect::<Vec<_>>().join(", ")));
    }
    lines
}

fn revocation(settings: &FlowSettings) -> &'static str {
    match settings.revokes {
        true => {
            "a request with a negative priority whose response has not begun is evicted with 429 if one of a higher priority needs its place"
        }
        false => "no request that was sent to an endpoint is evicted",
    }
}

/// Describes each band, highest first, and all that are not listed.
fn bands(settings: &FlowSettings) -> Vec<String> {
    let listed = settings.bands.iter().rev();
    let mut lines: Vec<_> =
        listed.map(|(priority, settings)| format!("priority {priority}: {}", band(settings))).collect();
    let (others, negative) = (&settings.default_band, &settings.default_negative_band);
    if others == negative {
        lines.push(format!("every other priority: {}", band(others)));
    } else {
        lines.push(format!("every other priority from 0: {}", band(others)));
        lines.push(format!("every other negative priority: {}", band(negative)));
    }
    lines
}

fn band(settings: &BandSettings) -> String {
    let share = match settings.fairness {
        Fairness::Weighted => "flows share by tokens and weight",
        Fairness::Strict => "flows do not share, the request that has waited the longest goes first",
        Fairness::RoundRobin => "flows go in turn, one request each",
        Fairness::ProgramAware => "the flow that got the least lately goes first",
    };
    let order = match settings.ordering {
        Ordering::Arrival | Ordering::Deadline => "requests of a flow in order of arrival",
        Ordering::TtftGoal => "requests of a flow by arrival plus their TTFT goal, at most 5 s",
    };
    let caps = caps(settings.caps).map(|caps| format!("; at most {caps} wait"));
    let least = Some(settings.min_share_percent).filter(|share| *share > 0);
    let least = least.map(|share| format!("; at least {share} % of the tokens while it waits"));
    format!("{share}; {order}{}{}", caps.unwrap_or_default(), least.unwrap_or_default())
}

fn caps(caps: Caps) -> Option<String> {
    let Caps { requests, bytes, tokens } = caps;
    let limits = [(requests, "requests"), (bytes, "bytes"), (tokens, "tokens")];
    let limits: Vec<_> = limits
        .into_iter()
        .filter(|(limit, _)| *limit < u64::MAX)
        .map(|(limit, unit)| format!("{limit} {unit}"))
        .collect();
    (!limits.is_empty()).then(|| limits.join(", "))
}

fn limit(ttl_ms: Option<u64>) -> String {
    match ttl_ms {
        None => "as long as its client does".to_owned(),
        Some(ms) if ms % 1_000 == 0 => format!("for up to {} s", ms / 1_000),
        Some(ms) => format!("for up to {ms} ms"),
    }
}

fn detector(detector: &Detector) -> String {
    match detector {
        Detector::Wait { hold_ms } => format!("a prompt would wait {hold_ms} ms at the best endpoint"),
        Detector::Utilization { queue_depth, kv_use } => format!(
            "the mean over the endpoints of max(waiting requests ÷ {queue_depth}, KV cache usage ÷ {kv_use}) is 1"
        ),
        Detector::Concurrency { requests, tokens } => {
            let ratio = |limit: &Option<f64>, what: &str| limit.map(|limit| format!("{what} ÷ {limit}"));
            let ratios = [ratio(requests, "requests"), ratio(tokens, "uncached prompt tokens")];
            let ratios: Vec<_> = ratios.into_iter().flatten().collect();
            format!(
                "the mean over the endpoints of max({}) in flight from all replicas is 1",
                ratios.join(", ")
            )
        }
    }
}

fn ceilings(ceilings: Ceilings) -> String {
    match ceilings {
        Ceilings::Static => "for all priorities alike".to_owned(),
        Ceilings::HoldbackByRank { lowest, highest } if lowest == highest => {
            format!("for all priorities already at {highest} of that")
        }
        Ceilings::HoldbackByRank { lowest, highest } => format!(
            "for the highest priority at {highest} of that, for the lowest at {lowest}, evenly spaced between"
        ),
        Ceilings::HoldbackByValue { lowest, highest } => format!(
            "for the highest priority at {highest} of that, for the lowest at {lowest}, between in proportion to the priority"
        ),
        Ceilings::Reflective => "the fuller it is, the earlier for lower priorities".to_owned(),
    }
}
