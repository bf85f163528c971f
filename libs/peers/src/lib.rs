//! Keeps a stream open to each of a pool's aggregators.
//!
//! A follower has a stream to every aggregator: the owner sends frames on its stream, the others answer that
//! they do not own the pool. A change of owner therefore needs no new connection, and an aggregator that
//! takes the pool over learns at once what each follower holds.

mod connect;
mod follow;
mod followed_pool;
mod stream;

pub use connect::{connect, status_reason};
pub use follow::{FollowSettings, follow};
pub use followed_pool::FollowedPool;
pub use stream::{ListenerState, StreamEvent, StreamSender};
