//! What a replica reports to the pool's owner about its own decisions.

use std::sync::Arc;

use signalbox_flow::{Backlog, FlowKey, FlowSettings, Revocable, RevocableClass};
use signalbox_signal::ArrivalCounts;
use signalbox_types::{BlockHash, EndpointKey, Incarnation, Load, ModelKey, Origin, ResponseKey};

/// Which gauges a batch contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeScope {
    /// All gauges of the replica: absent ones are zero. The first batch of a stream contains all.
    All,
    /// The gauges that changed.
    Changed,
}

/// A batch of feedback. Gauges are state: the next batch repairs loss, repetition and reordering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The highest epoch that the replica knows.
    pub epoch: u64,
    /// The origin that sends the batch.
    pub origin: Origin,
    /// The number of the batch; it increases with every batch of an origin.
    pub seq: u64,
    /// Which gauges the batch contains.
    pub scope: GaugeScope,
    /// The load per endpoint.
    pub gauges: Vec<(EndpointKey, Load)>,
    /// The prompts sent to endpoints.
    pub placements: Vec<Placement>,
    /// The LoRA adapters for which requests were sent to endpoints.
    pub adapters: Vec<(EndpointKey, Arc<str>)>,
    /// The outcomes of responses. They are sent once; lost ones are not repeated.
    pub responses: Vec<ResponseReport>,
    /// The usage that engines reported. Each is sent once; losing one is harmless.
    pub usage: Vec<UsageReport>,
    /// What waits at the replica.
    pub flows: FlowReport,
    /// What has arrived since the replica started; `None` if it is of a release that does not count.
    pub arrivals: Option<ArrivalCounts>,
}

/// What waits at a replica while the pool is full, and what can be revoked for it, as a part of the replica's feedback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowReport {
    /// What waits of each flow; of absent ones nothing, or what did before, as the batch's [`GaugeScope`] says.
    pub backlogs: Vec<(FlowKey, Backlog)>,
    /// What can be revoked of each class; of absent ones nothing, or what could before, as the batch's [`GaugeScope`] says.
    pub revocable: Vec<(RevocableClass, Revocable)>,
    /// The settings of the replica, in a batch with all gauges. The last ones that any replica newly reports hold for the pool.
    pub settings: Option<Arc<FlowSettings>>,
}

impl FlowReport {
    /// Returns whether it says nothing in a batch with the gauges that changed.
    pub fn is_empty(&self) -> bool {
        self.backlogs.is_empty() && self.revocable.is_empty() && self.settings.is_none()
    }
}

impl Feedback {
    /// The maximum number of placements in one batch.
    pub const MAX_PLACEMENTS: usize = 1_024;

    /// The maximum number of blocks of all placements in one batch: 1 MiB.
    pub const MAX_BLOCKS: usize = 2 * Placement::MAX_BLOCKS;

    /// Returns a batch that knows no epoch and reports nothing.
    pub fn new(origin: Origin, seq: u64, scope: GaugeScope) -> Self {
        Self {
            epoch: 0,
            origin,
            seq,
            scope,
            gauges: Vec::new(),
            placements: Vec::new(),
            adapters: Vec::new(),
            responses: Vec::new(),
            usage: Vec::new(),
            flows: FlowReport::default(),
            arrivals: None,
        }
    }
}

/// The usage of one response next to what the replica predicted. It is sent at the end of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageReport {
    /// The endpoint that served the request.
    pub endpoint: EndpointKey,
    /// The incarnation that the request was sent to.
    pub incarnation: Incarnation,
    /// The model that served the request.
    pub model: ModelKey,
    /// The prompt's text in bytes, as hashed.
    pub text_bytes: u64,
    /// The prompt's tokens that need no estimate from text: token ids.
    pub token_ids: u64,
    /// The estimated tokens of the prompt's media, before any learned correction.
    pub media_tokens: u64,
    /// Predicted prompt tokens.
    pub predicted_tokens: u64,
    /// Predicted cached tokens among them.
    pub predicted_cached_tokens: u64,
    /// Prompt tokens that the engine reported.
    pub prompt_tokens: Option<u64>,
    /// Cached tokens that the engine reported.
    pub cached_tokens: Option<u64>,
    /// Output tokens that the engine reported.
    pub output_tokens: Option<u64>,
    /// The last block of the prompt, which names its placement; [`BlockHash::ROOT`] if the prompt was not placed or
    /// another endpoint served it.
    pub last_block: BlockHash,
    /// The number of leading blocks that the endpoint was believed to hold.
    pub held_blocks: u32,
    /// The number of leading blocks that the reported cached tokens cover; `None` if none were reported.
    pub cached_blocks: Option<u32>,
    /// Time from the decision to the first output in microseconds, if the endpoint had no other prompt to process.
    pub sole_prefill_us: Option<u64>,
}

impl UsageReport {
    /// Returns a report of a request without a prompt, of which the engine reported nothing.
    pub fn new(endpoint: EndpointKey, incarnation: Incarnation, model: ModelKey) -> Self {
        Self {
            endpoint,
            incarnation,
            model,
            text_bytes: 0,
            token_ids: 0,
            media_tokens: 0,
            predicted_tokens: 0,
            predicted_cached_tokens: 0,
            prompt_tokens: None,
            cached_tokens: None,
            output_tokens: None,
            last_block: BlockHash::ROOT,
            held_blocks: 0,
            cached_blocks: None,
            sole_prefill_us: None,
        }
    }
}

/// The outcome of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseReport {
    /// The endpoint that the request was sent to.
    pub endpoint: EndpointKey,
    /// The model that was requested there.
    pub model: ModelKey,
    /// The outcome.
    pub outcome: ResponseOutcome,
}

/// How an endpoint responded to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseOutcome {
    /// The endpoint did not respond, or responded with an error that the request did not cause.
    Failed,
    /// The endpoint does not serve requests for this model, now or at all.
    Refused,
    /// The first output of a successful response arrived.
    FirstOutput,
    /// The request was sent to an endpoint whose circuit for the model is half open. It is no outcome yet.
    ProbeSent,
    /// The endpoint keeps this response for clients that name it again. It is no outcome, but comes beside one.
    Stored(ResponseKey),
    /// The endpoint has deleted this response. It is no outcome, but comes beside one.
    Deleted(ResponseKey),
}

/// A prompt that was sent to an endpoint, without the part that the pool already knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The number of the placement; it increases with every placement of an origin.
    pub number: u64,
    /// The endpoint that was sent the prompt.
    pub endpoint: EndpointKey,
    /// The incarnation of the model server that was sent the prompt.
    pub incarnation: Incarnation,
    /// The last block that the pool knew and that can be an anchor ([`signalbox_prefix::anchor()`]), or
    /// [`BlockHash::ROOT`] if there is none. The endpoint also holds the blocks before it.
    pub anchor: BlockHash,
    /// The blocks after the anchor. It contains no new block when the pool knew the whole prompt, whose
    /// blocks then only count as used.
    pub suffix: Arc<[BlockHash]>,
}

impl Placement {
    /// The maximum number of blocks in a suffix: 16 MiB of text at 64 tokens per block. What comes after them counts
    /// as not placed.
    pub const MAX_BLOCKS: usize = 65_536;
}
