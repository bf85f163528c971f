//! Keeps streams open to aggregators: to each of a pool's aggregators, and to those of a fleet.
//!
//! A follower has a stream to every aggregator: the owner sends frames on its stream, the others answer that
//! they do not own the pool. A change of owner therefore needs no new connection, and an aggregator that
//! takes the pool over learns at once what each follower holds.
//!
//! A process that serves all pools learns from the [`Fleet`] which pools and aggregators there are.

mod connections;
mod fleet;
mod follow;
mod followed_pool;
mod followed_pools;
mod reopening;
mod stream;

pub use connections::{Connection, Connections, status_reason};
pub use fleet::{Fleet, FleetSettings, watch_fleet};
pub use follow::{FollowSettings, follow};
pub use followed_pool::FollowedPool;
pub use followed_pools::FollowedPools;
pub use stream::{ListenerState, StreamEvent, StreamSender};
