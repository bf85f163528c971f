//! What a pick leaves behind: the booking, and what is expected of the request.

use std::sync::Arc;

use signalbox_state::{Booking, EndpointState, UsageReport};
use signalbox_types::{BlockHash, ModelKey, Request};

use crate::least_time::CostTerms;

/// A request that was booked at an endpoint.
#[derive(Debug)]
pub struct Booked {
    /// The booking. Dropping it ends it.
    pub booking: Booking,
    /// Whether the endpoint had no other prefill: the time to the first output then measures its prefill rate.
    pub is_sole_prefill: bool,
    /// What is expected of the usage that the engine reports.
    pub usage: UsageReport,
    /// Blocks of the prompt; empty if there are none or they cannot be placed.
    pub chain: Arc<[BlockHash]>,
    /// Whether the placement was queued for the pool's owner.
    pub is_placed: bool,
}

/// Returns the usage that is expected of a request, with the number of leading blocks of its chain that the endpoint is
/// believed to hold.
pub(super) fn predicted_usage(
    member: &EndpointState,
    request: &Request,
    terms: &CostTerms,
    (chain, held): (&[BlockHash], usize),
) -> UsageReport {
    UsageReport {
        text_bytes: request.prompt.text_bytes,
        token_ids: request.prompt.token_ids,
        media_tokens: request.prompt.media.iter().map(|medium| u64::from(medium.tokens)).sum(),
        predicted_tokens: request.prompt_tokens,
        predicted_cached_tokens: terms.cached_tokens,
        last_block: chain.last().copied().unwrap_or(BlockHash::ROOT),
        held_blocks: u32::try_from(held).unwrap_or(u32::MAX),
        ..UsageReport::new(member.key, member.observed.incarnation, ModelKey::of(&request.model))
    }
}
