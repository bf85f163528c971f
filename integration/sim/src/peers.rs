//! Streams to all aggregators, each opened again when it breaks.

use std::collections::BTreeMap;

use rand::Rng;

use crate::network::Kind;
use crate::plan::Node;
use crate::queue::Timer;
use crate::site::Site;

/// Streams to all aggregators but oneself.
#[derive(Debug)]
pub(crate) struct Peers {
    node: Node,
    /// The stream to each aggregator, and whether it is open.
    streams: BTreeMap<usize, (u64, bool)>,
}

impl Peers {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, streams: BTreeMap::new() }
    }

    /// Begins to open streams.
    pub(crate) fn start(&self, site: &mut Site) {
        for at in (0..site.plan.aggregators).filter(|at| Node::Aggregator(*at) != self.node) {
            site.timer(self.node, 0, Timer::Connect(at));
        }
    }

    /// Tries to open the stream to an aggregator, unless it is open.
    pub(crate) fn connect(&mut self, site: &mut Site, at: usize) {
        if self.streams.contains_key(&at) {
            return;
        }
        match site.open(Kind::Subscribe, self.node, Node::Aggregator(at)) {
            Some(stream) => drop(self.streams.insert(at, (stream, false))),
            None => self.again(site, at),
        }
    }

    fn again(&self, site: &mut Site, at: usize) {
        let after_ms = site.queue.dice.random_range(25..600);
        site.timer(self.node, after_ms, Timer::Connect(at));
    }

    pub(crate) fn opened(&mut self, stream: u64) {
        self.streams.values_mut().filter(|(id, _)| *id == stream).for_each(|(_, is_open)| *is_open = true);
    }

    /// A stream is over; it is opened again by and by. Says whether it was open.
    pub(crate) fn closed(&mut self, site: &mut Site, stream: u64) -> bool {
        let Some(at) = self.streams.iter().find(|(_, (id, _))| *id == stream).map(|(at, _)| *at) else {
            return false;
        };
        let was_open = self.streams.remove(&at).is_some_and(|(_, is_open)| is_open);
        self.again(site, at);
        was_open
    }

    /// The aggregator at the other end of a stream.
    pub(crate) fn at(&self, stream: u64) -> Option<usize> {
        self.streams.iter().find(|(_, (id, _))| *id == stream).map(|(at, _)| *at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.streams.values().all(|(_, is_open)| !is_open)
    }
}
