//! The signals of a role of which nobody knows what a replica can do: as many replicas as there are, and one more for as long
//! as these cannot serve what arrives.

use super::{Inputs, Member, arriving, steady};
use crate::assessor::Moment;
use crate::demand::Rates;
use crate::group::Role;
use crate::observation::Pod;
use crate::signal::{GroupSignal, Reason};
use crate::steadied::Wanted;

/// For how long an overload must last before a replica is asked for, in milliseconds.
const OVERLOADED_MS: u64 = 10_000;

/// How full the pods of a role are, on average, when they have no room.
const FULL: f64 = 0.95;

/// Since when a role has been overloaded although all replicas that were asked for are there.
#[derive(Debug, Default)]
pub(super) struct Overload {
    since_ms: Option<u64>,
}

impl Overload {
    /// Returns the signals of `members`, at which `rates` arrive. At most one of them gets one more replica, and
    /// no other before that one serves.
    pub(super) fn assess(
        &mut self,
        moment: &Moment,
        inputs: &Inputs<'_>,
        (members, rates): (&mut [Member<'_>], Rates),
        is_idle: bool,
    ) -> Vec<GroupSignal> {
        let is_overloaded = is_overloaded(moment, inputs);
        let growing = growing(moment, inputs.pods, members);
        let is_awaited = growing.is_some_and(|at| members[at].awaits_replicas());
        let must_grow = self.lasts(moment.now_ms, is_overloaded && !is_awaited);
        let mut signals = Vec::new();
        for (at, member) in members.iter_mut().enumerate() {
            let serving = member.counts.provisioned();
            let is_kept = is_overloaded && growing.is_none_or(|growing| growing == at);
            let replicas = match serving {
                1.. if is_kept && must_grow => member.with_failed(serving + 1),
                _ if is_kept => serving.max(1).max(member.state.steadied.desired()),
                _ => serving.max(1),
            };
            let wanted = Wanted { up: replicas, down: replicas, reason: Reason::Unmeasured };
            let (desired, reason) = steady(moment, member, wanted, is_idle);
            signals.push(GroupSignal {
                group: member.group.clone(),
                desired,
                reason,
                demand: arriving(rates),
                startup_ms: member.state.startup.p90_ms(),
                replicas: member.counts,
                ..GroupSignal::default()
            });
        }
        signals
    }

    /// Returns whether the overload has lasted for long enough.
    fn lasts(&mut self, now_ms: u64, is_overloaded: bool) -> bool {
        self.since_ms = is_overloaded.then(|| self.since_ms.unwrap_or(now_ms));
        self.since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= OVERLOADED_MS)
    }
}

impl Member<'_> {
    /// Returns whether replicas that were asked for are not there yet.
    fn awaits_replicas(&self) -> bool {
        self.state.steadied.desired() > self.with_failed(self.counts.provisioned())
    }
}

/// Returns the member that grows: one that awaits replicas already, or else the cheapest one. One that gets no more replicas
/// leaves that to the next. `None` if all have their first replica to wait for.
fn growing(moment: &Moment, pods: &[Pod], members: &mut [Member<'_>]) -> Option<usize> {
    let cost = |member: &Member<'_>| {
        let costs = pods.iter().filter(|pod| pod.group == *member.group).map(|pod| pod.cost);
        costs.fold(f64::INFINITY, f64::min)
    };
    let costs: Vec<f64> = members.iter().map(cost).collect();
    let mut by_cost: Vec<_> = (0..members.len()).filter(|at| members[*at].counts.provisioned() > 0).collect();
    by_cost.sort_by(|a, b| costs[*a].total_cmp(&costs[*b]));
    let last = by_cost.last().copied();
    let mut can_grow = |at: &usize| {
        let serving = members[*at].counts.provisioned();
        Some(*at) == last || members[*at].state.limit(moment.now_ms, serving).is_none()
    };
    by_cost.retain(|at| can_grow(at));
    let awaiting = by_cost.iter().find(|at| members[**at].awaits_replicas());
    awaiting.or(by_cost.first()).copied()
}

/// Returns whether the pods of a role have no room, or requests wait that no other role keeps waiting.
fn is_overloaded(moment: &Moment, inputs: &Inputs<'_>) -> bool {
    let fullness = |role| fullness(inputs.pods, role);
    let own = fullness(inputs.role);
    let is_fullest = Role::ALL.into_iter().all(|other| fullness(other) <= own);
    own >= FULL || (moment.queued_requests > 0.0 && is_fullest)
}

/// Returns how full the pods of a role are whose metrics are current, on average; 0 without any.
fn fullness(pods: &[Pod], role: Role) -> f64 {
    Pod::mean_saturation(pods.iter().filter(|pod| pod.group.role == role)).unwrap_or(0.0)
}
