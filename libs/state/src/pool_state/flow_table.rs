//! What waits at each replica of a pool while it is full, what may go, and by which settings.

mod flow_change;
mod flow_measures;
mod flow_part;
mod origin_flows;
mod sums;

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_flow::{BandShares, FlowKey, FlowSettings, PeerBacklog, Served, Usage};
use signalbox_types::Origin;

pub use self::flow_change::FlowChange;
pub use self::flow_measures::{DrainRate, FlowMeasures};
pub use self::flow_part::FlowPart;
pub use self::origin_flows::OriginFlows;
pub(crate) use self::sums::of_settings as sum_of_settings;

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
    pub(super) before: u64,
    pub(super) after: u64,
}

impl Replaced {
    fn add(&mut self, before: u64, after: u64) {
        self.before = self.before.wrapping_add(before);
        self.after = self.after.wrapping_add(after);
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
                self.set_settings(settings, &mut replaced);
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
                let sum = sums::of_settings(settings);
                let mut flows = self.origin(*origin).cloned().unwrap_or_default();
                flows.reported_settings = Some(sum);
                let mut replaced = self.set_origin(*origin, &Arc::new(flows));
                self.set_settings(settings, &mut replaced);
                replaced
            }
            FlowChange::BacklogChanged { origin, flow, backlog } => self.set_backlog(*origin, flow, *backlog),
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

    fn set_settings(&mut self, settings: &Arc<FlowSettings>, replaced: &mut Replaced) {
        let before = std::mem::replace(&mut self.settings, Arc::clone(settings));
        replaced.add(sums::of_settings(&before), sums::of_settings(settings));
    }

    fn set_measures(&mut self, measures: FlowMeasures) -> Replaced {
        let before = std::mem::replace(&mut self.measures, measures);
        Replaced { before: sums::of_measures(before), after: sums::of_measures(measures) }
    }

    fn set_origin(&mut self, origin: Origin, flows: &Arc<OriginFlows>) -> Replaced {
        let origins = Arc::make_mut(&mut self.origins);
        let after = sums::of_origin(origin, flows);
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
        Replaced { before: sums::of_origin(origin, &before), after }
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
        Replaced { before: sum(before), after: sum(backlog) }
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
        let mut replaced = Replaced { before: sums::of_band(priority, band), after: 0 };
        let BandShares { virtual_time, latest, credit, served } = shares;
        (band.virtual_time, band.latest, band.credit) = (*virtual_time, latest.clone(), *credit);
        replaced.after = sums::of_band(priority, band);
        for (id, served) in served {
            let before = match *served == Served::default() {
                true => band.served.remove(id),
                false => band.served.insert(Arc::clone(id), *served),
            };
            let sum = |served| sums::of_served(priority, id, served);
            replaced.add(sum(before.unwrap_or_default()), sum(*served));
        }
        if *band == BandShares::default() {
            bands.remove(&priority);
        }
        replaced
    }
}
