//! Block hashing and the prefix index.
//!
//! A prompt is cut into blocks; each block's hash covers the block and everything before it, so that a hash stands for a
//! whole prefix. The index says which endpoints hold which blocks. It has one writer ([`Residents`]) and any number
//! of readers ([`Index`]).

mod hash;
mod index;
mod residents;

pub use hash::ChainHasher;
pub use index::{Holder, Index, Lookup};
pub use residents::{Block, Missing, Residents};
