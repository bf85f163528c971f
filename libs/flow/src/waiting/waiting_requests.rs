//! The requests that wait at one replica for a place at an endpoint.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::flow_queue::{FlowQueue, Place};
use super::ticket::Ticket;
use crate::backlog::{Backlog, Usage};
use crate::drop_reason::DropReason;
use crate::flow_key::FlowKey;
use crate::settings::{Caps, FlowSettings};

/// Whether the pool has endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolPhase {
    /// It has none: requests wait for the first one.
    Empty,
    /// It has some.
    #[default]
    Served,
}

/// A request that has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRequest {
    /// Its flow.
    pub flow: FlowKey,
    /// Uncached prompt tokens and expected output tokens.
    pub tokens: u64,
    /// Bytes of the body that is kept for it.
    pub bytes: u64,
    /// When it arrived, in milliseconds.
    pub arrived_ms: u64,
    /// The client's goal for the time to the first token, in milliseconds.
    pub ttft_goal_ms: Option<u32>,
}

impl Default for WaitingRequest {
    fn default() -> Self {
        let flow = FlowKey { priority: 0, id: "".into() };
        Self { flow, tokens: 0, bytes: 0, arrived_ms: 0, ttft_goal_ms: None }
    }
}

/// A request that leaves the queue without an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The request.
    pub ticket: Ticket,
    /// Why.
    pub reason: DropReason,
}

/// A request in a queue.
#[derive(Clone, Debug)]
struct Queued {
    flow: FlowKey,
    place: Place,
}

/// The requests that wait at one replica. Each leaves exactly once: granted, dropped or cancelled.
#[derive(Clone, Debug, Default)]
pub struct WaitingRequests {
    flows: BTreeMap<FlowKey, FlowQueue>,
    requests: HashMap<Ticket, Queued>,
    /// Sheddable requests and all others by arrival. All in a set may wait equally long.
    sheddable: BTreeSet<(u64, Ticket)>,
    regular: BTreeSet<(u64, Ticket)>,
    bands: BTreeMap<i32, Usage>,
    total: Usage,
    phase: PoolPhase,
    phase_since_ms: u64,
    /// How many requests have ever waited. No grant that refers to an earlier queue of a flow has a higher number.
    enqueued: u64,
}

impl WaitingRequests {
    /// Adds a request, if the limits leave room for it. `elsewhere` is what waits at other replicas, in the request's band
    /// and in all.
    ///
    /// While [`FlowKey::MAX_FLOWS`] flows are known, a request of another one waits in the flow [`FlowKey::OTHER`] of its band.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub fn enqueue(
        &mut self,
        settings: &FlowSettings,
        request: WaitingRequest,
        elsewhere: (Usage, Usage),
    ) -> Result<Ticket, DropReason> {
        let priority = request.flow.priority;
        let more = Usage { requests: 1, bytes: request.bytes, tokens: request.tokens };
        self.check(settings, &request.flow, more, elsewhere)?;
        self.enqueued += 1;
        let ticket = Ticket(self.enqueued);
        let WaitingRequest { flow, tokens, bytes, arrived_ms, ttft_goal_ms } = request;
        let is_one_too_many = self.flows.len() >= FlowKey::MAX_FLOWS && !self.flows.contains_key(&flow);
        let flow = if is_one_too_many { flow.other() } else { flow };
        let key_ms = settings.band(priority).ordering.key_ms(arrived_ms, ttft_goal_ms);
        let place = Place { ticket, key_ms, arrived_ms, bytes, tokens };
        // A new queue starts with a number that no grant for an earlier queue of the flow has reached.
        let used = self.enqueued - 1;
        self.flows.entry(flow.clone()).or_insert_with(|| FlowQueue::new(used)).insert(place);
        *self.bands.entry(priority).or_default() += more;
        self.total += more;
        self.by_arrival(&flow).insert((arrived_ms, ticket));
        self.requests.insert(ticket, Queued { flow, place });
        Ok(ticket)
    }

    /// Checks whether a request of `flow` that is worth `more` may wait. `elsewhere` is what waits at other replicas, in the
    /// request's band and in all.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub fn check(
        &self,
        settings: &FlowSettings,
        flow: &FlowKey,
        more: Usage,
        elsewhere: (Usage, Usage),
    ) -> Result<(), DropReason> {
        if self.phase == PoolPhase::Served && flow.is_sheddable() && settings.sheddable_wait_ms == 0 {
            return Err(DropReason::Saturated);
        }
        let in_band = self.bands.get(&flow.priority).copied().unwrap_or_default() + elsewhere.0 + more;
        let in_all = self.total + elsewhere.1 + more;
        if exceeds(in_band, settings.band(flow.priority).caps) || exceeds(in_all, settings.caps) {
            return Err(match self.phase {
                PoolPhase::Empty => DropReason::NoEndpoints,
                PoolPhase::Served => DropReason::Saturated,
            });
        }
        Ok(())
    }

    /// Returns the flow in which a request waits; `None` if it does not wait.
    pub fn flow(&self, ticket: Ticket) -> Option<&FlowKey> {
        self.requests.get(&ticket).map(|queued| &queued.flow)
    }

    /// Removes a request whose client has gone. Returns whether it waited.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.remove(ticket)
    }

    /// Lets requests of a flow go until `up_to` have gone in all, and returns them in order. What is granted beyond those that
    /// wait lapses: it was meant for requests that have left meanwhile.
    pub fn grant(&mut self, flow: &FlowKey, up_to: u64) -> Vec<Ticket> {
        let Some(queue) = self.flows.get_mut(flow) else { return Vec::new() };
        let count = up_to.saturating_sub(queue.released).min(queue.usage.requests);
        queue.released = queue.released.max(up_to);
        let mut released = Vec::new();
        for _ in 0..count {
            let Some(ticket) = self.flows.get(flow).and_then(FlowQueue::first) else { break };
            self.remove(ticket);
            released.push(ticket);
        }
        released
    }

    /// Records whether the pool has endpoints. The time to wait starts anew with each change, but a request waits for no
    /// longer in all than for an endpoint and a place together.
    pub fn set_phase(&mut self, now_ms: u64, phase: PoolPhase) {
        if self.phase != phase {
            (self.phase, self.phase_since_ms) = (phase, now_ms);
        }
    }

    /// Drops the requests that have waited for as long as they may.
    pub fn expire(&mut self, settings: &FlowSettings, now_ms: u64) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        for (served_ms, is_sheddable) in
            [(Some(settings.sheddable_wait_ms), true), (settings.request_ttl_ms, false)]
        {
            let empty_ms = settings.no_endpoint_ttl_ms;
            let (ttl_ms, reason) = match self.phase {
                PoolPhase::Served => (served_ms, DropReason::Expired),
                PoolPhase::Empty => (empty_ms, DropReason::NoEndpoints),
            };
            let whole_ms =
                served_ms.zip(empty_ms).map(|(served_ms, empty_ms)| served_ms.saturating_add(empty_ms));
            let is_over = |since_ms: u64, ttl_ms: Option<u64>| {
                ttl_ms.is_some_and(|ttl_ms| now_ms.saturating_sub(since_ms) >= ttl_ms)
            };
            while let Some((arrived_ms, ticket)) = self.oldest(is_sheddable)
                && (is_over(arrived_ms.max(self.phase_since_ms), ttl_ms) || is_over(arrived_ms, whole_ms))
            {
                self.remove(ticket);
                dropped.push(Dropped { ticket, reason });
            }
        }
        dropped
    }

    /// Removes all requests, because the replica shuts down.
    pub fn drain(&mut self) -> Vec<Dropped> {
        let tickets: BTreeSet<_> = self.requests.keys().copied().collect();
        let dropped = |ticket| {
            self.remove(ticket);
            Dropped { ticket, reason: DropReason::ShuttingDown }
        };
        tickets.into_iter().map(dropped).collect()
    }

    /// Returns what waits of each flow. Flows of which nothing waits are listed until [`Self::forget_empty`] is called.
    pub fn backlogs(&self, now_ms: u64) -> impl Iterator<Item = (&FlowKey, Backlog)> {
        self.flows.iter().map(move |(flow, queue)| {
            let oldest_wait_ms = queue.oldest_ms().map_or(0, |at_ms| now_ms.saturating_sub(at_ms));
            (flow, Backlog { usage: queue.usage, oldest_wait_ms, released: queue.released })
        })
    }

    /// Forgets flows of which nothing waits, once their last backlog was reported.
    pub fn forget_empty(&mut self) {
        self.forget_empty_unless(|_| false);
    }

    /// Like [`Self::forget_empty`], but does not forget what `is_kept` says.
    pub fn forget_empty_unless(&mut self, is_kept: impl Fn(&FlowKey) -> bool) {
        self.flows.retain(|flow, queue| queue.usage.requests > 0 || is_kept(flow));
        self.bands.retain(|_, usage| usage.requests > 0);
    }

    /// Returns the highest priority of which requests wait; `None` if none waits.
    pub fn highest_waiting(&self) -> Option<i32> {
        let mut bands = self.bands.iter().rev();
        bands.find(|(_, usage)| usage.requests > 0).map(|(priority, _)| *priority)
    }

    /// Returns what waits of `priority` and of higher ones.
    pub fn waiting_from(&self, priority: i32) -> Usage {
        self.bands.range(priority..).fold(Usage::default(), |sum, (_, usage)| sum + *usage)
    }

    /// Returns all that waits.
    pub fn total(&self) -> Usage {
        self.total
    }

    /// Returns the request that has waited the longest, with the time of its arrival.
    fn oldest(&self, is_sheddable: bool) -> Option<(u64, Ticket)> {
        let by_arrival = if is_sheddable { &self.sheddable } else { &self.regular };
        by_arrival.first().copied()
    }

    fn by_arrival(&mut self, flow: &FlowKey) -> &mut BTreeSet<(u64, Ticket)> {
        if flow.is_sheddable() { &mut self.sheddable } else { &mut self.regular }
    }

    fn remove(&mut self, ticket: Ticket) -> bool {
        let Some(Queued { flow, place }) = self.requests.remove(&ticket) else { return false };
        self.by_arrival(&flow).remove(&(place.arrived_ms, ticket));
        if let Some(queue) = self.flows.get_mut(&flow) {
            queue.remove(place);
        }
        for usage in self.bands.get_mut(&flow.priority).into_iter().chain([&mut self.total]) {
            usage.requests -= 1;
            usage.bytes -= place.bytes;
            usage.tokens -= place.tokens;
        }
        true
    }
}

fn exceeds(usage: Usage, caps: Caps) -> bool {
    usage.requests > caps.requests || usage.bytes > caps.bytes || usage.tokens > caps.tokens
}
