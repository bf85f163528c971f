//! What a collector reports about one endpoint.

use std::sync::Arc;

use signalbox_types::{Adapters, Capacity, EndpointKey, Gauges, Generation, Incarnation, Work};

use crate::pool_state::ScrapeStatus;

/// What changed at one endpoint. Absent parts are unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// The incarnation of the model server that the values come from; 0 if the server does not report its
    /// start and the collector has not noticed a restart.
    pub incarnation: Incarnation,
    /// How current the values are.
    pub scrape_status: ScrapeStatus,
    /// The gauges that the engine reports.
    pub gauges: Option<Gauges>,
    /// The KV cache capacity.
    pub capacity: Option<Capacity>,
    /// The LoRA adapters that the engine reports.
    pub adapters: Option<Arc<Adapters>>,
    /// The decode speed in the last window. It is an observation, not state: it is sent once.
    pub decode: Option<DecodeObservation>,
    /// What the engine has done since its start; `None` if no page was read. It is sent along with other
    /// values, not by itself.
    pub work: Option<Work>,
    /// Whether the engine is asleep.
    pub is_asleep: Option<bool>,
}

impl Update {
    /// Merges a later update into this one.
    pub fn merge(&mut self, later: Self) {
        let Self { incarnation, scrape_status, gauges, capacity, adapters, decode, work, is_asleep } = later;
        self.incarnation = incarnation;
        self.scrape_status = scrape_status;
        self.gauges = gauges.or(self.gauges);
        self.capacity = capacity.or(self.capacity);
        self.adapters = adapters.or_else(|| self.adapters.take());
        self.decode = decode.or(self.decode);
        self.work = work.or(self.work);
        self.is_asleep = is_asleep.or(self.is_asleep);
    }
}

/// An update on its way to the pool's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The endpoint that the update is about.
    pub endpoint: EndpointKey,
    /// The generation of the assignment under which the endpoint was scraped.
    pub generation: Generation,
    /// The age of the sample when the report was sent, in milliseconds.
    pub age_ms: u64,
    /// What changed.
    pub update: Update,
}

/// How fast an endpoint decoded in a window of its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeObservation {
    /// The mean time between two output tokens, in microseconds.
    pub inter_token_us: u32,
    /// The mean number of running requests, in thousandths.
    pub running_milli: u32,
}
