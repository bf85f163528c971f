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

/// A measured index. Converting operations and prompts to the index's own types is not part of the measured
/// time.
pub(crate) trait PrefixIndex<'a> {
    /// Operations in the index's own types.
    type Writes;

    /// A prompt in the index's own type.
    type Query;

    /// Name in the table.
    const NAME: &'static str;

    /// Creates an empty index.
    fn new(stream: &OperationStream<'a>) -> Self;

    /// Converts operations to the index's own types.
    fn prepare_writes(stream: &OperationStream<'a>, operations: &[Operation], first: u64) -> Self::Writes;

    /// Converts a prompt to the index's own type. The result is a copy, as if the blocks had just been
    /// hashed.
    fn prepare_query(chain: &[BlockHash]) -> Self::Query;

    /// Applies prepared operations.
    fn write(&mut self, writes: Self::Writes);

    /// Looks up how much of a prompt each worker holds and keeps the result.
    fn query(&mut self, query: &mut Self::Query);

    /// Returns the sum of the last [`Self::query`]'s scores over all workers.
    fn score_sum(&self) -> u64;
}
