//! Flow control and routing: requests wait in one queue while the pool is full, and go to the pod that begins with them first.

use std::collections::VecDeque;

use super::deployment::Server;
use super::request::Request;
use super::request::RequestId;

/// When a pod is full: the defaults of the Go EPP's utilization detector.
const FULL_WAITING: f64 = 5.0;
const FULL_KV: f64 = 0.8;

/// The queue of the pool.
#[derive(Debug)]
pub(super) struct Gate {
    /// Whether requests wait here while the pool is full. Otherwise they go to pods at once.
    has_flow_control: bool,
    waiting: VecDeque<RequestId>,
}

/// Returns how full a pod is: 1 is full.
pub(super) fn saturation(server: &Server) -> f64 {
    (server.pod.waiting() as f64 / FULL_WAITING).max(server.pod.kv_use() / FULL_KV)
}

impl Gate {
    pub(super) fn new(has_flow_control: bool) -> Self {
        Self { has_flow_control, waiting: VecDeque::new() }
    }

    /// Adds a request.
    pub(super) fn push(&mut self, id: RequestId) {
        self.waiting.push_back(id);
    }

    /// Returns the requests that wait, the oldest first.
    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = RequestId> + '_ {
        self.waiting.iter().copied()
    }

    /// Sends requests to pods until the pool is full.
    pub(super) fn send(&mut self, now_s: f64, requests: &[Request], serving: &mut [Server]) {
        while let Some(id) = self.waiting.front().copied() {
            if self.has_flow_control && serving.iter().map(saturation).sum::<f64>() >= serving.len() as f64 {
                return;
            }
            let wait = |server: &Server| server.wait_s(now_s);
            let Some(soonest) = serving.iter_mut().min_by(|a, b| wait(a).total_cmp(&wait(b))) else { return };
            soonest.pod.push(now_s, id, &requests[id.0]);
            self.waiting.pop_front();
        }
    }
}

impl Server {
    /// Returns how long a prompt would wait here until the pod begins with it, in seconds.
    fn wait_s(&self, now_s: f64) -> f64 {
        let prefill_s = self.pod.prefill_left(now_s) / f64::from(self.pod.model().prefill_tokens_per_second);
        // A full cache lets nothing start, however little is to be prefilled.
        prefill_s + self.pod.pass_s() + (self.pod.kv_use() - FULL_KV).max(0.0) * 10.0
    }
}

#[cfg(test)]
mod tests {
    use signalbox_modelsim::profiles;

    use super::*;
    use crate::scale::deployment::Deployment;

    #[test]
    fn requests_spread_and_then_wait() {
        let model = &profiles::find("l40s-8b").expect("the profile is among those of modelsim").model;
        let mut deployment = Deployment::new(model, 60.0, 2, 1);
        let requests = [Request { at_s: 0.0, prompt_tokens: 3_000, output_tokens: 10 }; 40];
        let mut gate = Gate::new(true);
        (0..40).for_each(|at| gate.push(RequestId(at)));
        gate.send(0.0, &requests, &mut deployment.serving);
        let in_flight: Vec<_> = deployment.serving.iter().map(|of| of.pod.in_flight()).collect();
        assert_eq!(40, in_flight.iter().sum::<usize>() + gate.waiting().len());
        assert!(in_flight.iter().all(|count| (5..=7).contains(count)), "{in_flight:?}");
        assert_eq!(Some(RequestId(in_flight.iter().sum())), gate.waiting().next());
        let mut open = Gate::new(false);
        (0..40).for_each(|at| open.push(RequestId(at)));
        open.send(0.0, &requests, &mut deployment.serving);
        assert_eq!(0, open.waiting().len());
    }
}
