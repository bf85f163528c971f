//! Keeps one subscription open to every aggregator, and reopens those that break.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use signalbox_actors::StreamBackoff;

use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::cluster::message::StreamKind;
use crate::plan::Node;

/// A stream to an aggregator.
#[derive(Debug)]
struct Subscription {
    stream: u64,
    is_open: bool,
    /// When the attempt to open it began, in milliseconds.
    started_ms: u64,
    /// Whether a message has arrived on it.
    has_delivered: bool,
}

/// The subscriptions of a process to all other aggregators.
#[derive(Debug)]
pub(crate) struct AggregatorStreams {
    node: Node,
    streams: BTreeMap<usize, Subscription>,
    backoffs: BTreeMap<usize, StreamBackoff>,
}

impl AggregatorStreams {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, streams: BTreeMap::new(), backoffs: BTreeMap::new() }
    }

    /// Schedules the first attempt to connect to each aggregator.
    pub(crate) fn start(&self, cluster: &mut Cluster) {
        for at in (0..cluster.plan.aggregators).filter(|at| Node::Aggregator(*at) != self.node) {
            cluster.set_timer(self.node, 0, Timer::Connect(at));
        }
    }

    /// Tries to open the stream to an aggregator, unless there is one.
    pub(crate) fn connect(&mut self, cluster: &mut Cluster, at: usize) {
        if self.streams.contains_key(&at) {
            return;
        }
        let started_ms = cluster.now_ms(self.node);
        match cluster.open(StreamKind::Subscribe, self.node, Node::Aggregator(at)) {
            Some(stream) => {
                let subscription = Subscription { stream, is_open: false, started_ms, has_delivered: false };
                self.streams.insert(at, subscription);
            }
            None => self.reconnect_later(cluster, at, Duration::ZERO),
        }
    }

    fn reconnect_later(&mut self, cluster: &mut Cluster, at: usize, served_for: Duration) {
        let jitter = cluster.queue.rng.random();
        let delay = self.backoffs.entry(at).or_default().delay(served_for, jitter);
        cluster.set_timer(self.node, delay.as_millis() as u64, Timer::Connect(at));
    }

    fn of(&mut self, stream: u64) -> Option<&mut Subscription> {
        self.streams.values_mut().find(|subscription| subscription.stream == stream)
    }

    /// Marks a stream as open.
    pub(crate) fn mark_open(&mut self, stream: u64) {
        self.of(stream).into_iter().for_each(|subscription| subscription.is_open = true);
    }

    /// Records that a message has arrived on a stream.
    pub(crate) fn record_message(&mut self, stream: u64) {
        self.of(stream).into_iter().for_each(|subscription| subscription.has_delivered = true);
    }

    /// Removes a closed stream, schedules a new attempt, and returns whether the stream was open.
    pub(crate) fn remove(&mut self, cluster: &mut Cluster, stream: u64) -> bool {
        let Some(at) = self.aggregator_of(stream) else { return false };
        let Some(removed) = self.streams.remove(&at) else { return false };
        let lasted_ms = cluster.now_ms(self.node).saturating_sub(removed.started_ms);
        let served_ms = if removed.has_delivered { lasted_ms } else { 0 };
        self.reconnect_later(cluster, at, Duration::from_millis(served_ms));
        removed.is_open
    }

    /// Returns the aggregator at the other end of a stream.
    pub(crate) fn aggregator_of(&self, stream: u64) -> Option<usize> {
        self.streams.iter().find(|(_, subscription)| subscription.stream == stream).map(|(at, _)| *at)
    }

    /// Returns whether no stream is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.values().all(|subscription| !subscription.is_open)
    }
}
