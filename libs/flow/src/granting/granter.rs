//! Grants places to the requests that wait at all replicas.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::Origin;

use super::band::Band;
use super::band_ceilings::BandCeilings;
use super::credit::Credit;
use super::heads::Heads;
use super::shares::BandShares;
use super::shortage::Shortage;
use crate::backlog::{Backlog, PeerBacklog, Usage};
use crate::flow_key::FlowKey;
use crate::saturation::Saturation;
use crate::settings::FlowSettings;

/// The maximum number of grants at once, if the caller sets none.
const MAX_GRANTS: usize = 256;

/// Up to which number the requests of a flow may go at one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The flow.
    pub flow: FlowKey,
    /// The replica.
    pub origin: Origin,
    /// How many requests of the flow may have gone there in all.
    pub up_to: u64,
}

/// A request that goes next.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// The rank of its band, highest priority first.
    rank: usize,
    priority: i32,
    tokens: u64,
}

/// Grants places to the requests that wait at all replicas: higher bands first, as far as the pool has room for them.
#[derive(Clone, Debug, Default)]
pub struct Granter {
    /// Highest priority first.
    bands: BTreeMap<Reverse<i32>, Band>,
}

impl Granter {
    /// Goes on with what the flows of a band got from another granter.
    pub fn restore(&mut self, priority: i32, shares: BandShares) {
        self.bands.entry(Reverse(priority)).or_default().shares = shares;
    }

    /// Adds what waits of one flow at a replica, with its grants.
    pub fn insert(&mut self, origin: Origin, flow: &FlowKey, backlog: PeerBacklog) {
        let band = self.bands.entry(Reverse(flow.priority)).or_default();
        band.flows.entry(Arc::clone(&flow.id)).or_default().insert(origin, backlog);
    }

    /// Returns what the flows of each band got, highest priority first.
    pub fn shares(&self) -> impl Iterator<Item = (i32, &BandShares)> {
        self.bands.iter().map(|(Reverse(priority), band)| (*priority, &band.shares))
    }

    /// Returns whether requests wait for a grant.
    pub fn has_ungranted(&self) -> bool {
        self.bands.values().any(Band::has_ungranted)
    }

    /// Takes over what a replica reports of one flow.
    pub fn report(&mut self, now_ms: u64, origin: Origin, flow: &FlowKey, backlog: Backlog) {
        let band = self.bands.entry(Reverse(flow.priority)).or_default();
        let backlogs = band.flows.entry(flow.id.clone()).or_default();
        backlogs.entry(origin).or_default().report(now_ms, backlog);
    }

    /// Lets the next request of a flow go later, as if the flow had got so many tokens more. Has an effect on weighted fairness only.
    pub fn postpone(&mut self, settings: &FlowSettings, flow: &FlowKey, tokens: u64) {
        let band = self.bands.entry(Reverse(flow.priority)).or_default();
        band.shares.postpone(&flow.id, tokens, settings.weight(&flow.id));
    }

    /// Forgets one flow of a replica, of which nothing waits any more.
    pub fn forget(&mut self, origin: Origin, flow: &FlowKey) {
        if let Some(band) = self.bands.get_mut(&Reverse(flow.priority))
            && let Some(backlogs) = band.flows.get_mut(&flow.id)
        {
            backlogs.remove(&origin);
        }
    }

    /// Forgets all flows of a replica that is gone.
    pub fn expire(&mut self, origin: Origin) {
        let backlogs = self.bands.values_mut().flat_map(|band| band.flows.values_mut());
        backlogs.for_each(|backlogs| {
            backlogs.remove(&origin);
        });
    }

    /// Returns the highest priority of which requests wait; `None` if none waits.
    pub fn highest_waiting(&self) -> Option<i32> {
        self.bands.iter().find(|(_, band)| band.waits()).map(|(Reverse(priority), _)| *priority)
    }

    /// Returns what waits in each band, highest priority first.
    pub fn usage(&self) -> impl Iterator<Item = (i32, Usage)> {
        let usage = |band: &Band| {
            let backlogs = band.flows.values().flat_map(BTreeMap::values);
            backlogs.fold(Usage::default(), |sum, backlog| sum + backlog.usage)
        };
        self.bands.iter().map(move |(Reverse(priority), band)| (*priority, usage(band)))
    }

    /// Returns the grants that no replica has reported as used. [`Granter::grant`] returns each only once; these are to be
    /// published as state, so that one that was lost arrives after all.
    pub fn outstanding_grants(&self) -> impl Iterator<Item = Grant> {
        let flows = self.bands.iter().flat_map(|(Reverse(priority), band)| {
            band.flows
                .iter()
                .map(|(id, backlogs)| (FlowKey { priority: *priority, id: id.clone() }, backlogs))
        });
        flows.flat_map(|(flow, backlogs)| {
            let outstanding = backlogs.iter().filter(|(_, backlog)| backlog.granted > backlog.released);
            outstanding.map(move |(origin, backlog)| Grant {
                flow: flow.clone(),
                origin: *origin,
                up_to: backlog.granted,
            })
        })
    }

    /// Grants places as far as the pool has room: at most 256.
    pub fn grant(&mut self, settings: &FlowSettings, saturation: &Saturation, now_ms: u64) -> Vec<Grant> {
        self.grant_at_most(MAX_GRANTS, settings, saturation, now_ms)
    }

    /// Grants places as far as the pool has room: at most `limit`, of which each changed number is returned once. Takes time in
    /// proportion to what the granter knows plus the number of grants, but for logarithms.
    pub fn grant_at_most(
        &mut self,
        limit: usize,
        settings: &FlowSettings,
        saturation: &Saturation,
        now_ms: u64,
    ) -> Vec<Grant> {
        let fairness = |priority: i32| settings.band(priority).fairness;
        self.bands.retain(|Reverse(priority), band| band.forget_idle(fairness(*priority), now_ms));
        let ceilings = BandCeilings::new(settings, self.bands.keys().map(|Reverse(priority)| *priority));
        let mut value = saturation.value + self.outstanding(saturation);
        let mut grants: BTreeMap<(FlowKey, Origin), u64> = BTreeMap::new();
        let heads = |(Reverse(priority), band): (&Reverse<i32>, &Band)| {
            band.heads(settings, fairness(*priority), now_ms)
        };
        let mut heads: Vec<Heads> = self.bands.iter().map(heads).collect();
        for _ in 0..limit {
            let Some(next) = self.next(settings, &heads, (&ceilings, value)) else { break };
            value += saturation.added_by(next.tokens);
            self.charge(settings, &heads, &next);
            let Some(band) = self.bands.get_mut(&Reverse(next.priority)) else { break };
            let Some((id, origin, up_to)) = band.grant(&mut heads[next.rank], now_ms) else { break };
            grants.insert((FlowKey { priority: next.priority, id }, origin), up_to);
        }
        self.bands.values_mut().for_each(|band| band.shares.limit());
        grants.into_iter().map(|((flow, origin), up_to)| Grant { flow, origin, up_to }).collect()
    }

    /// Returns why the requests that go next do not; `None` if none waits for a grant, or the pool has room for the first.
    pub fn shortage(&self, settings: &FlowSettings, saturation: &Saturation) -> Option<Shortage> {
        let ceilings = BandCeilings::new(settings, self.bands.keys().map(|Reverse(priority)| *priority));
        let granted = self.outstanding(saturation);
        let value = saturation.value + granted;
        let mut bands = self.bands.iter().zip(ceilings.at(settings, value));
        let ((Reverse(priority), band), ceiling) = bands.find(|((_, band), _)| band.has_ungranted())?;
        if value < ceiling {
            return None;
        }
        // Only as much as the whole pool has room for can go at once.
        let excess = value - ceiling + band.added_before_last(saturation).min(1.0);
        let is_of_prompts = saturation.by_prompts + granted >= ceiling;
        Some(Shortage { priority: *priority, excess, is_of_prompts })
    }

    /// Returns what the granted requests that have not gone yet will add.
    fn outstanding(&self, saturation: &Saturation) -> f64 {
        self.bands.values().map(|band| band.outstanding(saturation)).sum()
    }

    /// Returns the request that goes next. A band that has saved enough of its minimum share goes first; else the highest band
    /// goes. While the pool is full for a band that waits, no lower one goes.
    fn next(
        &self,
        settings: &FlowSettings,
        heads: &[Heads],
        (ceilings, saturation): (&BandCeilings, f64),
    ) -> Option<Next> {
        let mut first = None;
        let ceilings = ceilings.at(settings, saturation);
        for (rank, ((Reverse(priority), band), ceiling)) in self.bands.iter().zip(ceilings).enumerate() {
            let Some(tokens) = heads[rank].next_tokens() else { continue };
            let next = Next { rank, priority: *priority, tokens };
            if saturation < 1.0 && band.shares.credit.covers(tokens) {
                return Some(next);
            }
            if first.is_none() {
                first = Some((saturation < ceiling).then_some(next));
            }
        }
        first.flatten()
    }

    /// Pays a grant from the credit of its band, and adds to the credit of each band that waits and has a minimum share.
    fn charge(&mut self, settings: &FlowSettings, heads: &[Heads], granted: &Next) {
        for (rank, (Reverse(priority), band)) in self.bands.iter_mut().enumerate() {
            let share_percent = settings.band(*priority).min_share_percent;
            let longest_tokens = if share_percent > 0 { heads[rank].longest_tokens() } else { None };
            let Some(longest_tokens) = longest_tokens else {
                // Who does not wait saves nothing.
                band.shares.credit = Credit::default();
                continue;
            };
            if rank == granted.rank {
                band.shares.credit.pay(granted.tokens);
            }
            band.shares.credit.earn(granted.tokens, share_percent, longest_tokens);
        }
    }
}
