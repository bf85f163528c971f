//! The requests that wait at a simulated replica, as if the pool were full whenever one of them arrives.

use std::sync::Arc;

use signalbox_flow::{FlowKey, FlowSettings, WaitingRequest};
use signalbox_state::{FlowReport, GaugeScope};

use super::Replica;
use crate::cluster::Cluster;
use crate::counters::Counter;

/// The priorities and fairness ids of the requests that wait.
const FLOWS: [(i32, &str); 3] = [(10, "a"), (0, "a"), (0, "b")];

/// The tokens of a request that waits.
const TOKENS: u64 = 64;

impl Replica {
    /// Lets a request wait if it is its turn. Returns whether it waits.
    pub(super) fn enqueue(&mut self, cluster: &mut Cluster) -> bool {
        self.arrived += 1;
        self.arrivals.record(TOKENS, TOKENS);
        let every = cluster.plan.queued_every;
        let turns = self.arrived.checked_div(every).filter(|turns| turns * every == self.arrived);
        let Some(turn) = turns.filter(|_| cluster.accepts_requests) else { return false };
        let (priority, id) = FLOWS[turn as usize % FLOWS.len()];
        let request = WaitingRequest {
            flow: FlowKey::new(priority, id),
            tokens: TOKENS,
            arrived_ms: cluster.now_ms(self.node),
            ..WaitingRequest::default()
        };
        let is_queued = self.waiting.enqueue(&FlowSettings::default(), request, Default::default()).is_ok();
        self.has_feedback.store(true, std::sync::atomic::Ordering::Relaxed);
        is_queued
    }

    /// Sends the requests that may go.
    pub(super) fn apply_grants(&mut self, cluster: &mut Cluster) {
        let flows = self.follower.replica().state_replica().pool_state().flows();
        let grants: Vec<_> = flows.grants(self.origin).map(|(flow, up_to)| (flow.clone(), up_to)).collect();
        for (flow, up_to) in grants {
            for _ in self.waiting.grant(&flow, up_to) {
                cluster.counters.increment(Counter::Granted);
                self.has_feedback.store(true, std::sync::atomic::Ordering::Relaxed);
                self.send_request(cluster);
            }
        }
    }

    /// Returns what waits, for a batch of feedback.
    pub(super) fn flow_report(&mut self, cluster: &Cluster, scope: GaugeScope) -> FlowReport {
        let now_ms = cluster.now_ms(self.node);
        let backlogs = self.backlog_reporter.report(scope, self.waiting.backlogs(now_ms));
        self.waiting.forget_empty();
        let settings = (scope == GaugeScope::All).then(|| Arc::new(FlowSettings::default()));
        FlowReport { backlogs, settings }
    }
}
