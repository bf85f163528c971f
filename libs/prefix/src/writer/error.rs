//! Changes that do not fit the index.

use signalbox_types::BlockHash;
use thiserror::Error;

/// A change that does not fit the index: the writer and the source of the change have diverged, or the source
/// is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IndexError {
    /// The change names a block that is not at the given position.
    #[error("block {block:016x} is not at the position that the change gives", block = .0.0)]
    Block(BlockHash),
    /// The endpoint used no such blocks at the given time, or the time is out of order.
    #[error("the use at {0} does not fit the order in which the endpoint used its blocks")]
    Use(u64),
}
