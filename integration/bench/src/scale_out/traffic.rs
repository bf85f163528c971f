//! The requests in flight: from their arrival at a replica to their end.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_types::{EndpointKey, Incarnation};

use super::prompts::{Conversations, Turn};
use super::sending_replica::{BookedRequest, SendingReplica};
use super::servers::Servers;
use super::shape::{START_MS, STEP_MS, Shape};
use super::stopwatch::Stopwatch;

/// Time from a request to its first output, and to its end, in milliseconds.
const FIRST_OUTPUT_MS: u64 = 100;
const DURATION_MS: u64 = 2_000;

/// All requests in flight.
pub(super) struct Traffic {
    requests_per_second: u64,
    endpoints: Arc<[EndpointKey]>,
    /// The incarnation of each endpoint, as the pool knows it: it drops placements at any other.
    pub(super) incarnations: Arc<[Incarnation]>,
    conversations: Conversations,
    pub(super) replicas: Vec<SendingReplica>,
    pub(super) servers: Servers,
    /// In the order of their arrival.
    in_flight: VecDeque<InFlight>,
    /// Number of leading requests in flight that have their first output.
    with_output: usize,
    requests: u64,
    rng: SmallRng,
    /// Work of all replicas for bookings.
    pub(super) booking: Stopwatch,
}

struct InFlight {
    replica: usize,
    position: usize,
    blocks: usize,
    arrived_ms: u64,
    request: BookedRequest,
}

impl Traffic {
    pub(super) fn new(shape: Shape, endpoints: Arc<[EndpointKey]>, conversations: Conversations) -> Self {
        let replicas = 0..shape.replicas as u64;
        Self {
            requests_per_second: shape.requests_per_second as u64,
            conversations,
            replicas: replicas.map(|number| SendingReplica::new(number, &endpoints)).collect(),
            servers: Servers::new(endpoints.len()),
            in_flight: VecDeque::new(),
            with_output: 0,
            requests: 0,
            rng: SmallRng::seed_from_u64(2),
            endpoints,
            incarnations: Arc::default(),
            booking: Stopwatch::default(),
        }
    }

    /// Ends requests, lets them produce output, and sends new ones, until `now_ms`.
    pub(super) fn advance(&mut self, now_ms: u64) {
        let due = self.requests_per_second * (now_ms + STEP_MS - START_MS) / 1_000;
        let turns: Vec<_> = (self.requests..due).map(|_| self.conversations.next_turn()).collect();
        self.requests = due;
        let mut booking = self.booking;
        booking.time(|| {
            self.end_requests(now_ms);
            self.record_first_outputs(now_ms);
            turns.into_iter().for_each(|turn| self.send(now_ms, turn));
        });
        self.booking = booking;
    }

    fn send(&mut self, now_ms: u64, turn: Turn) {
        let (position, blocks) = (turn.position, turn.chain.len());
        let replica = self.rng.random_range(0..self.replicas.len());
        let is_sole = self.servers.receive(position, blocks);
        let served = (self.endpoints[position], self.incarnations[position]);
        let request = self.replicas[replica].send(now_ms, served, turn, is_sole);
        self.in_flight.push_back(InFlight { replica, position, blocks, arrived_ms: now_ms, request });
    }

    fn record_first_outputs(&mut self, now_ms: u64) {
        let waiting = self.in_flight.iter_mut().skip(self.with_output);
        for waiting in waiting.take_while(|waiting| waiting.arrived_ms + FIRST_OUTPUT_MS <= now_ms) {
            self.replicas[waiting.replica].record_first_output(now_ms, &mut waiting.request);
            self.servers.begin_output(waiting.position);
            self.with_output += 1;
        }
    }

    fn end_requests(&mut self, now_ms: u64) {
        let is_done = |request: &InFlight| request.arrived_ms + DURATION_MS <= now_ms;
        while self.in_flight.front().is_some_and(is_done)
            && let Some(ended) = self.in_flight.pop_front()
        {
            self.replicas[ended.replica].record_end(ended.request);
            self.servers.end(ended.position, ended.blocks);
            self.with_output -= 1;
        }
    }
}
