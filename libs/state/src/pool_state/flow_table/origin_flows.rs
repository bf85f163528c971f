//! What waits at one replica, and what can be revoked there.

use std::collections::BTreeMap;

use signalbox_flow::{FlowKey, PeerBacklog, PeerRevocable, RevocableClass, Usage};

/// What waits at one replica, what can be revoked there, and the settings that it reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginFlows {
    /// The checksum of the settings that the replica reported last; `None` if it reported none.
    reported_settings: Option<u64>,
    /// Whether these say that requests in flight are revoked.
    reports_revokes: bool,
    backlogs: BTreeMap<FlowKey, PeerBacklog>,
    /// What waits in each band.
    waiting: BTreeMap<i32, Usage>,
    revocable: BTreeMap<RevocableClass, PeerRevocable>,
}

impl OriginFlows {
    /// The maximum number of flows of one replica. It tells [`FlowKey::MAX_FLOWS`] flows apart, and has one more for each
    /// band.
    pub const MAX_FLOWS: usize = 2 * FlowKey::MAX_FLOWS;

    /// Puts together what is known of a replica.
    pub fn new(
        reported_settings: Option<u64>,
        backlogs: impl IntoIterator<Item = (FlowKey, PeerBacklog)>,
    ) -> Self {
        let mut flows = Self { reported_settings, ..Self::default() };
        for (flow, backlog) in backlogs {
            flows.set(&flow, backlog);
        }
        flows
    }

    /// Adds whether the reported settings say that requests in flight are revoked, and what can be.
    #[must_use]
    pub fn with_revocable(
        mut self,
        reports_revokes: bool,
        revocable: impl IntoIterator<Item = (RevocableClass, PeerRevocable)>,
    ) -> Self {
        self.reports_revokes = reports_revokes;
        for (class, revocable) in revocable {
            self.set_revocable(class, revocable);
        }
        self
    }

    /// Returns the checksum of the settings that the replica reported last, without [`Self::reports_revokes`]; `None` if it
    /// reported none.
    pub fn reported_settings(&self) -> Option<u64> {
        self.reported_settings
    }

    /// Returns whether the reported settings say that requests in flight are revoked.
    pub fn reports_revokes(&self) -> bool {
        self.reports_revokes
    }

    /// Records the settings that the replica has reported: their checksum, and whether they say that requests are revoked.
    pub(super) fn set_reported(&mut self, settings: u64, revokes: bool) {
        (self.reported_settings, self.reports_revokes) = (Some(settings), revokes);
    }

    /// Returns what waits of each flow, ordered by flow. A flow of which nothing waits is listed while it has grants that the
    /// replica has not reported as used.
    pub fn backlogs(&self) -> impl ExactSizeIterator<Item = (&FlowKey, &PeerBacklog)> {
        self.backlogs.iter()
    }

    /// Returns what waits of one flow.
    pub fn backlog(&self, flow: &FlowKey) -> Option<&PeerBacklog> {
        self.backlogs.get(flow)
    }

    /// Returns what waits in the band of `priority`.
    pub fn waiting(&self, priority: i32) -> Usage {
        self.waiting.get(&priority).copied().unwrap_or_default()
    }

    /// Returns what waits in each band.
    pub(super) fn bands(&self) -> impl Iterator<Item = (i32, Usage)> {
        self.waiting.iter().map(|(priority, usage)| (*priority, *usage))
    }

    /// Returns what can be revoked of each class, ordered by class.
    pub fn revocable(&self) -> impl ExactSizeIterator<Item = (RevocableClass, PeerRevocable)> {
        self.revocable.iter().map(|(class, revocable)| (*class, *revocable))
    }

    /// Returns what can be revoked of one class.
    pub fn revocable_of(&self, class: RevocableClass) -> PeerRevocable {
        self.revocable.get(&class).copied().unwrap_or_default()
    }

    /// Sets what can be revoked of a class, and returns what could before. The default value removes the class.
    pub(super) fn set_revocable(&mut self, class: RevocableClass, revocable: PeerRevocable) -> PeerRevocable {
        let before = match revocable == PeerRevocable::default() {
            true => self.revocable.remove(&class),
            false => self.revocable.insert(class, revocable),
        };
        before.unwrap_or_default()
    }

    /// Sets what waits of a flow, and returns what did before. The default value removes the flow.
    pub(super) fn set(&mut self, flow: &FlowKey, backlog: PeerBacklog) -> PeerBacklog {
        let before = if backlog == PeerBacklog::default() {
            self.backlogs.remove(flow)
        } else {
            self.backlogs.insert(flow.clone(), backlog)
        };
        let before = before.unwrap_or_default();
        replace(&mut self.waiting, flow.priority, before.usage, backlog.usage);
        before
    }
}

/// Replaces `before`, which is part of a band's sum, with `after`. A band of which nothing waits has no sum.
pub(super) fn replace(sums: &mut BTreeMap<i32, Usage>, priority: i32, before: Usage, after: Usage) {
    let sum = sums.get(&priority).copied().unwrap_or_default();
    let sum = sum - before + after;
    if sum.requests == 0 {
        sums.remove(&priority);
    } else {
        sums.insert(priority, sum);
    }
}
