//! Configuration of conversations.

use std::sync::Arc;

use signalbox_intake::Parsers;
use signalbox_types::{Format, MediaWeights, Models, ServedModels};

use crate::body::budget::BodyBudget;

/// How to treat the endpoints that a gateway allows for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubsetHint {
    /// The request goes to one of them or is refused.
    #[default]
    Honored,
    /// The request may go to any endpoint.
    Ignored,
}

/// Configuration that all conversations of a server share when they start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Maximum length of a request body in bytes.
    pub body_limit_bytes: usize,
    /// Limit of the request bodies that all conversations buffer together.
    pub body_budget: BodyBudget,
    /// Size of a hashed block of the prompt in bytes.
    pub block_bytes: u32,
    /// Weights of media in prompts, in tokens.
    pub media_weights: MediaWeights,
    /// Names of the request headers that the policy reads; see [`signalbox_types::Request::headers`].
    pub decision_headers: Arc<[String]>,
    /// Name of the header in which clients send session tokens back. It does not identify a session.
    pub session_token_header: Option<Arc<str>>,
    /// The parsers that determine which APIs are accepted.
    pub parsers: Arc<Parsers>,
    /// How to treat the endpoints that a gateway allows.
    pub subset_hint: SubsetHint,
    /// The objectives and model rewrites of the pool.
    pub models: Arc<Models>,
    /// The models that the endpoints of the pool are known to serve.
    pub served_models: ServedModels,
    /// Seconds after which a client should retry a request that was refused for lack of capacity.
    pub retry_after_s: u32,
}

impl Default for Config {
    /// Returns a configuration with bodies of up to 64 MiB, an unlimited budget, the block size of the
    /// default [`Format`], and retries after one second.
    fn default() -> Self {
        Self {
            body_limit_bytes: 64 << 20,
            body_budget: BodyBudget::default(),
            block_bytes: Format::default().block_bytes,
            media_weights: MediaWeights::default(),
            decision_headers: Arc::default(),
            session_token_header: None,
            parsers: Arc::default(),
            subset_hint: SubsetHint::default(),
            models: Arc::default(),
            served_models: ServedModels::default(),
            retry_after_s: 1,
        }
    }
}
