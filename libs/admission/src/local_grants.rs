//! Grants of a replica that hears no owner.

use std::collections::BTreeSet;

use signalbox_flow::{Backlog, FlowKey, FlowSettings, Grant, Granter, Saturation};
use signalbox_types::Origin;

/// The replica itself, to its own granter.
const SELF: Origin = Origin(0);

/// Grants to the requests that wait at this replica, while no owner is heard. The numbers go on from those that the owner's
/// grants have reached, so that nothing is granted twice.
#[derive(Debug)]
pub(crate) struct LocalGrants {
    /// The replica's place among those that share the pool, from 0 to less than 1; `None` once the flows that waited at first
    /// have begun.
    turn: Option<f64>,
    granter: Granter,
    flows: BTreeSet<FlowKey>,
}

impl LocalGrants {
    /// Creates them for the replica at the place `turn` among those that share the pool.
    pub(crate) fn new(turn: f64) -> Self {
        Self { turn: Some(turn), granter: Granter::default(), flows: BTreeSet::new() }
    }

    /// Grants places in this replica's share of the pool, whose saturation is `saturation`.
    pub(crate) fn grant(
        &mut self,
        settings: &FlowSettings,
        saturation: &Saturation,
        backlogs: &[(FlowKey, Backlog)],
        now_ms: u64,
    ) -> Vec<Grant> {
        if let Some(turn) = self.turn.take_if(|_| !backlogs.is_empty()) {
            self.begin(settings, turn, backlogs);
        }
        for (flow, backlog) in backlogs {
            self.granter.report(now_ms, SELF, flow, *backlog);
        }
        let flows = backlogs.iter().map(|(flow, _)| flow.clone()).collect();
        for gone in self.flows.difference(&flows) {
            self.granter.forget(SELF, gone);
        }
        self.flows = flows;
        self.granter.grant(settings, saturation, now_ms)
    }

    /// Lets the flows that wait at first begin at different times: as if each had got a part of a request.
    ///
    /// Each replica grants only a few requests until an owner is heard again. If all began with the same flows, these would get
    /// one more from each replica. So the parts of the flows of a band are evenly apart, and those of one flow at the replicas are,
    /// too. A flow that comes later begins at once, however often it comes and goes.
    fn begin(&mut self, settings: &FlowSettings, turn: f64, backlogs: &[(FlowKey, Backlog)]) {
        for band in backlogs.chunk_by(|one, other| one.0.priority == other.0.priority) {
            for (at, (flow, backlog)) in band.iter().enumerate() {
                let part = (turn + at as f64 / band.len() as f64).fract();
                let tokens = part * backlog.usage.mean_tokens() as f64;
                self.granter.postpone(settings, flow, tokens as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_flow::Usage;

    use super::*;

    const REPLICAS: u64 = 8;
    const FLOWS: u64 = 8;
    const TOKENS: u64 = 1_000;

    /// A pool with room for so many requests.
    fn room(requests: u64) -> Saturation {
        let per_request = 1.0 / f64::from(1_u32 << 20);
        let value = 1.0 - requests as f64 * per_request;
        Saturation { value, by_prompts: value, per_request, per_token: 0.0, per_request_limit: f64::INFINITY }
    }

    /// Returns how many requests of each flow go if each replica has room for so many.
    fn granted(each: u64) -> Vec<u64> {
        let mut sums = vec![0; FLOWS as usize];
        for replica in 0..REPLICAS {
            let backlog = |flow: u64| {
                let usage = Usage { requests: 100, bytes: 0, tokens: 100 * TOKENS };
                Backlog { usage, oldest_wait_ms: 100 + (replica * 37 + flow * 61) % 97, released: 0 }
            };
            let backlogs: Vec<_> =
                (0..FLOWS).map(|flow| (FlowKey::new(0, &flow.to_string()), backlog(flow))).collect();
            let mut local = LocalGrants::new(replica as f64 / REPLICAS as f64);
            for grant in local.grant(&FlowSettings::default(), &room(each), &backlogs, 1_000) {
                sums[grant.flow.id.parse::<usize>().unwrap()] += grant.up_to;
            }
        }
        sums
    }

    #[test]
    fn replicas_that_grant_by_themselves_serve_all_flows_alike() {
        for each in [1, 2, 4, 7, 20] {
            assert_eq!(vec![each; FLOWS as usize], granted(each));
        }
    }

    #[test]
    fn flow_that_comes_later_begins_at_once_however_often() {
        let flow = |id: &str| FlowKey::new(0, id);
        let waiting = |requests| {
            let usage = Usage { requests, bytes: 0, tokens: requests * TOKENS };
            Backlog { usage, oldest_wait_ms: 10, released: 0 }
        };
        let settings = FlowSettings::default();
        let mut local = LocalGrants::new(0.9);
        let mut early = waiting(100);
        assert_eq!(30, local.grant(&settings, &room(30), &[(flow("early"), early)], 1_000)[0].up_to);
        let mut late_got = 0;
        for round in 1..=10 {
            // All that was granted has gone.
            early.released = 30 + round - 1 - late_got;
            let late = Backlog { released: late_got, ..waiting(1) };
            let backlogs = [(flow("early"), early), (flow("late"), late)];
            let grants = local.grant(&settings, &room(1), &backlogs, 1_000 + round);
            late_got += grants.iter().filter(|grant| *grant.flow.id == *"late").count() as u64;
            // Its queue is empty in between.
            local.grant(&settings, &room(0), &[(flow("early"), early)], 1_000 + round);
        }
        assert_eq!(5, late_got, "half of what goes");
    }
}
