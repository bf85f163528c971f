//! Keeps one subscription open to every aggregator, and reopens those that break.

use std::collections::BTreeMap;

use rand::Rng;

use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::cluster::message::StreamKind;
use crate::plan::Node;

/// The subscriptions of a process to all other aggregators.
#[derive(Debug)]
pub(crate) struct AggregatorStreams {
    node: Node,
    /// The stream to each aggregator, and whether it is open.
    streams: BTreeMap<usize, (u64, bool)>,
}

impl AggregatorStreams {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, streams: BTreeMap::new() }
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
        match cluster.open(StreamKind::Subscribe, self.node, Node::Aggregator(at)) {
            Some(stream) => drop(self.streams.insert(at, (stream, false))),
            None => self.reconnect_later(cluster, at),
        }
    }

    fn reconnect_later(&self, cluster: &mut Cluster, at: usize) {
        let after_ms = cluster.queue.rng.random_range(25..600);
        cluster.set_timer(self.node, after_ms, Timer::Connect(at));
    }

    /// Marks a stream as open.
    pub(crate) fn mark_open(&mut self, stream: u64) {
        self.streams.values_mut().filter(|(id, _)| *id == stream).for_each(|(_, is_open)| *is_open = true);
    }

    /// Removes a closed stream, schedules a new attempt, and returns whether the stream was open.
    pub(crate) fn remove(&mut self, cluster: &mut Cluster, stream: u64) -> bool {
        let Some(at) = self.aggregator_of(stream) else { return false };
        let was_open = self.streams.remove(&at).is_some_and(|(_, is_open)| is_open);
        self.reconnect_later(cluster, at);
        was_open
    }

    /// Returns the aggregator at the other end of a stream.
    pub(crate) fn aggregator_of(&self, stream: u64) -> Option<usize> {
        self.streams.iter().find(|(_, (id, _))| *id == stream).map(|(at, _)| *at)
    }

    /// Returns whether no stream is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.values().all(|(_, is_open)| !is_open)
    }
}
