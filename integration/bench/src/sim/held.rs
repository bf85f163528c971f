//! Requests that wait in replicas, as the simulation sees them: how many, since when, and which endpoints idle meanwhile.

use std::collections::BTreeMap;

use super::flow::FlowOutcome;

/// Follows the requests that wait, and the endpoints that have none.
pub(super) struct Held {
    pub(super) outcome: FlowOutcome,
    waiting: BTreeMap<i32, u64>,
    /// Since when requests have waited without a break.
    waiting_since_us: Option<u64>,
    /// For each pod, the number of its requests, and since when it has had none.
    pods: Vec<(usize, u64)>,
}

impl Held {
    pub(super) fn new(requests: usize, pods: usize) -> Self {
        let outcome = FlowOutcome { waited_us: vec![None; requests], ..FlowOutcome::default() };
        Self { outcome, waiting: BTreeMap::new(), waiting_since_us: None, pods: vec![(0, 0); pods] }
    }

    /// Records that a request begins to wait.
    pub(super) fn begin(&mut self, now_us: u64, priority: i32) {
        self.waiting_since_us.get_or_insert(now_us);
        let waiting = self.waiting.entry(priority).or_default();
        *waiting += 1;
        let most = self.outcome.most_waiting.entry(priority).or_default();
        *most = (*most).max(*waiting);
    }

    /// Records that a request waits no longer.
    pub(super) fn end(&mut self, now_us: u64, priority: i32) {
        self.measure_idle(now_us);
        if let Some(waiting) = self.waiting.get_mut(&priority) {
            *waiting -= 1;
        }
        if self.waiting.values().all(|waiting| *waiting == 0) {
            self.waiting_since_us = None;
        }
    }

    /// Records that a request is refused, or dropped after a wait.
    pub(super) fn drop(&mut self) {
        self.outcome.dropped += 1;
    }

    /// Records that a request is sent to a pod.
    pub(super) fn send(&mut self, now_us: u64, (request, waited_us): (usize, u64), pod: usize) {
        self.measure_idle(now_us);
        self.pods[pod].0 += 1;
        let before = self.outcome.waited_us[request].replace(waited_us);
        self.outcome.sent_again += usize::from(before.is_some());
    }

    /// Records that a pod finished a request.
    pub(super) fn finish(&mut self, now_us: u64, pod: usize) {
        let (requests, idle_since_us) = &mut self.pods[pod];
        *requests -= 1;
        *idle_since_us = now_us;
    }

    /// Measures for how long pods have been idle while requests waited.
    pub(super) fn measure_idle(&mut self, now_us: u64) {
        let Some(waiting_since_us) = self.waiting_since_us else { return };
        let idle = self.pods.iter().filter(|(requests, _)| *requests == 0);
        let since_us = idle.map(|(_, idle_since_us)| (*idle_since_us).max(waiting_since_us));
        let longest_us = since_us.map(|since_us| now_us - since_us).max().unwrap_or(0);
        self.outcome.longest_idle_us = self.outcome.longest_idle_us.max(longest_us);
    }
}
