//! What a view says about requests that wait, and how full it shows the pool to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_flow::{EndpointUse, Freshness, PoolPhase, Usage};
use signalbox_state::{EndpointState, LocalState, ScrapeStatus, View};
use signalbox_types::{Origin, PPM};

use crate::flow_control::OwnerNews;

/// Returns whether no endpoint takes requests.
pub(super) fn is_empty(view: &View) -> bool {
    view.endpoints.iter().all(|member| member.spec.is_draining)
}

/// Returns what the view says about requests that wait.
pub(super) fn owner_news(view: &View, origin: Origin) -> OwnerNews {
    let phase = if is_empty(view) { PoolPhase::Empty } else { PoolPhase::Served };
    let _ = origin;
    OwnerNews { phase, ..OwnerNews::default() }
}

/// Returns what waits at other replicas than `origin`, in the band of `priority` and in all.
pub(super) fn elsewhere(_view: &View, _origin: Origin, _priority: i32) -> (Usage, Usage) {
    Default::default()
}

/// Returns what waits at other replicas than `origin` in the band of `priority` and in higher ones.
pub(super) fn ahead_elsewhere(_view: &View, _origin: Origin, _priority: i32) -> Usage {
    Usage::default()
}

/// Returns what waits at other replicas than `origin`, by priority.
pub(super) fn bands_elsewhere(_view: &View, _origin: Origin) -> BTreeMap<i32, Usage> {
    BTreeMap::new()
}

/// Returns how many requests per second go from the queues of all replicas.
pub(super) fn requests_per_second(_view: &View) -> f64 {
    0.0
}

/// Returns what detectors read of each endpoint that takes requests. `load` are the loads that count at each position.
pub(super) fn endpoint_uses(view: &View, local: &LocalState) -> Vec<EndpointUse> {
    let members = view.endpoints.iter().enumerate().filter(|(_, member)| !member.spec.is_draining);
    let usage = |(position, member): (usize, &Arc<EndpointState>)| {
        let (load, rates) = (local.load_at(position), member.assessment.rates);
        let freshness = match member.observed.scrape_status {
            ScrapeStatus::Fresh | ScrapeStatus::Stale => Freshness::Current,
            ScrapeStatus::Unknown | ScrapeStatus::Down => Freshness::Unknown,
        };
        let tokens_per_second = u64::from(rates.prefill_tokens_per_second);
        let processed_tokens = local.processed_tokens(position, load, tokens_per_second);
        EndpointUse {
            freshness,
            waiting: member.observed.gauges.waiting,
            kv_use: f64::from(member.observed.gauges.kv_used_ppm.unwrap_or(0)) / f64::from(PPM),
            requests: u64::from(load.requests),
            tokens: load.prefill_tokens.saturating_sub(processed_tokens),
            tokens_per_second,
        }
    };
    members.map(usage).collect()
}
