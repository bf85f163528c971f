//! Sends the requests of a simulated replica with its pick, from their start to their end.

use std::sync::Arc;

use rand::Rng;
use rand::seq::IteratorRandom;
use signalbox_admission::{Admission, cost_tokens};
use signalbox_schedule::{BatchedFeedback, Booked, Decision, OwnState, Pick, PickInputs};
use signalbox_state::{Circuit, ResponseOutcome, ResponseReport, UsageReport, View};
use signalbox_types::{ResponseKey, Subset};

use super::Replica;
use super::arriving::Arriving;
use super::recorded_feedback::RecordedFeedback;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::counters::Counter;

/// How long an engine takes for an uncached token, in microseconds.
const PREFILL_TOKEN_US: u64 = 80;

/// How often a replica looks for an endpoint that it may probe when there are no other requests, in milliseconds.
const PROBE_EVERY_MS: u64 = 100;

/// The number of requests in a burst, and for how long their feedback is held back, in milliseconds.
const BURST_REQUESTS: usize = 300;
const HOLD_FEEDBACK_MS: u64 = 500;

impl Replica {
    /// Sends a request, and schedules the next one.
    pub(super) fn start_request(&mut self, cluster: &mut Cluster) {
        let after_ms = if cluster.accepts_requests {
            cluster.queue.rng.random_range(1..=2 * cluster.plan.request_every_ms)
        } else {
            PROBE_EVERY_MS
        };
        cluster.set_timer(self.node, after_ms, Timer::NextRequest);
        if !self.is_giving_up {
            let arriving = self.next_arriving(cluster);
            // After the faults, there are only probes.
            let may_wait = cluster.accepts_requests;
            self.send_request(cluster, arriving, !may_wait);
        }
    }

    fn next_arriving(&mut self, cluster: &mut Cluster) -> Arriving {
        self.arrived += 1;
        Arriving::random(&mut cluster.queue.rng, self.arrived)
    }

    /// Sends many requests at once, whose feedback takes its time. They come from clients that need no place.
    pub(crate) fn burst(&mut self, cluster: &mut Cluster) {
        self.hold_feedback_until_ms = cluster.now_ms(self.node) + HOLD_FEEDBACK_MS;
        for _ in 0..BURST_REQUESTS {
            let arriving = self.next_arriving(cluster);
            self.send_request(cluster, arriving, true);
        }
        self.schedule_flush(cluster);
    }

    /// Picks an endpoint for a request and books the request there, or lets it wait unless it `is_admitted`, as the request path
    /// of an EPP does.
    pub(super) fn send_request(&mut self, cluster: &mut Cluster, arriving: Arriving, is_admitted: bool) {
        let now_ms = cluster.now_ms(self.node);
        let own = OwnState {
            origin: self.origin,
            bookings: &self.bookings,
            overlay: &self.overlay,
            adapter_sends: &self.adapter_sends,
            probes: &self.probes,
        };
        let pick = Pick { view: &self.view, policy: &self.policy, own, now_ms };
        let request = arriving.request(self.view.format.block_bytes);
        let mut inputs = pick.look_up(request, &arriving.chain, self.heard.peer_load(now_ms));
        inputs.request.subset = allowed(cluster, &self.view, &inputs);
        let batched = BatchedFeedback { batcher: &mut self.batcher, now_ms };
        let mut feedback = RecordedFeedback { batched, placements: &mut self.placements, is_probe: false };
        let (decision, _) = pick.choose(&mut inputs, 0, &mut cluster.queue.rng, &mut feedback);
        if !is_admitted {
            let seen = self.heard.seen(&self.view, self.origin, now_ms);
            let decided = (&inputs.of_decision(&self.view), &decision);
            let output_tokens = inputs.request.expected_output_tokens();
            self.arrivals.record(decision.uncached_tokens(&inputs.request), output_tokens);
            let admission = self.gate.admit(seen, decided);
            if admission.refuses(&decision) {
                self.arrivals.record_refusal();
            }
            match admission {
                Admission::Go => {}
                Admission::Shed => return,
                Admission::Wait { tokens } => return self.wait(cluster, arriving, (&inputs.request, tokens)),
            }
        }
        let Decision::Picked { position, terms } = decision else { return };
        let member = Arc::clone(&self.view.endpoints[position]);
        let pool_state = self.follower.replica().state_replica().pool_state();
        cluster.checker.check_booking(&mut cluster.counters, self.node, pool_state, member.key);
        let booked = pick.book(&inputs, (position, &terms), arriving.chain, &mut feedback);
        if feedback.is_probe {
            self.check_probe(cluster, &member);
        }
        let cost = (inputs.request.priority, cost_tokens(&inputs.request, &decision));
        self.open_request(cluster, booked, cost);
    }

    /// Lets an endpoint process a request of this priority, which costs so many tokens.
    fn open_request(&mut self, cluster: &mut Cluster, booked: Booked, cost: (i32, u64)) {
        let rng = &mut cluster.queue.rng;
        let first_output_ms = rng.random_range(1..200);
        let end_ms = first_output_ms + *[10, 300, 4_000].get(rng.random_range(0..3)).unwrap_or(&10);
        cluster.pods.add_running(booked.usage.endpoint, 1);
        cluster.counters.increment(Counter::Request);
        self.requests_started += 1;
        let number = self.requests_started;
        self.requests.insert(number, booked);
        self.make_revocable(cluster, number, cost);
        cluster.set_timer(self.node, first_output_ms, Timer::FirstOutput(number));
        cluster.set_timer(self.node, end_ms, Timer::RequestEnd(number));
    }

    /// Ends the prefill of a request, and reports its outcome and usage. The engine finds as much in its cache as was
    /// predicted.
    pub(super) fn record_first_output(&mut self, cluster: &mut Cluster, number: u64) {
        let now_ms = cluster.now_ms(self.node);
        let Some(request) = self.requests.get_mut(&number) else { return };
        request.booking.record_first_output(now_ms);
        let (usage, is_sole_prefill) = (request.usage, request.is_sole_prefill);
        let outcome = self.outcome_of(cluster, usage.endpoint);
        self.record_revocable_output(cluster, number);
        if outcome != ResponseOutcome::Refused {
            cluster.checker.record_outcome(usage.endpoint);
        }
        if self.batcher.has_room_for_events() {
            let UsageReport { endpoint, model, .. } = usage;
            self.batcher.add_response(ResponseReport { endpoint, model, outcome });
        }
        if outcome == ResponseOutcome::FirstOutput && self.batcher.has_room_for_events() {
            let UsageReport { endpoint, model, last_block, .. } = usage;
            let outcome = ResponseOutcome::Stored(ResponseKey(last_block.0 ^ number));
            self.batcher.add_response(ResponseReport { endpoint, model, outcome });
            let uncached_tokens = usage.predicted_tokens - usage.predicted_cached_tokens;
            self.batcher.add_usage(UsageReport {
                prompt_tokens: Some(usage.predicted_tokens),
                cached_tokens: Some(usage.predicted_cached_tokens),
                output_tokens: Some(1 + number % 500),
                sole_prefill_us: is_sole_prefill.then_some(uncached_tokens * PREFILL_TOKEN_US),
                ..usage
            });
        }
        if !cluster.accepts_requests {
            self.end_request(cluster, number);
        }
    }

    pub(super) fn end_request(&mut self, cluster: &mut Cluster, number: u64) {
        if self.release(cluster, number) {
            self.end_revocable(cluster, number);
        }
    }

    /// Releases the booking of a request. Returns whether it had one.
    pub(super) fn release(&mut self, cluster: &mut Cluster, number: u64) -> bool {
        let Some(Booked { booking, usage, .. }) = self.requests.remove(&number) else { return false };
        cluster.pods.add_running(usage.endpoint, -1);
        drop(booking);
        true
    }

    /// Ends all requests, because their clients or this process are gone.
    pub(crate) fn end_all_requests(&mut self, cluster: &mut Cluster) {
        let numbers: Vec<u64> = self.requests.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.end_request(cluster, number));
        self.end_all_clients(cluster);
        self.schedule_flush(cluster);
    }
}

/// Returns the endpoints that a request may go to: half of the time all, else a random one, so that requests also go where
/// the policy would not send them. An open circuit is left to the policy. After the faults, requests may only go where
/// they are probes.
fn allowed(cluster: &mut Cluster, view: &View, inputs: &PickInputs) -> Option<Subset> {
    let of_decision = inputs.of_decision(view);
    let circuits = |at: usize| {
        let assessment = &view.endpoints[at].assessment;
        [assessment.circuit, assessment.circuit_of(&inputs.request.model)]
    };
    let is_probe = |at: &usize| !circuits(*at).contains(&Circuit::Open) && of_decision.is_probe(*at);
    let positions = 0..view.endpoints.len();
    let mut subset = Subset::default();
    let mut allow = |at: usize| subset.add(&view.endpoints[at].spec.address.to_string());
    if !cluster.accepts_requests {
        positions.filter(|at| circuits(*at)[0] != Circuit::Closed).filter(is_probe).for_each(allow);
        return Some(subset);
    }
    if cluster.queue.rng.random() {
        return None;
    }
    let takes_requests = |at: &usize| circuits(*at) == [Circuit::Closed; 2] || is_probe(at);
    let one = positions.filter(takes_requests).choose(&mut cluster.queue.rng)?;
    allow(one);
    Some(subset)
}
