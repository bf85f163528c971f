//! The indexes that are measured.

mod compressed;
mod kv_index;
mod ours;
mod radix;

use signalbox_types::BlockHash;

use crate::stream::{Operation, Stream};

pub(crate) use compressed::Compressed;
pub(crate) use kv_index::KvIndex;
pub(crate) use ours::Ours;
pub(crate) use radix::Radix;

/// An index that is measured. What only serves to speak its language is done before the clock runs.
pub(crate) trait Subject<'a> {
    /// Operations in the index's own terms.
    type Writes;

    /// A prompt in the index's own terms.
    type Query;

    /// What it is called in the table.
    const NAME: &'static str;

    /// An empty index.
    fn new(stream: &Stream<'a>) -> Self;

    /// Says operations in the index's own terms.
    fn prepare(stream: &Stream<'a>, operations: &[Operation], first: u64) -> Self::Writes;

    /// Says a prompt in the index's own terms. A copy, as if its blocks had been hashed just now.
    fn ask(chain: &[BlockHash]) -> Self::Query;

    /// Does what was prepared.
    fn write(&mut self, writes: Self::Writes);

    /// Looks up how much of a prompt each worker holds, and keeps it.
    fn query(&mut self, query: &mut Self::Query);

    /// The sum over all workers of what [`Self::query`] found.
    fn sum(&self) -> u64;
}
