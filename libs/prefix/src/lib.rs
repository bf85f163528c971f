//! Block hashing and the prefix index.
//!
//! A prompt is cut into blocks; each block's hash covers the block and everything before it, so that a hash stands for a
//! whole prefix. The index says which endpoints hold which blocks. It has one writer ([`Residents`]) and any number
//! of readers ([`Index`]).
//!
//! Blocks that follow each other are kept together, in runs. A run ends where it ended when it was built; that chains part within it, or
//! that some endpoint holds only its beginning, does not divide it. So a prompt of thousands of blocks is a few runs long, and all costs
//! are those of runs.

mod column;
mod confirmed;
mod forest;
mod hash;
mod held;
mod index;
mod kept;
mod residents;
mod shown;
mod slots;
mod snapshot;
mod tier;

pub use column::{Column, Lookup, Match};
pub use confirmed::Stretch;
pub use hash::ChainHasher;
pub use index::Index;
pub use residents::{Misfit, Residents, anchor, anchor_after};
pub use slots::Slots;
pub use snapshot::{ConfirmedRun, PlacedRun, Run};
pub use tier::Tier;
