//! The processes of a pool: each one wraps a pure core of `signalbox-state` in simulated timers and streams.

pub(crate) mod aggregator;
mod aggregator_streams;
pub(crate) mod collector;
pub(crate) mod replica;

use crate::processes::aggregator::Aggregator;
use crate::processes::collector::Collector;
use crate::processes::replica::Replica;

/// A running process.
#[derive(Debug)]
pub(crate) enum Process {
    Aggregator(Box<Aggregator>),
    Replica(Box<Replica>),
    Collector(Collector),
}
