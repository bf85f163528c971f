//! Streams to a pool's aggregators, whichever they are at the moment.
//!
//! Whoever follows a pool has a stream to every aggregator: the owner sends frames on its own, the others say that they own
//! nothing. So a change of owner needs no new connection, and an aggregator that is about to own the pool hears at once what
//! each follower holds.

mod aggregators;
mod connect;
mod stream;

pub use aggregators::{Settings, follow};
pub use connect::{connect, why};
pub use stream::{Event, Listening, Subject, Tell};
