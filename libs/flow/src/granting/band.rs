//! The requests of one priority that wait at all replicas.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::Origin;

use super::heads::Heads;
use super::shares::BandShares;
use crate::backlog::PeerBacklog;
use crate::policies::Fairness;
use crate::saturation::Saturation;
use crate::settings::FlowSettings;

/// The requests of one priority that wait at all replicas.
#[derive(Clone, Debug, Default)]
pub(super) struct Band {
    pub(super) flows: BTreeMap<Arc<str>, BTreeMap<Origin, PeerBacklog>>,
    pub(super) shares: BandShares,
}

impl Band {
    /// Returns the next request of each flow.
    pub(super) fn heads(&self, settings: &FlowSettings, fairness: Fairness, now_ms: u64) -> Heads {
        Heads::new(&self.flows, (&self.shares, fairness), settings, now_ms)
    }

    /// Grants the next of `heads`, which has the one after it afterwards. Returns the flow, the replica and its new number;
    /// `None` if nothing waits for a grant.
    pub(super) fn grant(&mut self, heads: &mut Heads, now_ms: u64) -> Option<(Arc<str>, Origin, u64)> {
        let (candidate, origin) = heads.next()?;
        self.shares.record(candidate, now_ms);
        let id = Arc::clone(&candidate.id);
        let backlogs = self.flows.get_mut(&id)?;
        let backlog = backlogs.get_mut(&origin)?;
        backlog.granted = backlog.granted.max(backlog.released) + 1;
        let up_to = backlog.granted;
        heads.advance(&self.shares, backlogs, now_ms);
        Some((id, origin, up_to))
    }

    /// Returns whether requests wait.
    pub(super) fn waits(&self) -> bool {
        self.flows.values().flat_map(BTreeMap::values).any(|backlog| backlog.usage.requests > 0)
    }

    /// Returns whether requests wait for a grant.
    pub(super) fn has_ungranted(&self) -> bool {
        self.flows.values().flat_map(BTreeMap::values).any(|backlog| backlog.ungranted() > 0)
    }

    /// Returns what the granted requests that have not gone yet will add to the pool's saturation.
    pub(super) fn outstanding(&self, saturation: &Saturation) -> f64 {
        let backlogs = self.flows.values().flat_map(BTreeMap::values);
        backlogs.map(|of| of.outstanding() as f64 * saturation.added_by(of.mean_tokens())).sum()
    }

    /// Returns what the requests that wait for a grant add to the pool's saturation before the last of them goes, if that is the
    /// longest one.
    pub(super) fn added_before_last(&self, saturation: &Saturation) -> f64 {
        let (mut sum, mut most) = (0.0, 0.0_f64);
        let backlogs = self.flows.values().flat_map(BTreeMap::values);
        for backlog in backlogs.filter(|backlog| backlog.ungranted() > 0) {
            let each = saturation.added_by(backlog.mean_tokens());
            sum += backlog.ungranted() as f64 * each;
            most = most.max(each);
        }
        (sum - most).max(0.0)
    }

    /// Forgets flows that neither wait nor have a claim. Returns whether any are left.
    pub(super) fn forget_idle(&mut self, fairness: Fairness, now_ms: u64) -> bool {
        let Self { flows, shares, .. } = self;
        flows.retain(|_, backlogs| !backlogs.is_empty());
        let waits = |id: &str| {
            flows.get(id).is_some_and(|backlogs| backlogs.values().any(|backlog| backlog.usage.requests > 0))
        };
        shares.forget_idle(fairness, waits, now_ms);
        !flows.is_empty() || !shares.is_empty()
    }
}
