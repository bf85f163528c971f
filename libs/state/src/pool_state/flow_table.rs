//! What waits at each replica of a pool while it is full, what may go, and by which settings.

mod flow_change;
mod flow_measures;
mod flow_part;
mod origin_flows;
mod sums;

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_flow::{
    BandShares, FlowKey, FlowSettings, PeerBacklog, PeerRevocable, RevocableClass, Served, Usage,
};
use signalbox_types::Origin;

pub use self::flow_change::FlowChange;
pub use self::flow_measures::{DrainRate, FlowMeasures};
pub use self::flow_part::FlowPart;
pub use self::origin_flows::OriginFlows;

/// The flow control of a pool. A copy costs little, because copies share their parts: a change copies what belongs to one
/// replica, or to one band.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowTable {
    settings: Arc<FlowSettings>,
    origins: Arc<BTreeMap<Origin, Arc<OriginFlows>>>,
    /// What waits in each band at all replicas.
    waiting: Arc<BTreeMap<i32, Usage>>,
    bands: Arc<BTreeMap<i32, Arc<BandShares>>>,
    measures: FlowMeasures,
}

/// The checksums of what a change replaces, and of what it puts there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replaced {
    pub(super) before: Sums,
    pub(super) after: Sums,
}

/// Checksums over the parts of a flow table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) flows: u64,
    /// Of what can be revoked, and whether anything is. Peers of earlier releases know nothing of it.
    pub(super) revocable: u64,
}

impl Replaced {
    fn of_flows(before: u64, after: u64) -> Self {
        let sums = |flows| Sums { flows, revocable: 0 };
        Self { before: sums(before), after: sums(after) }
    }

    fn of_revocable(before: u64, after: u64) -> Self {
        let sums = |revocable| Sums { flows: 0, revocable };
        Self { before: sums(before), after: sums(after) }
    }

    fn add(&mut self, other: Self) {
        let add = |sums: &mut Sums, other: Sums| {
            sums.flows = sums.flows.wrapping_add(other.flows);
            sums.revocable = sums.revocable.wrapping_add(other.revocable);
        };
        add(&mut self.before, other.before);
        add(&mut self.after, other.after);
    }
}

impl OriginFlows {
    /// Returns whether the replica reported `settings` last.
    pub(crate) fn has_reported(&self, settings: &FlowSettings) -> bool {
        let reported = (self.reported_settings(), self.reports_revokes());
        reported == (Some(sums::of_settings(settings)), settings.revokes)
    }
}

impl FlowTable {
    /// Returns the settings that a replica reported last; the default ones if none did.
    pub fn settings(&self) -> &Arc<FlowSettings> {
        &self.settings
    }

    /// Returns the highest priority of which requests wait at any replica; `None` if none waits.
    pub fn highest_waiting(&self) -> Option<i32> {
        self.waiting.last_key_value().map(|(priority, _)| *priority)
    }

    /// Returns what waits in each band at all replicas, lowest priority first. Bands of which nothing waits are left out.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = (i32, Usage)> {
        self.waiting.iter().map(|(priority, usage)| (*priority, *usage))
    }

    /// Returns what waits at all replicas except `origin`: in the band of `priority`, and in all bands.
    pub fn waiting_elsewhere(&self, origin: Origin, priority: i32) -> (Usage, Usage) {
        let own = self.origins.get(&origin);
        let without_own = |(of, usage): (i32, Usage)| {
            let own = own.map(|flows| flows.waiting(of)).unwrap_or_default();
            (of, usage - own)
        };
        let fold = |(band, all): (Usage, Usage), (of, usage): (i32, Usage)| {
            (if of == priority { usage } else { band }, all + usage)
        };
        self.waiting().map(without_own).fold(Default::default(), fold)
    }

    /// Returns the flows of `origin` that have grants which it has not reported as used, and up to which number their
    /// requests may go.
    pub fn grants(&self, origin: Origin) -> impl Iterator<Item = (&FlowKey, u64)> {
        let flows = self.origins.get(&origin).into_iter().flat_map(|flows| flows.backlogs());
        let outstanding = flows.filter(|(_, backlog)| backlog.granted > backlog.released);
        outstanding.map(|(flow, backlog)| (flow, backlog.granted))
    }

    /// Returns the classes of `origin` of which more requests are to be revoked than it has reported, and up to which number.
    pub fn revocations(&self, origin: Origin) -> impl Iterator<Item = (RevocableClass, u64)> {
        let classes = self.origins.get(&origin).into_iter().flat_map(|flows| flows.revocable());
        let outstanding = classes.filter(|(_, revocable)| revocable.ordered > revocable.revoked);
        outstanding.map(|(class, revocable)| (class, revocable.ordered))
    }

    /// Returns how fast granted requests have left the queues lately, at all replicas.
    pub fn drain_rate(&self) -> DrainRate {
        self.measures.drain_rate
    }

    /// Returns how full the pool was when the owner last measured it: 0 is idle, 1 is full. It measures while requests wait.
    pub fn saturation(&self) -> f64 {
        self.measures.saturation()
    }

    /// Returns what the owner measured last.
    pub fn measures(&self) -> FlowMeasures {
        self.measures
    }

    /// Returns the replicas that have reported settings or backlogs, and what is known of each.
    pub fn origins(&self) -> impl ExactSizeIterator<Item = (Origin, &Arc<OriginFlows>)> {
        self.origins.iter().map(|(origin, flows)| (*origin, flows))
    }

    /// Returns what is known of one replica; `None` if it has reported nothing, or nothing waits and it has no settings.
    pub fn origin(&self, origin: Origin) -> Option<&OriginFlows> {
        self.origins.get(&origin).map(Arc::as_ref)
    }

    /// Returns what the flows of each band got, lowest priority first.
    pub fn bands(&self) -> impl ExactSizeIterator<Item = (i32, &Arc<BandShares>)> {
        self.bands.iter().map(|(priority, shares)| (*priority, shares))
    }

    /// Returns the parts of the table, of which [`Self::insert`] makes an equal one. An empty table has none.
    pub(crate) fn parts(&self) -> Vec<FlowPart> {
        if *self == Self::default() {
            return Vec::new();
        }
        let pool = FlowPart::Pool(Arc::clone(&self.settings), self.measures);
        let origins = self.origins().map(|(origin, flows)| FlowPart::Origin(origin, Arc::clone(flows)));
        let bands = self.bands().flat_map(|(priority, shares)| FlowPart::of_band(priority, shares));
        std::iter::once(pool).chain(origins).chain(bands).collect()
    }

    /// Adds one of the parts of another table.
    pub(super) fn insert(&mut self, part: &FlowPart) -> Replaced {
        match part {
            FlowPart::Pool(settings, measures) => {
                let mut replaced = self.set_measures(*measures);
                replaced.add(self.set_settings(settings));
                replaced
            }
            FlowPart::Origin(origin, flows) => self.set_origin(*origin, flows),
            FlowPart::Band(priority, shares) => self.add_served(*priority, shares),
        }
    }

    /// Applies a change.
    pub(super) fn apply(&mut self, change: &FlowChange) -> Replaced {
        match change {
            FlowChange::SettingsReported { origin, settings } => {
                let mut flows = self.origin(*origin).cloned().unwrap_or_default();
                flows.set_reported(sums::of_settings(settings), settings.revokes);
                let mut replaced = self.set_origin(*origin, &Arc::new(flows));
                replaced.add(self.set_settings(settings));
                replaced
            }
            FlowChange::BacklogChanged { origin, flow, backlog } => self.set_backlog(*origin, flow, *backlog),
            FlowChange::RevocableChanged { origin, class, revocable } => {
                self.set_revocable(*origin, *class, *revocable)
            }
            FlowChange::BandServed { priority, shares } => self.add_served(*priority, shares),
            FlowChange::Measured(measures) => self.set_measures(*measures),
        }
    }

    /// Forgets a replica that is gone.
    pub(super) fn expire(&mut self, origin: Origin) -> Replaced {
        if !self.origins.contains_key(&origin) {
            return Replaced::default();
        }
        self.set_origin(origin, &Arc::default())
    }

    fn set_settings(&mut self, settings: &Arc<FlowSettings>) -> Replaced {
        let before = std::mem::replace(&mut self.settings, Arc::clone(settings));
        let mut replaced = Replaced::of_flows(sums::of_settings(&before), sums::of_settings(settings));
        replaced.add(Replaced::of_revocable(sums::of_revokes(&before), sums::of_revokes(settings)));
        replaced
    }

    fn set_measures(&mut self, measures: FlowMeasures) -> Replaced {
        let before = std::mem::replace(&mut self.measures, measures);
        Replaced::of_flows(sums::of_measures(before), sums::of_measures(measures))
    }

    fn set_origin(&mut self, origin: Origin, flows: &Arc<OriginFlows>) -> Replaced {
        let origins = Arc::make_mut(&mut self.origins);
        let before = if **flows == OriginFlows::default() {
            origins.remove(&origin)
        } else {
            origins.insert(origin, Arc::clone(flows))
        };
        let before = before.unwrap_or_default();
        for (priority, usage) in before.bands() {
            self.replace_waiting(priority, usage, Usage::default());
        }
        for (priority, usage) in flows.bands() {
            self.replace_waiting(priority, Usage::default(), usage);
        }
        let of_revocable = sums::of_origin_revocable;
        let mut replaced =
            Replaced::of_flows(sums::of_origin(origin, &before), sums::of_origin(origin, flows));
        replaced.add(Replaced::of_revocable(of_revocable(origin, &before), of_revocable(origin, flows)));
        replaced
    }

    fn set_revocable(&mut self, origin: Origin, class: RevocableClass, revocable: PeerRevocable) -> Replaced {
        let origins = Arc::make_mut(&mut self.origins);
        let flows = Arc::make_mut(origins.entry(origin).or_default());
        let before = flows.set_revocable(class, revocable);
        if *flows == OriginFlows::default() {
            origins.remove(&origin);
        }
        let sum = |revocable| sums::of_revocable(origin, class, revocable);
        Replaced::of_revocable(sum(before), sum(revocable))
    }

    fn set_backlog(&mut self, origin: Origin, flow: &FlowKey, backlog: PeerBacklog) -> Replaced {
        let origins = Arc::make_mut(&mut self.origins);
        let flows = Arc::make_mut(origins.entry(origin).or_default());
        let before = flows.set(flow, backlog);
        if *flows == OriginFlows::default() {
            origins.remove(&origin);
        }
        self.replace_waiting(flow.priority, before.usage, backlog.usage);
        let sum = |backlog| sums::of_backlog(origin, flow, backlog);
        Replaced::of_flows(sum(before), sum(backlog))
    }

    fn replace_waiting(&mut self, priority: i32, before: Usage, after: Usage) {
        if before != after {
            origin_flows::replace(Arc::make_mut(&mut self.waiting), priority, before, after);
        }
    }

    /// Takes over what `shares` says of its band, and of the flows that it names. One that got nothing is forgotten.
    fn add_served(&mut self, priority: i32, shares: &BandShares) -> Replaced {
        let bands = Arc::make_mut(&mut self.bands);
        let band = Arc::make_mut(bands.entry(priority).or_default());
        let sum_before = sums::of_band(priority, band);
        let BandShares { virtual_time, latest, credit, served } = shares;
        (band.virtual_time, band.latest, band.credit) = (*virtual_time, latest.clone(), *credit);
        let mut replaced = Replaced::of_flows(sum_before, sums::of_band(priority, band));
        for (id, served) in served {
            let before = match *served == Served::default() {
                true => band.served.remove(id),
                false => band.served.insert(Arc::clone(id), *served),
            };
            let sum = |served| sums::of_served(priority, id, served);
            replaced.add(Replaced::of_flows(sum(before.unwrap_or_default()), sum(*served)));
        }
        if *band == BandShares::default() {
            bands.remove(&priority);
        }
        replaced
    }
}
