//! The requests of one priority that wait at all replicas.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::Origin;

use super::shares::{BandShares, Candidate};
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

/// The next request of each flow of a band, ordered by name.
#[derive(Debug)]
pub(super) struct Heads(Vec<Head>);

/// The next request of a flow.
#[derive(Clone, Debug)]
struct Head {
    candidate: Candidate,
    origin: Origin,
}

impl Heads {
    /// Returns the tokens of the longest request; `None` if there is none.
    pub(super) fn longest_tokens(&self) -> Option<u64> {
        self.0.iter().map(|head| head.candidate.tokens).max()
    }
}

impl Band {
    /// Returns the next request of each flow.
    pub(super) fn heads(&self, settings: &FlowSettings, now_ms: u64) -> Heads {
        Heads(self.flows.keys().filter_map(|id| self.head(id, settings, now_ms)).collect())
    }

    /// Returns the request of a flow that goes next: the one that has waited the longest, at any replica.
    fn head(&self, id: &Arc<str>, settings: &FlowSettings, now_ms: u64) -> Option<Head> {
        let waiting = self.flows.get(id)?.iter().filter(|(_, backlog)| backlog.ungranted() > 0);
        let (origin, backlog) = waiting.min_by_key(|(_, backlog)| backlog.head_ms(now_ms))?;
        let (head_ms, tokens) = (backlog.head_ms(now_ms), backlog.mean_tokens());
        let candidate = Candidate { id: Arc::clone(id), head_ms, tokens, weight: settings.weight(id) };
        Some(Head { candidate, origin: *origin })
    }

    /// Returns the position in `heads` of the request that goes next, and its tokens; `None` if nothing waits.
    pub(super) fn next(&self, heads: &Heads, fairness: Fairness, now_ms: u64) -> Option<(usize, u64)> {
        let candidates = heads.0.iter().map(|head| &head.candidate);
        let at = self.shares.next(fairness, candidates, now_ms)?;
        Some((at, heads.0[at].candidate.tokens))
    }

    /// Grants the request at position `at` of `heads`, which has the flow's next one afterwards. Returns the flow, the replica
    /// and its new number.
    pub(super) fn grant(
        &mut self,
        heads: &mut Heads,
        at: usize,
        settings: &FlowSettings,
        now_ms: u64,
    ) -> (Arc<str>, Origin, u64) {
        let Head { candidate, origin } = heads.0[at].clone();
        self.shares.record(&candidate, now_ms);
        let id = candidate.id;
        let backlog = self.flows.entry(Arc::clone(&id)).or_default().entry(origin).or_default();
        backlog.granted = backlog.granted.max(backlog.released) + 1;
        let up_to = backlog.granted;
        match self.head(&id, settings, now_ms) {
            Some(head) => heads.0[at] = head,
            None => drop(heads.0.remove(at)),
        }
        (id, origin, up_to)
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

    /// Forgets flows that neither wait nor have a claim. Returns whether any are left.
    pub(super) fn forget_idle(&mut self, now_ms: u64) -> bool {
        let Self { flows, shares, .. } = self;
        flows.retain(|_, backlogs| !backlogs.is_empty());
        let waits = |id: &str| {
            flows.get(id).is_some_and(|backlogs| backlogs.values().any(|backlog| backlog.usage.requests > 0))
        };
        shares.forget_idle(waits, now_ms);
        !flows.is_empty() || !shares.is_empty()
    }
}
