//! Assesses a pool: from what is observed to the signal.

mod family;
mod group_state;
mod groups;

use std::collections::BTreeMap;

use self::family::Family;
use self::groups::Groups;
use crate::capacity::Capacities;
use crate::coverage::CoverageMeter;
use crate::demand::{DemandMeter, Rates};
use crate::group::{Group, Role};
use crate::idleness::Idleness;
use crate::observation::{Observation, Pod, PodState};
use crate::output::OutputMeter;
use crate::settings::SignalSettings;
use crate::signal::{AdapterDemand, Certainty, GroupSignal, ReplicaCounts, Signal};

/// Assesses one pool over time. An owner has one for as long as it owns the pool.
#[derive(Debug)]
pub struct SignalAssessor {
    settings: SignalSettings,
    demand: DemandMeter,
    output: OutputMeter,
    capacities: Capacities,
    coverage: CoverageMeter,
    idleness: Idleness,
    groups: Groups,
    families: BTreeMap<Role, Family>,
    is_first: bool,
}

/// What is the same for all groups in one assessment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now_ms: u64,
    window_ms: u64,
    /// What arrives.
    rates: Rates,
    /// Whether everything is known that is needed to say that fewer replicas are enough.
    may_fall: bool,
    /// Tokens that wait in flow control.
    queued_tokens: f64,
    /// Tokens of the KV cache that a request takes.
    kv_per_request: f64,
    queued_requests: f64,
}

impl SignalAssessor {
    /// Creates an assessor that has observed nothing.
    pub fn new(settings: SignalSettings) -> Self {
        Self {
            settings,
            demand: DemandMeter::new(settings.down_window_ms),
            output: OutputMeter::default(),
            capacities: Capacities::default(),
            coverage: CoverageMeter::default(),
            idleness: Idleness::default(),
            groups: Groups::default(),
            families: BTreeMap::new(),
            is_first: true,
        }
    }

    /// Takes over what an earlier owner has published last: its numbers hold until this one knows enough to lower them.
    pub fn inherit(&mut self, signal: &Signal) {
        self.idleness.inherit(!signal.is_active);
        for group in &signal.groups {
            if self.capacities.of(&group.group).is_none() {
                self.capacities.inherit(group);
            }
            self.groups.inherit(group);
        }
    }

    /// Assesses the pool as it is observed now. It is to be called about once a second.
    pub fn assess(&mut self, observation: &Observation) -> Signal {
        let Observation { epoch, now_ms, pods, queue, .. } = observation;
        self.demand.record(*now_ms, &observation.epp_replicas);
        let has_work = self.output.record(pods) | self.demand.has_arrivals();
        let (coverage, certainty) = self.coverage.assess(observation);
        let idle_ms = self.idleness.record(observation, coverage, has_work);
        let rates = self.rates();
        let kv_per_request = kv_per_request(rates);
        self.capacities.record(*now_ms, self.is_first, pods, kv_per_request);
        self.is_first = false;
        let moment = Moment {
            now_ms: *now_ms,
            window_ms: self.settings.down_window_ms,
            rates,
            may_fall: certainty == Certainty::Complete,
            queued_tokens: queue.tokens as f64,
            kv_per_request,
            queued_requests: queue.requests as f64,
        };
        let is_idle = idle_ms.is_some_and(|idle_ms| idle_ms >= self.settings.idle_retention_ms);
        let serving = pods.iter().any(|pod| pod.state.is_serving());
        Signal {
            epoch: *epoch,
            assessed_at_ms: *now_ms,
            certainty,
            coverage,
            groups: self.assess_groups(&moment, pods, is_idle),
            queue: *queue,
            shed_milli: self.demand.refused_milli(),
            is_active: !is_idle,
            awaits_first_pod: queue.requests > 0 && !serving,
            adapters: adapters(observation),
        }
    }

    /// Returns what arrives, with the output tokens that requests turn out to have.
    fn rates(&self) -> Rates {
        let rates = self.demand.rates();
        let output = self.output.per_request().map_or(rates.output, |tokens| rates.requests * tokens);
        Rates { output, ..rates }
    }

    fn assess_groups(&mut self, moment: &Moment, pods: &[Pod], is_idle: bool) -> Vec<GroupSignal> {
        self.groups.update(moment.now_ms, pods);
        self.capacities.retain(|group| self.groups.contains(group));
        let whole_share = self.share_of_whole_requests(pods);
        let mut signals = Vec::new();
        for role in Role::ALL {
            let share = if role == Role::Both { whole_share } else { 1.0 - whole_share };
            let groups = self.groups.iter_mut().filter(|(group, _)| group.role == role);
            let groups: Vec<_> = groups.collect();
            if groups.is_empty() {
                continue;
            }
            let family = self.families.entry(role).or_default();
            let inputs =
                family::Inputs { role, share, pods, demand: &self.demand, capacities: &self.capacities };
            signals.extend(family.assess(moment, &inputs, groups, is_idle));
        }
        for signal in &mut signals {
            signal.saturation_milli = saturation_milli(pods, &signal.group);
        }
        signals.sort_by(|a, b| a.group.cmp(&b.group));
        signals
    }

    /// Returns the share of the load that goes to pods that serve whole requests. The others serve the rest in pairs.
    fn share_of_whole_requests(&self, pods: &[Pod]) -> f64 {
        let prefill_of = |role: Role| {
            let serving = pods.iter().filter(|pod| pod.group.role == role && pod.state.is_serving());
            serving.map(|pod| self.capacities.of(&pod.group).map_or(1.0, |of| of.prefill)).sum::<f64>()
        };
        let (whole, split) = (prefill_of(Role::Both), prefill_of(Role::Prefill));
        if whole + split > 0.0 {
            return whole / (whole + split);
        }
        let has_whole = self.groups.iter().any(|group| group.role == Role::Both);
        f64::from(u8::from(has_whole))
    }
}

/// Returns how full the pods of a group are whose metrics are current, on average.
fn saturation_milli(pods: &[Pod], group: &Group) -> Option<u64> {
    let mean = Pod::mean_saturation(pods.iter().filter(|pod| pod.group == *group))?;
    Some((mean * 1e3).round() as u64)
}

/// Counts the pods of a group by state.
fn count(pods: &[Pod], group: &Group) -> ReplicaCounts {
    let mut counts = ReplicaCounts::default();
    for pod in pods.iter().filter(|pod| pod.group == *group) {
        let count = match pod.state {
            PodState::Ready => &mut counts.ready,
            PodState::Warming => &mut counts.warming,
            PodState::Stale => &mut counts.stale,
            PodState::Draining => &mut counts.draining,
            PodState::Failed => &mut counts.failed,
        };
        *count += 1;
    }
    counts
}

/// Returns how many tokens of the KV cache a request takes on average while it runs: its prompt and half its output.
fn kv_per_request(rates: Rates) -> f64 {
    if rates.requests <= 0.0 {
        return 1_000.0;
    }
    ((rates.prefill + rates.output / 2.0) / rates.requests).max(1.0)
}

/// Returns the most wanted adapters.
fn adapters(observation: &Observation) -> Vec<AdapterDemand> {
    let mut adapters: Vec<_> = observation
        .adapters
        .iter()
        .map(|(adapter, demand_milli)| AdapterDemand {
            adapter: adapter.clone(),
            demand_milli: *demand_milli,
        })
        .collect();
    adapters.sort_by(|a, b| (b.demand_milli, &a.adapter).cmp(&(a.demand_milli, &b.adapter)));
    adapters.truncate(Signal::MAX_ADAPTERS);
    adapters
}

#[cfg(test)]
mod tests;
