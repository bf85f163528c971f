//! What a view says about requests that wait, and how full it shows the pool to be.

use std::sync::Arc;

use signalbox_flow::{EndpointUse, Freshness, PoolPhase, Usage};
use signalbox_state::{EndpointState, LocalState, ScrapeStatus, View};
use signalbox_types::Origin;

use crate::flow_control::OwnerNews;

/// Returns whether no endpoint takes requests.
pub(super) fn is_empty(view: &View) -> bool {
    view.endpoints.iter().all(|member| member.spec.is_draining)
}

/// Returns what the view says about requests that wait.
pub(super) fn owner_news(view: &View, origin: Origin) -> OwnerNews {
    let (flows, phase) = (view.flows(), if is_empty(view) { PoolPhase::Empty } else { PoolPhase::Served });
    OwnerNews {
        phase,
        highest_elsewhere: highest_ungranted_elsewhere(view, origin),
        grants: flows.grants(origin).map(|(flow, up_to)| (flow.clone(), up_to)).collect(),
        knows_replica: flows.origin(origin).is_some(),
        requests_per_second: flows.drain_rate().requests_per_second(),
    }
}

/// Returns the highest priority of which requests wait for a grant at other replicas than `origin`.
fn highest_ungranted_elsewhere(view: &View, origin: Origin) -> Option<i32> {
    let others = view.flows().origins().filter(|(of, _)| *of != origin);
    let backlogs = others.flat_map(|(_, flows)| flows.backlogs());
    let ungranted = backlogs.filter(|(_, backlog)| backlog.ungranted() > 0);
    ungranted.map(|(flow, _)| flow.priority).max()
}

/// Returns what waits at other replicas than `origin`, by priority, lowest first. Bands of which nothing waits are left out.
pub(super) fn bands_elsewhere(view: &View, origin: Origin) -> impl Iterator<Item = (i32, Usage)> {
    let own = view.flows().origin(origin);
    let without_own = move |(priority, all): (i32, Usage)| {
        let own = own.map(|own| own.waiting(priority)).unwrap_or_default();
        (priority, all - own)
    };
    view.flows().waiting().map(without_own).filter(|(_, usage)| usage.requests > 0)
}

/// Returns what waits at other replicas than `origin` in the band of `priority` and in higher ones.
pub(super) fn ahead_elsewhere(view: &View, origin: Origin, priority: i32) -> Usage {
    let ahead = bands_elsewhere(view, origin).filter(|(of, _)| *of >= priority);
    ahead.fold(Usage::default(), |sum, (_, usage)| sum + usage)
}

/// Returns how many replicas share the pool, `origin` among them.
pub(super) fn replicas(view: &View, origin: Origin) -> u64 {
    let others = view.flows().origins().filter(|(of, _)| *of != origin).count();
    (others + 1).max(view.booking_replicas(origin)) as u64
}

/// Returns what detectors read of the endpoints. Those that should get no request count only if there are no others: then
/// requests go to them.
pub(super) fn endpoint_uses(view: &View, local: &LocalState) -> Vec<EndpointUse> {
    let members = view.endpoints.iter().enumerate().filter(|(_, member)| !member.spec.is_draining);
    let (serving, others): (Vec<_>, Vec<_>) = members.partition(|(_, member)| member.is_serving());
    let counted = if serving.is_empty() { others } else { serving };
    let usage = |(position, member): (usize, &Arc<EndpointState>)| {
        let freshness = match member.observed.scrape_status {
            ScrapeStatus::Fresh | ScrapeStatus::Stale => Freshness::Current,
            ScrapeStatus::Unknown | ScrapeStatus::Down => Freshness::Unknown,
        };
        member.usage(local.load_at(position), local.prefilling_ms_at(position), freshness)
    };
    counted.into_iter().map(usage).collect()
}
