//! The next request of each flow of a band, in the order in which they go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use signalbox_types::Origin;

use super::candidate::Candidate;
use super::order::Order;
use super::shares::BandShares;
use crate::backlog::PeerBacklog;
use crate::policies::Fairness;
use crate::settings::FlowSettings;

/// The next request of each flow of a band, in the order in which they go during one run of the granter. It is put together
/// once per run: a grant looks at the flow that goes next, not at all flows.
#[derive(Debug)]
pub(super) struct Heads {
    order: Order,
    /// Ordered by name.
    flows: Vec<FlowHead>,
    /// The key of each flow of which requests wait for a grant, with its position in `flows`.
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    longest_tokens: u64,
}

/// The next request of a flow.
#[derive(Debug)]
struct FlowHead {
    candidate: Candidate,
    /// Since when the next request at each replica waits.
    origins: BinaryHeap<Reverse<(u64, Origin)>>,
}

impl FlowHead {
    /// Puts together the heads of one flow; `None` if nothing waits for a grant. The request that has waited the longest goes
    /// first, at any replica.
    fn new(
        id: &Arc<str>,
        backlogs: &BTreeMap<Origin, PeerBacklog>,
        settings: &FlowSettings,
        now_ms: u64,
    ) -> Option<Self> {
        let waiting = backlogs.iter().filter(|(_, backlog)| backlog.ungranted() > 0);
        let origins: BinaryHeap<_> =
            waiting.map(|(origin, backlog)| Reverse((backlog.head_ms(now_ms), *origin))).collect();
        let Reverse((head_ms, origin)) = *origins.peek()?;
        let tokens = backlogs.get(&origin)?.mean_tokens();
        let candidate = Candidate { id: Arc::clone(id), head_ms, tokens, weight: settings.weight(id) };
        Some(Self { candidate, origins })
    }
}

impl Heads {
    /// Returns the heads of `flows`, which are ordered as `shares` and `fairness` say.
    pub(super) fn new(
        flows: &BTreeMap<Arc<str>, BTreeMap<Origin, PeerBacklog>>,
        (shares, fairness): (&BandShares, Fairness),
        settings: &FlowSettings,
        now_ms: u64,
    ) -> Self {
        let heads = flows.iter().filter_map(|(id, backlogs)| FlowHead::new(id, backlogs, settings, now_ms));
        let flows: Vec<_> = heads.collect();
        let candidates = || flows.iter().map(|of| &of.candidate);
        let order = shares.order(fairness, candidates(), now_ms);
        let longest_tokens = candidates().map(|of| of.tokens).max().unwrap_or(0);
        let key = |(at, of)| {
            let (first, second) = shares.key(order, of);
            Reverse((first, second, at))
        };
        let queue = candidates().enumerate().map(key).collect();
        Self { order, flows, queue, longest_tokens }
    }

    /// Returns the tokens of the request that goes next; `None` if none waits for a grant.
    pub(super) fn next_tokens(&self) -> Option<u64> {
        self.next().map(|(candidate, _)| candidate.tokens)
    }

    /// Returns the tokens of the longest of the requests that were next in this run; `None` if none waits for a grant.
    pub(super) fn longest_tokens(&self) -> Option<u64> {
        self.next().map(|_| self.longest_tokens)
    }

    /// Returns the request that goes next, and the replica where it waits.
    pub(super) fn next(&self) -> Option<(&Candidate, Origin)> {
        let Reverse((_, _, at)) = self.queue.peek()?;
        let FlowHead { candidate, origins } = &self.flows[*at];
        origins.peek().map(|Reverse((_, origin))| (candidate, *origin))
    }

    /// Goes on after the next request was granted and recorded in `shares`. `backlogs` are those of its flow.
    pub(super) fn advance(
        &mut self,
        shares: &BandShares,
        backlogs: &BTreeMap<Origin, PeerBacklog>,
        now_ms: u64,
    ) {
        let Some(Reverse((key, _, at))) = self.queue.pop() else { return };
        let FlowHead { candidate, origins } = &mut self.flows[at];
        let granted_at = origins.pop().map(|Reverse((_, origin))| origin);
        if let Some(origin) = granted_at
            && let Some(backlog) = backlogs.get(&origin).filter(|backlog| backlog.ungranted() > 0)
        {
            origins.push(Reverse((backlog.head_ms(now_ms), origin)));
        }
        let Some(Reverse((head_ms, origin))) = origins.peek() else { return };
        candidate.head_ms = *head_ms;
        candidate.tokens = backlogs.get(origin).map_or(1, PeerBacklog::mean_tokens);
        self.longest_tokens = self.longest_tokens.max(candidate.tokens);
        let (first, second) = match self.order {
            Order::RoundRobin => (key + 1, 0),
            order => shares.key(order, candidate),
        };
        self.queue.push(Reverse((first, second, at)));
    }
}
