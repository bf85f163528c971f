//! The prompt of a booked request, which is compared with the usage that the engine reports.

use std::sync::Arc;

use signalbox_intake::Api;
use signalbox_types::{BlockHash, Request};

/// What is kept of a prompt until the engine reports usage.
#[derive(Debug, Default)]
pub(crate) struct BookedPrompt {
    /// API of the request.
    pub(crate) api: Api,
    /// Size and tokens of the prompt; nothing else of the request.
    pub(crate) weight: Request,
    /// Blocks of the prompt; empty if there are none or they cannot be placed.
    pub(crate) chain: Arc<[BlockHash]>,
    /// Size of a block, in bytes.
    pub(crate) block_bytes: u32,
    /// Whether the placement was queued for the pool's owner.
    pub(crate) is_placed: bool,
}

impl BookedPrompt {
    /// Returns what of `request` determines the weight of its prompt.
    pub(crate) fn weight_of(request: &Request) -> Request {
        Request {
            prompt_tokens: request.prompt_tokens,
            prompt: request.prompt.clone(),
            token_ratio: request.token_ratio,
            ..Request::default()
        }
    }
}
