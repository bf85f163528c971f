//! Runs as they are sent in snapshots.

use std::sync::Arc;

use signalbox_types::{BlockHash, EndpointKey};

use crate::residency::Residency;

/// Consecutive blocks of one chain, and the endpoints that hold them. The blocks are shared, not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// First block of the run that contains the block before this run; [`BlockHash::ROOT`] if there is none.
    pub parent: BlockHash,
    /// Number of blocks that come before the run in its chain.
    pub start: u32,
    /// Blocks of the run.
    pub blocks: Arc<[BlockHash]>,
    /// Endpoints that were sent blocks of the run. The entries of one endpoint are in order of `end`.
    pub placed: Vec<PlacedRun>,
    /// Blocks of the run that engines reported.
    pub confirmed: Vec<ConfirmedRun>,
}

/// The blocks of a run that an endpoint last used at `used`: those before `end`, and after the end of the
/// endpoint's previous entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedRun {
    /// Endpoint that was sent the blocks.
    pub endpoint: EndpointKey,
    /// End of the blocks within the run, exclusive.
    pub end: u32,
    /// `seq` of the placement that last used the blocks.
    pub used: u64,
}

/// The blocks `from..to` of a run that an engine reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmedRun {
    /// Endpoint of the engine.
    pub endpoint: EndpointKey,
    /// Where the engine keeps the blocks.
    pub residency: Residency,
    /// Start of the blocks within the run.
    pub from: u32,
    /// End of the blocks within the run, exclusive.
    pub to: u32,
}
