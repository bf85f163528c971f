//! The sizes of the simulated pools, and what is the same in all of them.

/// How long one virtual step takes, in milliseconds. Followers receive what happened in a step at its end.
pub(super) const STEP_MS: u64 = 1;

/// When all endpoints are scraped for the first time, and when traffic starts: long after the caches were filled, at
/// time zero, and when no endpoint counts as new any more.
pub(super) const SCRAPED_MS: u64 = 40_000;
pub(super) const START_MS: u64 = 60_000;

/// KV cache capacity of each endpoint in tokens: an eighth of what is usual, so that caches are full from the start and
/// each placement evicts about as many blocks as it adds.
pub(super) const KV_TOKENS: u64 = 65_536;

/// The tokens of a block.
pub(super) const BLOCK_TOKENS: u64 = 64;

/// The blocks that fit into an endpoint's KV cache.
pub(super) const KV_BLOCKS: u64 = KV_TOKENS / BLOCK_TOKENS;

/// The size of a simulated pool.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Shape {
    pub(super) endpoints: usize,
    pub(super) requests_per_second: usize,
    pub(super) replicas: usize,
}
