//! The reader side of the index: lookups that run while the writer writes.

mod holders;
mod index;
mod match_lengths;
mod published_run;

pub(crate) use holders::Holder;
pub use index::Index;
pub use match_lengths::{Lookup, Match, MatchLengths};
pub(crate) use published_run::PublishedRun;
