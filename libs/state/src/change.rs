//! What can happen to the picture of a pool.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_types::{
    BlockHash, Capacity, EndpointKey, EndpointSpec, Gauges, Incarnation, Load, Models, Origin,
};

use crate::adapter_residency::AdapterResidency;
use crate::assessment::Assessment;
use crate::endpoint_observer::ScrapeStatus;

/// What is measured of an endpoint, as its owner accepted it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The life of the model server that the rest is about.
    pub incarnation: Incarnation,
    /// How well it can be read.
    pub scrape_status: ScrapeStatus,
    /// Since when, in milliseconds of the owner's clock.
    pub scrape_status_since_ms: u64,
    /// Its gauges.
    pub gauges: Gauges,
    /// Requests at the endpoint that no replica has booked.
    pub unbooked_requests: u32,
    /// Its KV cache, where it tells.
    pub capacity: Option<Capacity>,
}

/// One change that the pool's owner accepted. A change says all that a follower needs to make it; applied in the order of
/// their versions, changes give every follower the owner's state, bit for bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An endpoint is new, or its labels, engine or metrics address changed.
    EndpointSet {
        /// What it is.
        spec: Arc<EndpointSpec>,
    },
    /// An endpoint is gone, with all that was known of it.
    EndpointRemoved {
        /// Which.
        endpoint: EndpointKey,
    },
    /// What the pool says of models changed.
    ModelsSet {
        /// All that it says now.
        models: Arc<Models>,
    },
    /// Something measured changed. A new incarnation has none of the blocks of the one before.
    Observed {
        /// Where.
        endpoint: EndpointKey,
        /// What is measured now.
        observed: Observed,
    },
    /// The adapters at an endpoint changed.
    AdaptersChanged {
        /// Where.
        endpoint: EndpointKey,
        /// What it has now.
        residency: Arc<AdapterResidency>,
    },
    /// The owner made up its mind about an endpoint.
    Assessed {
        /// Which.
        endpoint: EndpointKey,
        /// What it makes of it now.
        assessment: Assessment,
    },
    /// A replica's work in flight at an endpoint changed.
    LoadChanged {
        /// Where.
        endpoint: EndpointKey,
        /// Whose work.
        origin: Origin,
        /// What is in flight now.
        load: Load,
    },
    /// A replica was given up; it has no work in flight any more.
    OriginExpired {
        /// Which.
        origin: Origin,
    },
    /// An endpoint was sent a prompt: it holds `anchor`, all before it, and `suffix`, which follows it, and used all of it just now.
    Placed {
        /// Which endpoint.
        endpoint: EndpointKey,
        /// The last block that the pool knew and that can be an anchor ([`signalbox_prefix::anchor()`]), [`BlockHash::ROOT`] for none.
        anchor: BlockHash,
        /// The blocks after it, to the end of the prompt.
        suffix: Arc<[BlockHash]>,
    },
    /// An endpoint has no room for these blocks any more.
    Evicted {
        /// Which endpoint.
        endpoint: EndpointKey,
        /// When they were used last: the number of the change that placed them. Nothing that the endpoint holds was used earlier.
        used: u64,
        /// How many, from the last block that was used then and not since towards the beginning of its chain.
        blocks: u32,
    },
    /// A replica's placements up to a number are part of the picture.
    Acknowledged {
        /// Whose.
        origin: Origin,
        /// Up to which.
        number: u64,
    },
}
