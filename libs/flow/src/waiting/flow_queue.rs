//! The requests of one flow that wait at one replica.

use std::collections::BTreeSet;

use super::ticket::Ticket;
use crate::backlog::Usage;

/// The requests of one flow that wait at one replica.
#[derive(Clone, Debug)]
pub(super) struct FlowQueue {
    /// By the time that the flow's ordering gives them; at equal times in order of arrival.
    order: BTreeSet<(u64, Ticket)>,
    /// By arrival.
    arrivals: BTreeSet<(u64, Ticket)>,
    pub(super) usage: Usage,
    /// Up to which number grants were used.
    pub(super) released: u64,
}

/// A place in a flow's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ticket: Ticket,
    /// The time by which it is ordered.
    pub(super) key_ms: u64,
    pub(super) arrived_ms: u64,
    pub(super) bytes: u64,
    pub(super) tokens: u64,
}

impl FlowQueue {
    /// Returns an empty queue that treats grants up to `released` as used.
    pub(super) fn new(released: u64) -> Self {
        Self { order: BTreeSet::new(), arrivals: BTreeSet::new(), usage: Usage::default(), released }
    }

    pub(super) fn insert(&mut self, place: Place) {
        self.order.insert((place.key_ms, place.ticket));
        self.arrivals.insert((place.arrived_ms, place.ticket));
        self.usage += Usage { requests: 1, bytes: place.bytes, tokens: place.tokens };
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.order.remove(&(place.key_ms, place.ticket));
        self.arrivals.remove(&(place.arrived_ms, place.ticket));
        self.usage.requests -= 1;
        self.usage.bytes -= place.bytes;
        self.usage.tokens -= place.tokens;
    }

    /// Returns the request that goes next.
    pub(super) fn first(&self) -> Option<Ticket> {
        self.order.first().map(|(_, ticket)| *ticket)
    }

    /// Returns when the request arrived that has waited the longest.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.arrivals.first().map(|(arrived_ms, _)| *arrived_ms)
    }
}
