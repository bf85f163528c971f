//! Block hashing and the prefix index.
//!
//! A prompt is cut into blocks. Each block's hash covers the block and everything before it, so that a hash
//! identifies a whole prefix. The index records which endpoints hold which blocks. It has one writer
//! ([`IndexWriter`]) and any number of readers ([`Index`]).
//!
//! Consecutive blocks are stored together in runs. A run keeps the end that it had when it was built: chains
//! that diverge within it, or endpoints that hold only its beginning, do not split it. A prompt of thousands
//! of blocks is therefore a few runs long, and all costs are per run.

mod anchor;
mod chain_hasher;
mod endpoint_slots;
mod extent;
mod identity_hasher;
mod reader;
mod residency;
mod run;
mod shared_prefix;
mod writer;

pub use anchor::{anchor, anchor_after};
pub use chain_hasher::ChainHasher;
pub use endpoint_slots::EndpointSlots;
pub use identity_hasher::{EndpointMap, EndpointSet, IdentityHasher};
pub use reader::{Index, Lookup, Match, MatchLengths};
pub use residency::Residency;
pub use run::{ConfirmedRun, PlacedRun, Run};
pub use writer::{ChainRange, IndexError, IndexWriter, LastUse};
