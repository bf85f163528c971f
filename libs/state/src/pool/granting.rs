//! Grants places at the endpoints to the requests that wait at all replicas.
//!
//! The granter reads what waits, and what the flows of each band got, from the pool's state, and its results are changes of
//! that state. So it starts anew each time, and another owner goes on as if nothing had happened.

use std::sync::Arc;

use signalbox_flow::{BandShares, Grant, Granter, PeerBacklog};
use signalbox_types::Origin;

use super::drain_meter::DrainMeter;
use super::{Pool, PoolEffect};
use crate::pool_state::{Change, DrainRate, FlowChange, FlowMeasures, OriginFlows, PoolState};

/// How many endpoints, backlogs and flows are worth a millisecond between two runs of the granter: each is read in every run.
const READ_PER_MS: usize = 500;

/// How many requests are granted at most for each millisecond until the next run: as many per second, however large the pool is.
const GRANTS_PER_MS: u64 = 256;

/// After how long room is looked for again while nothing happens, in milliseconds. Prompts that are being processed make room
/// as time passes.
const RETRY_MS: u64 = 10;

/// After what silence a replica is granted nothing, in milliseconds: it reports all that waits every 500 ms, so it has missed
/// two reports. What it would be granted, nobody would use, and others would wait for that room until the replica expires.
const SILENT_MS: u64 = 1_000;

/// How late a timer can be before it counts as lost, in milliseconds.
const TIMER_LOST_MS: u64 = 100;

/// How often bands without waiting requests are considered, which only forgets what they got long ago, in milliseconds.
const IDLE_RUN_MS: u64 = 1_000;

/// By how much the saturation, in thousandths, and the drain rate, in percent, change before followers are told.
const SATURATION_STEP_MILLI: u32 = 20;
const DRAIN_STEP_PERCENT: u64 = 5;

/// When requests that wait were granted last, and are next.
#[derive(Debug, Default)]
pub(super) struct Granting {
    /// The end of the time in which the granter does not run again, so that it takes a limited share of all time.
    pause_until_ms: u64,
    /// When the owner is woken up at the latest; `None` if it is not.
    wake_at_ms: Option<u64>,
    drain_meter: DrainMeter,
    /// When a request was last known to be revoked, in milliseconds.
    pub(super) revoked_at_ms: Option<u64>,
}

impl Granting {
    /// Goes on from the state of an earlier owner.
    pub(super) fn inherited(pool_state: &PoolState) -> Self {
        let drain_meter = DrainMeter::inherited(pool_state.flows().drain_rate());
        Self { drain_meter, ..Self::default() }
    }

    /// Records that the owner was woken up. A timer that was set before an earlier one wakes it up too soon: nothing is due
    /// then, and no other timer may take its place.
    pub(super) fn wake(&mut self, now_ms: u64) -> Vec<PoolEffect> {
        self.wake_at_ms = self.wake_at_ms.filter(|wake_at_ms| *wake_at_ms > now_ms);
        Vec::new()
    }

    /// Forgets a timer that should have woken the owner up long ago.
    fn forget_lost_timer(&mut self, now_ms: u64) {
        let is_pending = |wake_at_ms: &u64| now_ms < wake_at_ms.saturating_add(TIMER_LOST_MS);
        self.wake_at_ms = self.wake_at_ms.filter(is_pending);
    }

    /// Asks to be woken up at `at_ms`, unless that happens earlier anyway.
    fn wake_at(&mut self, now_ms: u64, at_ms: u64) -> Option<PoolEffect> {
        if self.wake_at_ms.is_some_and(|wake_at_ms| wake_at_ms <= at_ms) {
            return None;
        }
        self.wake_at_ms = Some(at_ms);
        Some(PoolEffect::GrantAfter(at_ms.saturating_sub(now_ms)))
    }
}

impl Pool {
    /// Grants what there is room for, if requests wait and the granter last ran long enough ago.
    pub(super) fn grant_when_due(&mut self, now_ms: u64) -> Option<PoolEffect> {
        self.pool_state.flows().highest_waiting()?;
        let pause_until_ms = self.granting.pause_until_ms;
        if now_ms < pause_until_ms {
            return self.granting.wake_at(now_ms, pause_until_ms);
        }
        let is_done = self.grant(now_ms);
        let retry_at_ms = self.granting.pause_until_ms.max(now_ms + RETRY_MS);
        if is_done { None } else { self.granting.wake_at(now_ms, retry_at_ms) }
    }

    /// Measures at each tick. Forgets what idle bands got long ago.
    pub(super) fn tick_granting(&mut self, now_ms: u64) {
        self.granting.forget_lost_timer(now_ms);
        let flows = self.pool_state.flows();
        let waits = flows.highest_waiting().is_some();
        if !waits
            && flows.bands().len() > 0
            && now_ms >= self.granting.pause_until_ms.saturating_add(IDLE_RUN_MS)
        {
            self.grant(now_ms);
        }
        self.correct_assumed_speed(now_ms, waits);
        let drain_rate = self.granting.drain_meter.sample(now_ms, waits);
        if waits {
            self.publish_measures(now_ms, drain_rate);
        }
    }

    fn publish_measures(&mut self, now_ms: u64, drain_rate: DrainRate) {
        let saturation = self.saturation(now_ms).unwrap_or(0.0);
        let before = self.pool_state.flows().measures();
        let measures = FlowMeasures { saturation_milli: (saturation * 1e3) as u32, drain_rate, ..before };
        let differs = |before: u64, after: u64| {
            before.abs_diff(after).saturating_mul(100) > before.saturating_mul(DRAIN_STEP_PERCENT)
        };
        let (rate, rate_before) = (measures.drain_rate, before.drain_rate);
        if before.saturation_milli.abs_diff(measures.saturation_milli) >= SATURATION_STEP_MILLI
            || differs(rate_before.milli_requests_per_second, rate.milli_requests_per_second)
            || differs(rate_before.tokens_per_second, rate.tokens_per_second)
        {
            self.commit(Change::Flow(FlowChange::Measured(measures)));
        }
    }

    /// Grants what there is room for. Returns whether no request is left that waits for a grant.
    fn grant(&mut self, now_ms: u64) -> bool {
        let flows = self.pool_state.flows();
        let backlogs: usize = flows.origins().map(|(_, of)| of.backlogs().len() + of.revocable().len()).sum();
        let served: usize = flows.bands().map(|(_, of)| of.served.len()).sum();
        let read = self.pool_state.endpoints().len() + backlogs + served;
        let pause_ms = 1 + (read / READ_PER_MS) as u64;
        self.granting.pause_until_ms = now_ms + pause_ms;
        let mut granter = self.granter(now_ms);
        let settings = Arc::clone(flows.settings());
        // Without endpoints, requests wait for the first one.
        let Some(saturation) = self.assess_saturation(now_ms) else { return true };
        let limit = (pause_ms * GRANTS_PER_MS) as usize;
        let grants = granter.grant_at_most(limit, &settings, &saturation, now_ms);
        grants.into_iter().for_each(|grant| self.publish_grant(grant));
        self.publish_shares(&granter);
        if settings.revokes {
            self.revoke(now_ms, &granter, &settings, &saturation);
        }
        !granter.has_ungranted()
    }

    /// Returns a granter that goes on from the pool's state. It leaves out replicas that are silent, with their grants.
    fn granter(&self, now_ms: u64) -> Granter {
        let mut granter = Granter::default();
        for (priority, shares) in self.pool_state.flows().bands() {
            granter.restore(priority, BandShares::clone(shares));
        }
        for (origin, flows) in self.heard_origins(now_ms) {
            flows.backlogs().for_each(|(flow, backlog)| granter.insert(origin, flow, *backlog));
        }
        granter
    }

    /// Returns the replicas that are not silent, and what is known of each.
    pub(super) fn heard_origins(&self, now_ms: u64) -> impl Iterator<Item = (Origin, &Arc<OriginFlows>)> {
        // Whoever has sent something that still waits to be handled is not silent.
        let handled_until_ms = now_ms.saturating_sub(self.waiting_ms);
        let is_heard = move |origin: &Origin| !self.origins.is_silent(handled_until_ms, *origin, SILENT_MS);
        self.pool_state.flows().origins().filter(move |(origin, _)| is_heard(origin))
    }

    fn publish_grant(&mut self, grant: Grant) {
        let Grant { flow, origin, up_to } = grant;
        let flows = self.pool_state.flows().origin(origin);
        let Some(before) = flows.and_then(|flows| flows.backlog(&flow)).copied() else { return };
        let requests = up_to.saturating_sub(before.granted.max(before.released));
        self.granting.drain_meter.record(requests, requests.saturating_mul(before.mean_tokens()));
        let backlog = PeerBacklog { granted: up_to, ..before };
        self.commit(Change::Flow(FlowChange::BacklogChanged { origin, flow, backlog }));
    }

    /// Publishes what has changed of what the bands got.
    fn publish_shares(&mut self, granter: &Granter) {
        let (nothing, flows) = (Arc::default(), self.pool_state.flows());
        let known =
            |priority| flows.bands().find(|(of, _)| *of == priority).map_or(&nothing, |(_, shares)| shares);
        let changed = granter
            .shares()
            .filter_map(|(priority, shares)| Some((priority, shares.changes_since(known(priority))?)));
        let is_gone = |priority: &i32| !granter.shares().any(|(of, _)| of == *priority);
        let gone = flows.bands().filter(|(priority, _)| is_gone(priority));
        let gone = gone
            .filter_map(|(priority, shares)| Some((priority, BandShares::default().changes_since(shares)?)));
        for (priority, shares) in changed.chain(gone).collect::<Vec<_>>() {
            self.commit(Change::Flow(FlowChange::BandServed { priority, shares: Arc::new(shares) }));
        }
    }
}
