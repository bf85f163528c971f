//! Books the requests of a simulated replica from their start to their end.

use std::sync::Arc;

use rand::Rng;
use signalbox_state::{
    Booking, Circuit, EndpointState, PlacedPrompt, ResponseOutcome, ResponseReport, UsageReport, View,
};
use signalbox_types::{EndpointKey, Incarnation, ModelKey};

use super::Replica;
use super::circuits::Admission;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::cluster::prompts;
use crate::counters::Counter;

/// The number of models that are requested.
const MODELS: u64 = 4;

/// How often a replica looks for an endpoint that it may probe when there are no other requests, in milliseconds.
const PROBE_EVERY_MS: u64 = 100;

/// The number of requests in a burst, and for how long their feedback is held back, in milliseconds.
const BURST_REQUESTS: usize = 300;
const HOLD_FEEDBACK_MS: u64 = 500;

/// A request in flight.
pub(super) struct OpenRequest {
    endpoint: EndpointKey,
    incarnation: Incarnation,
    booking: Booking,
}

impl Replica {
    /// Sends a random prompt to an endpoint that is not draining: half of the time to the one with the longest
    /// matching prefix, else to a random one.
    pub(super) fn start_request(&mut self, cluster: &mut Cluster) {
        let after_ms = if cluster.accepts_requests {
            cluster.queue.rng.random_range(1..=2 * cluster.plan.request_every_ms)
        } else {
            PROBE_EVERY_MS
        };
        cluster.set_timer(self.node, after_ms, Timer::NextRequest);
        if !self.is_giving_up {
            self.send_request(cluster);
        }
    }

    /// Sends many requests at once, whose feedback takes its time.
    pub(crate) fn burst(&mut self, cluster: &mut Cluster) {
        self.hold_feedback_until_ms = cluster.now_ms(self.node) + HOLD_FEEDBACK_MS;
        (0..BURST_REQUESTS).for_each(|_| self.send_request(cluster));
        self.schedule_flush(cluster);
    }

    fn send_request(&mut self, cluster: &mut Cluster) {
        let now_ms = cluster.now_ms(self.node);
        let replica = self.follower.replica().state_replica();
        self.view = View::next(&self.view, replica, &self.bookings);
        let may_be_draining = self.view.may_be_draining();
        let model = ModelKey((self.requests_started + 1) % MODELS);
        let takes_requests = |member: &&Arc<EndpointState>| {
            let is_wanted = cluster.accepts_requests || member.assessment.circuit != Circuit::Closed;
            let admission = self.admission(now_ms, member, model);
            is_wanted && admission != Admission::Refused && !(may_be_draining && member.spec.is_draining)
        };
        let members: Vec<_> = self.view.endpoints.iter().filter(takes_requests).cloned().collect();
        if members.is_empty() || !self.batcher.has_room() {
            return;
        }
        let rng = &mut cluster.queue.rng;
        let chain = prompts::chain(
            rng.random_range(1..4),
            rng.random_range(0..3) * 12,
            rng.random_range(0..6),
            rng.random_range(1..48),
        );
        let mut lookup = replica.pool_state().index_writer().index().lookup(&chain);
        self.overlay.extend(&chain, &mut lookup);
        let best = lookup
            .matches
            .first()
            .filter(|_| rng.random())
            .and_then(|best| members.iter().find(|member| member.key == best.endpoint));
        let member = best.unwrap_or_else(|| &members[rng.random_range(0..members.len())]);
        let held = lookup.matches.iter().find(|of| of.endpoint == member.key).map_or(0, |of| of.blocks);
        let first_output_ms = rng.random_range(1..200);
        let end_ms = first_output_ms + *[10, 300, 4_000].get(rng.random_range(0..3)).unwrap_or(&10);
        let (endpoint, incarnation) = (member.key, member.observed.incarnation);
        cluster.checker.check_booking(&mut cluster.counters, self.node, replica.pool_state(), endpoint);
        let booking = self.bookings.reserve(endpoint, chain.len() as u64 * 64);
        let placed = PlacedPrompt { endpoint, incarnation, chain, known: lookup.longest, held };
        self.overlay.place(&placed);
        self.placements.push(placed.clone());
        self.batcher.add_placement(now_ms, placed);
        self.requests_started += 1;
        let number = self.requests_started;
        self.requests.insert(number, OpenRequest { endpoint, incarnation, booking });
        cluster.pods.add_running(endpoint, 1);
        cluster.counters.increment(Counter::Request);
        cluster.set_timer(self.node, first_output_ms, Timer::FirstOutput(number));
        cluster.set_timer(self.node, end_ms, Timer::RequestEnd(number));
        if self.admission(now_ms, member, model) == Admission::Probe {
            self.probe(cluster, member, model);
        }
    }

    /// Ends the prefill of a request, and reports its outcome and usage.
    pub(super) fn record_first_output(&mut self, cluster: &mut Cluster, number: u64) {
        let now_ms = cluster.now_ms(self.node);
        let Some(request) = self.requests.get_mut(&number) else { return };
        request.booking.record_first_output(now_ms);
        let (endpoint, incarnation, model) =
            (request.endpoint, request.incarnation, ModelKey(number % MODELS));
        let outcome = self.outcome_of(cluster, endpoint);
        if outcome != ResponseOutcome::Refused {
            cluster.checker.record_outcome(endpoint);
        }
        if self.batcher.has_room_for_events() {
            self.batcher.add_response(ResponseReport { endpoint, model, outcome });
        }
        if outcome == ResponseOutcome::FirstOutput && self.batcher.has_room_for_events() {
            let usage = UsageReport {
                predicted_tokens: 1_000,
                prompt_tokens: Some(1_000),
                cached_tokens: Some(0),
                sole_prefill_us: Some(80_000),
                ..UsageReport::new(endpoint, incarnation, model)
            };
            self.batcher.add_usage(usage);
        }
        if !cluster.accepts_requests {
            self.end_request(cluster, number);
        }
    }

    pub(super) fn end_request(&mut self, cluster: &mut Cluster, number: u64) {
        if let Some(OpenRequest { endpoint, booking, .. }) = self.requests.remove(&number) {
            cluster.pods.add_running(endpoint, -1);
            drop(booking);
        }
    }

    /// Ends all requests, because their clients or this process are gone.
    pub(crate) fn end_all_requests(&mut self, cluster: &mut Cluster) {
        let numbers: Vec<u64> = self.requests.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.end_request(cluster, number));
        self.schedule_flush(cluster);
    }
}
