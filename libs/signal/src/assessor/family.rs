//! Assesses the groups of one role together: they share its load.

mod unmeasured;

use self::unmeasured::Overload;
use super::group_state::GroupState;
use super::{Moment, count};
use crate::allocation::{Offer, allocate};
use crate::capacity::{Capacities, Capacity, FULL_KV};
use crate::correction::Correction;
use crate::demand::{DemandMeter, Rates};
use crate::group::{Group, Role};
use crate::needs::{Load, Need};
use crate::observation::Pod;
use crate::signal::{GroupSignal, Reason, ReplicaCounts, TokenRates};
use crate::steadied::Wanted;

/// For how long prompts may wait at a replica before they count as a backlog, in seconds.
const TOLERATED_WAIT_S: f64 = 1.0;

/// How much later than its start-up a replica is there, because an autoscaler asks only now and then, in seconds.
const ACTUATION_S: f64 = 15.0;

/// The highest urgency, in thousandths.
const MAX_URGENCY_MILLI: u64 = 4_000;

/// The share of replicas that are asked for in place of failed ones, one in so many parts.
const REPLACED_PARTS: u32 = 4;

/// What a family remembers.
#[derive(Debug, Default)]
pub(super) struct Family {
    correction: Correction,
    /// How many KV caches were full when there was no backlog the last time, or one that stays, or at first; `None` before
    /// that.
    kv: Option<f64>,
    /// While nobody knows what a replica can do.
    overload: Overload,
}

/// What a family is assessed by.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) role: Role,
    /// The share of the load that goes to this role.
    pub(super) share: f64,
    pub(super) pods: &'a [Pod],
    pub(super) demand: &'a DemandMeter,
    pub(super) capacities: &'a Capacities,
}

/// One group in one assessment.
struct Member<'a> {
    group: &'a Group,
    state: &'a mut GroupState,
    counts: ReplicaCounts,
    capacity: Option<Capacity>,
    /// How many reference replicas one replica equals.
    strength: f64,
}

/// What the pods of a role hold at the moment.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    prefill_tokens: f64,
    /// What running requests have in the KV cache; `None` if no engine tells.
    kv_used: Option<f64>,
    /// What waiting requests will take of the KV cache.
    kv_waiting: f64,
}

impl Held {
    fn kv_tokens(&self) -> Option<f64> {
        Some(self.kv_used? + self.kv_waiting)
    }
}

impl Family {
    pub(super) fn assess(
        &mut self,
        moment: &Moment,
        inputs: &Inputs<'_>,
        groups: Vec<(&Group, &mut GroupState)>,
        is_idle: bool,
    ) -> Vec<GroupSignal> {
        let rates = rates_of(inputs.role, moment.rates.times(inputs.share));
        let mut members: Vec<_> = groups
            .into_iter()
            .map(|(group, state)| Member {
                counts: count(inputs.pods, group),
                capacity: inputs.capacities.of(group).or_else(|| inputs.capacities.unwarmed(group)),
                strength: 1.0,
                group,
                state,
            })
            .collect();
        let reference = members.iter().max_by_key(|of| (of.capacity.is_some(), of.counts.provisioned()));
        let Some(reference) = reference.and_then(|member| member.capacity) else {
            return self.overload.assess(moment, inputs, (&mut members, rates), is_idle);
        };
        self.overload = Overload::default();
        members.iter_mut().for_each(|member| member.strength = member.strength_beside(reference, rates));
        let held = held(moment, inputs);
        let load = self.load(moment, inputs, (reference, rates, held), &members);
        let backlog_s = if inputs.role.prefills() { held.prefill_tokens / reference.prefill } else { 0.0 };
        let wanted = wanted(moment, &load, &mut members);
        let parts = Parts { moment, rates, load, backlog_s, kv_tokens: held.kv_tokens(), is_idle };
        members.iter_mut().zip(wanted).map(|(member, wanted)| parts.publish(member, wanted)).collect()
    }

    /// Returns the load of the family in reference replicas.
    fn load(
        &mut self,
        moment: &Moment,
        inputs: &Inputs<'_>,
        (reference, rates, held): (Capacity, Rates, Held),
        members: &[Member<'_>],
    ) -> Load {
        let serving: f64 = members.iter().map(|of| f64::from(of.counts.provisioned()) * of.strength).sum();
        let desired: u32 = members.iter().map(|of| of.state.steadied.desired()).sum();
        let provisioned: u32 = members.iter().map(|of| of.counts.provisioned()).sum();
        let tolerated_s = serving * TOLERATED_WAIT_S;
        let prefill_s = |tokens: f64| if inputs.role.prefills() { tokens / reference.prefill } else { 0.0 };
        let backlog_s = (prefill_s(held.prefill_tokens) - tolerated_s).max(0.0);
        let is_unexplained = backlog_s > tolerated_s && provisioned >= desired && provisioned > 0;
        let is_lack = self.correction.record(moment.now_ms, is_unexplained.then_some(backlog_s));
        // While a backlog builds up or is worked off, passes are long, and requests stay in the cache for longer than they would
        // with more replicas. One that stays may lack just that room. An owner that begins with a backlog goes by what runs.
        let kv = kv_replicas(inputs.role, reference, held.kv_used.unwrap_or(0.0));
        let kv = if backlog_s > 0.0 && !is_lack { self.kv.unwrap_or(kv) } else { kv };
        self.kv = Some(kv);
        let startup_s = members.iter().map(|of| of.state.startup.p90_ms()).max().unwrap_or(0) as f64 / 1e3;
        Load {
            rate: reference.busy(rates.prefill, rates.output),
            growth: inputs.demand.growth(startup_s + ACTUATION_S),
            backlog_s,
            correction: self.correction.factor(),
            kv,
            kv_waiting: kv_replicas(inputs.role, reference, held.kv_waiting),
        }
    }
}

impl Member<'_> {
    /// Returns how many replicas like `reference` one replica equals for a load like `rates`.
    fn strength_beside(&self, reference: Capacity, rates: Rates) -> f64 {
        let Some(own) = self.capacity else { return 1.0 };
        let is_still = rates.prefill + rates.output <= 0.0;
        // Without a load, for one with five times as many prompt tokens as output tokens.
        let rates = if is_still { Rates { requests: 1.0, prefill: 1_000.0, output: 200.0 } } else { rates };
        reference.busy(rates.prefill, rates.output) / own.busy(rates.prefill, rates.output)
    }

    /// Returns `need` replicas, and those in place of failed ones.
    fn with_failed(&self, need: u32) -> u32 {
        need + self.counts.failed.min(need.div_ceil(REPLACED_PARTS))
    }

    fn offer(&mut self, now_ms: u64) -> Offer {
        Offer {
            strength: self.strength,
            cost: self.capacity.map_or(1.0, |capacity| capacity.cost),
            serving: self.counts.provisioned(),
            limit: self.state.limit(now_ms, self.counts.provisioned()),
        }
    }
}

/// Returns how many replicas of each member are wanted.
fn wanted(moment: &Moment, load: &Load, members: &mut [Member<'_>]) -> Vec<Wanted> {
    let offers: Vec<_> = members.iter_mut().map(|member| member.offer(moment.now_ms)).collect();
    let (up, down) = (load.need(), load.need_to_go_down());
    // Any need above zero gives one replica.
    let at_least_one = |need: Need| allocate(need.replicas.max(1e-6), up.replicas, &offers);
    let is_still = load.rate <= 0.0 && load.kv <= 0.0 && load.backlog_s <= 0.0;
    let reason = if is_still { Reason::Minimum } else { up.reason };
    let pairs = at_least_one(up).into_iter().zip(at_least_one(down));
    pairs
        .zip(members)
        .map(|((up, down), member)| {
            let (up, down) = (whole(up), whole(down));
            Wanted { up: member.with_failed(up), down: member.with_failed(down.max(up)), reason }
        })
        .collect()
}

/// Rounds a number of replicas up, but not for an error of rounding.
fn whole(replicas: f64) -> u32 {
    (replicas - 1e-9).ceil().max(0.0) as u32
}

/// What the signals of all members are made of.
struct Parts<'a> {
    moment: &'a Moment,
    rates: Rates,
    load: Load,
    backlog_s: f64,
    kv_tokens: Option<f64>,
    is_idle: bool,
}

impl Parts<'_> {
    fn publish(&self, member: &mut Member<'_>, wanted: Wanted) -> GroupSignal {
        let (desired, reason) = steady(self.moment, member, wanted, self.is_idle);
        let (counts, startup_ms) = (member.counts, member.state.startup.p90_ms());
        let strength = member.strength;
        let (rate, ready) = (self.load.rate / strength, f64::from(counts.ready));
        let headroom = (f64::from(counts.provisioned()) - rate).max(0.01);
        let urgency = (self.load.growth - 1.0) * rate / headroom;
        GroupSignal {
            group: member.group.clone(),
            desired,
            reason,
            demand_milli: Some(milli(self.load.need().replicas / strength)),
            demand: arriving(self.rates),
            capacity: member.capacity.map(|capacity| capacity.rates(counts.ready)),
            per_replica: member.capacity.map(|capacity| capacity.rates(1)),
            kv_tokens_per_replica: member.capacity.map_or(0, |capacity| capacity.kv_tokens as u64),
            prefill_backlog_ms: Some(milli(self.backlog_s / strength)),
            kv_demand_milli: member.capacity.and_then(|capacity| kv_demand_milli(capacity, self.kv_tokens)),
            utilization_milli: (counts.ready > 0).then(|| milli(rate / ready)),
            saturation_milli: None,
            startup_ms,
            urgency_milli: milli(urgency).min(MAX_URGENCY_MILLI),
            replicas: counts,
        }
    }
}

fn steady(moment: &Moment, member: &mut Member<'_>, wanted: Wanted, is_idle: bool) -> (u32, Reason) {
    let Moment { now_ms, window_ms, may_fall, .. } = *moment;
    let (state, serving) = (&mut *member.state, member.counts.provisioned());
    // One that needs no replica already goes on so, whatever is not known.
    if is_idle && (may_fall || state.steadied.desired() == 0) {
        state.steadied.set(0);
        state.startup.record(now_ms, serving, 0);
        return (0, Reason::Idle);
    }
    if !state.steadied.is_settled(now_ms, window_ms) {
        // Pods that appear now were asked for before this owner began.
        state.steadied.raise(serving);
    }
    let stepped = state.steadied.step(now_ms, window_ms, wanted, may_fall);
    state.startup.record(now_ms, serving, stepped.0);
    stepped
}

/// Returns the rates that concern a role.
fn rates_of(role: Role, rates: Rates) -> Rates {
    Rates {
        prefill: if role.prefills() { rates.prefill } else { 0.0 },
        output: if role.decodes() { rates.output } else { 0.0 },
        ..rates
    }
}

/// Returns what arrives for a signal.
fn arriving(rates: Rates) -> TokenRates {
    TokenRates { prefill: rates.prefill.round() as u64, decode: rates.output.round() as u64 }
}

/// Returns how many KV caches the tokens fill; `None` if either is not known.
fn kv_demand_milli(capacity: Capacity, kv_tokens: Option<f64>) -> Option<u64> {
    kv_tokens.filter(|_| capacity.kv_tokens > 0.0).map(|tokens| milli(tokens / capacity.kv_tokens))
}

fn kv_replicas(role: Role, capacity: Capacity, kv_tokens: f64) -> f64 {
    if role.decodes() && capacity.kv_tokens > 0.0 { kv_tokens / (capacity.kv_tokens * FULL_KV) } else { 0.0 }
}

/// Returns what the pods of a role hold, with their share of what waits.
fn held(moment: &Moment, inputs: &Inputs<'_>) -> Held {
    let pods = || inputs.pods.iter().filter(|pod| pod.group.role == inputs.role && pod.state.is_serving());
    let in_flight: f64 = pods().map(|pod| pod.prefill_in_flight as f64).sum();
    let is_told = pods().next().is_none() || pods().any(|pod| pod.kv_used_tokens.is_some());
    let used: f64 = pods().filter_map(|pod| pod.kv_used_tokens).map(|tokens| tokens as f64).sum();
    Held {
        prefill_tokens: in_flight + moment.queued_tokens * inputs.share,
        kv_used: is_told.then_some(used),
        kv_waiting: moment.queued_requests * inputs.share * moment.kv_per_request,
    }
}

fn milli(value: f64) -> u64 {
    (value * 1e3).round() as u64
}
