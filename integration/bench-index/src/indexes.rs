//! The measured indexes.

mod dynamo_compressed;
mod dynamo_radix;
mod kv_index;
mod signalbox;

use signalbox_types::BlockHash;

use crate::operations::{Operation, OperationStream};

pub(crate) use dynamo_compressed::DynamoCompressed;
pub(crate) use dynamo_radix::DynamoRadix;
pub(crate) use kv_index::KvIndex;
pub(crate) use signalbox::Signalbox;

/// A measured index. Converting operations and prompts to the index's own types, and dropping what was passed or
/// returned, is not part of the measured time, unless the index's interface takes a value and drops it itself.
pub(crate) trait PrefixIndex<'a> {
    /// Operations in the index's own types.
    type Writes;

    /// A prompt in the index's own type.
    type Query;

    /// The result of a lookup.
    type Found;

    /// Name in the table, with the version.
    const NAME: &'static str;

    /// Creates an empty index that has room for the stream's workers and not for more.
    fn new(stream: &OperationStream<'a>) -> Self;

    /// Converts operations to the index's own types.
    fn prepare_writes(stream: &OperationStream<'a>, operations: &[Operation], first: u64) -> Self::Writes;

    /// Converts a prompt to the index's own type. The result is a copy, as if the blocks had just been
    /// hashed.
    fn prepare_query(chain: &[BlockHash]) -> Self::Query;

    /// Applies prepared operations.
    fn write(&mut self, writes: &mut Self::Writes);

    /// Looks up how much of a prompt each worker holds.
    fn query(&mut self, query: &mut Self::Query) -> Self::Found;

    /// Returns the sum over all workers of the scores of the latest lookup, which returned `found`.
    fn score_sum(&self, found: &Self::Found) -> u64;
}

/// An index that threads can read while another one writes.
pub(crate) trait SharedIndex<'a>: PrefixIndex<'a> {
    /// What a reading thread has.
    type Reader: Send;

    /// Creates a reader.
    fn reader(&self) -> Self::Reader;

    /// Does the same as [`PrefixIndex::query`].
    fn read(reader: &mut Self::Reader, query: &mut Self::Query) -> Self::Found;

    /// Returns the same as [`PrefixIndex::score_sum`].
    fn read_sum(reader: &Self::Reader, found: &Self::Found) -> u64;
}
