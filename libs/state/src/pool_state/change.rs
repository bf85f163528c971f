//! The changes that modify the state of a pool.

use std::sync::Arc;

use signalbox_signal::Signal;
use signalbox_types::{
    BlockHash, EndpointKey, EndpointSpec, Load, ModelKey, Models, Origin, ResponseKey, TokenRatio,
};

use super::adapter_residency::AdapterResidency;
use super::assessment::Assessment;
use super::cache_accuracy::CacheAccuracy;
use super::flow_table::FlowChange;
use super::observed::Observed;

/// One change that the pool's owner accepted. A change contains everything that a follower needs to apply it.
/// Applied in the order of their versions, changes give every follower exactly the owner's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An endpoint was added, or its labels, engine or metrics URL changed.
    EndpointSet {
        /// The specification of the endpoint.
        spec: Arc<EndpointSpec>,
    },
    /// An endpoint was removed, with everything that was known of it.
    EndpointRemoved {
        /// The removed endpoint.
        endpoint: EndpointKey,
    },
    /// The pool's objectives or model rewrites changed.
    ModelsSet {
        /// All objectives and model rewrites from now on.
        models: Arc<Models>,
    },
    /// Measured values of an endpoint changed. A new incarnation has none of the blocks of the one before.
    Observed {
        /// The measured endpoint.
        endpoint: EndpointKey,
        /// All measured values from now on.
        observed: Observed,
    },
    /// The adapters of an endpoint changed.
    AdaptersChanged {
        /// The endpoint with the adapters.
        endpoint: EndpointKey,
        /// Where its adapters are from now on.
        residency: Arc<AdapterResidency>,
    },
    /// The owner's assessment of an endpoint changed.
    Assessed {
        /// The assessed endpoint.
        endpoint: EndpointKey,
        /// The assessment from now on.
        assessment: Assessment,
    },
    /// The load that one replica put on an endpoint changed.
    LoadChanged {
        /// The endpoint with the load.
        endpoint: EndpointKey,
        /// The replica whose requests these are.
        origin: Origin,
        /// The load from now on.
        load: Load,
    },
    /// An origin expired: it has no load any more, nothing waits at it, and its acknowledgement is forgotten.
    OriginExpired {
        /// The expired origin.
        origin: Origin,
    },
    /// An endpoint was sent a prompt. It holds `anchor`, everything before it, and `suffix`, which follows
    /// it, and used all of these blocks with this change.
    Placed {
        /// The endpoint that was sent the prompt.
        endpoint: EndpointKey,
        /// The last block that the pool knew and that can be an anchor ([`signalbox_prefix::anchor()`]), or
        /// [`BlockHash::ROOT`] if there is none.
        anchor: BlockHash,
        /// The blocks after the anchor, to the end of the prompt.
        suffix: Arc<[BlockHash]>,
    },
    /// Blocks were evicted from an endpoint, because they exceed its capacity or the memory bound of the
    /// index, or because its engine reports that it no longer holds them.
    Evicted {
        /// The endpoint that loses the blocks.
        endpoint: EndpointKey,
        /// The number of the change that last used the blocks. The endpoint holds no block that was last used
        /// earlier.
        last_used_seq: u64,
        /// The number of blocks, counted from the last block with this `last_used_seq` towards the beginning
        /// of its chain.
        blocks: u32,
    },
    /// The state contains an origin's placements up to a number.
    Acknowledged {
        /// The origin of the placements.
        origin: Origin,
        /// The number of the last placement.
        number: u64,
    },
    /// The token ratio of a model was learned, or is forgotten if this is the default.
    TokenRatioLearned {
        /// The model.
        model: ModelKey,
        /// The ratio from now on.
        ratio: TokenRatio,
    },
    /// How well the blocks that an endpoint is believed to hold match its engine's reports.
    CacheAccuracyChanged {
        /// The endpoint.
        endpoint: EndpointKey,
        /// The accuracy from now on.
        accuracy: CacheAccuracy,
    },
    /// An endpoint keeps a response that clients can name again, or the response is forgotten.
    ResponseStored {
        /// The response.
        response: ResponseKey,
        /// The endpoint; `None` if the response is forgotten.
        endpoint: Option<EndpointKey>,
    },
    /// The state became provisional, or final.
    ProvisionalSet {
        /// The epoch in which a provisional state began, or 0; see [`super::PoolState::provisional_since`].
        since: u64,
    },
    /// What waits while the pool is full, or what may go, changed.
    Flow(FlowChange),
    /// The owner assessed how many model servers the pool needs.
    Signalled {
        /// The assessment from now on.
        signal: Arc<Signal>,
    },
}
