//! What a view says about requests that wait, and how full it shows the pool to be.

use signalbox_flow::{EndpointUse, Freshness, Usage};
use signalbox_state::{EndpointState, LocalState, ScrapeStatus, View};
use signalbox_types::Origin;

use crate::owner_silence::OWNER_SILENCE_MS;

/// Returns whether no endpoint takes requests.
pub(crate) fn is_empty(view: &View) -> bool {
    view.endpoints.iter().all(|member| member.spec.is_draining)
}

/// Returns the highest priority of which requests wait for a grant at other replicas than `origin`.
pub(crate) fn highest_ungranted_elsewhere(view: &View, origin: Origin) -> Option<i32> {
    let others = view.flows().origins().filter(|(of, _)| *of != origin);
    let backlogs = others.flat_map(|(_, flows)| flows.backlogs());
    let ungranted = backlogs.filter(|(_, backlog)| backlog.ungranted() > 0);
    ungranted.map(|(flow, _)| flow.priority).max()
}

/// Returns what waits at other replicas than `origin`, by priority, lowest first. Bands of which nothing waits are left out.
pub fn bands_elsewhere(view: &View, origin: Origin) -> impl Iterator<Item = (i32, Usage)> {
    let own = view.flows().origin(origin);
    let without_own = move |(priority, all): (i32, Usage)| {
        let own = own.map(|own| own.waiting(priority)).unwrap_or_default();
        (priority, all - own)
    };
    view.flows().waiting().map(without_own).filter(|(_, usage)| usage.requests > 0)
}

/// Returns what waits at other replicas than `origin` in the band of `priority` and in higher ones.
pub fn ahead_elsewhere(view: &View, origin: Origin, priority: i32) -> Usage {
    let ahead = bands_elsewhere(view, origin).filter(|(of, _)| *of >= priority);
    ahead.fold(Usage::default(), |sum, (_, usage)| sum + usage)
}

/// Returns what waits at other replicas than `origin`, in the band of `priority` and in all, for the limits on what may wait.
/// What an owner said that is silent now would use them up until an owner is heard again.
pub(crate) fn waiting_elsewhere(
    view: &View,
    origin: Origin,
    priority: i32,
    owner_silence_ms: u64,
) -> (Usage, Usage) {
    match owner_silence_ms < OWNER_SILENCE_MS {
        true => view.flows().waiting_elsewhere(origin, priority),
        false => Default::default(),
    }
}

/// Returns how many replicas share the pool, `origin` among them.
pub(crate) fn replicas(view: &View, origin: Origin) -> u64 {
    let others = view.flows().origins().filter(|(of, _)| *of != origin).count();
    (others + 1).max(view.booking_replicas(origin)) as u64
}

/// Returns the place of `origin` among the replicas that share the pool, from 0 to less than 1: they are evenly apart.
pub(crate) fn turn(view: &View, origin: Origin) -> f64 {
    let before = view.flows().origins().filter(|(of, _)| *of < origin).count();
    before as f64 / replicas(view, origin) as f64
}

/// Returns what detectors read of the endpoints. Those that should get no request count only if there are no others: then
/// requests go to them.
pub(crate) fn endpoint_uses(view: &View, local: &LocalState) -> Vec<EndpointUse> {
    let members = view.endpoints.iter().enumerate().filter(|(_, member)| !member.spec.is_draining);
    let (serving, others): (Vec<_>, Vec<_>) = members.partition(|(_, member)| member.is_serving());
    let counted = if serving.is_empty() { others } else { serving };
    counted.into_iter().map(|(position, member)| endpoint_use((position, member), local)).collect()
}

/// Returns what detectors read of the endpoint at `position`.
pub(crate) fn endpoint_use_at(view: &View, local: &LocalState, position: usize) -> EndpointUse {
    endpoint_use((position, &view.endpoints[position]), local)
}

fn endpoint_use((position, member): (usize, &EndpointState), local: &LocalState) -> EndpointUse {
    let freshness = match member.observed.scrape_status {
        ScrapeStatus::Fresh | ScrapeStatus::Stale => Freshness::Current,
        ScrapeStatus::Unknown | ScrapeStatus::Down => Freshness::Unknown,
    };
    member.usage(local.load_at(position), local.prefilling_ms_at(position), freshness)
}
