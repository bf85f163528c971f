//! The state of a pool: folded by its owner, followed by every replica.
//!
//! Everything here is a value and takes time as a parameter. The owner's side is [`Pool`], which turns reports and feedback
//! into [`Change`]s; a follower's side is [`StateReplica`], which turns [`Frame`]s into the same [`PoolState`]. A request reads a
//! [`View`] of it and what this process knows before the pool does: its [`Bookings`] and its [`Overlay`].

mod adapter_residency;
mod assessment;
mod assignments;
mod bookings;
mod change;
mod circuit_breaker;
mod digest;
mod election;
mod endpoint_assessor;
mod endpoint_observer;
mod feedback;
mod feedback_batcher;
mod follower;
mod frame;
mod journal;
mod journaled_replica;
mod origins;
mod outbox;
mod overlay;
mod pool;
mod pool_role;
mod pool_state;
mod rate_estimator;
mod recent_adapter_sends;
mod state_replica;
mod takeover;
mod unbooked_load;
mod view;

pub use adapter_residency::{AdapterLocation, AdapterResidency};
pub use assessment::{Assessment, Circuit};
pub use assignments::{AssignedEndpoint, CollectorStream};
pub use bookings::{Booking, Bookings, ChangeNotifier, InFlightGauge};
pub use change::{Change, Observed};
pub use digest::Digest;
pub use election::{ClaimResult, ObservedOwner};
pub use endpoint_observer::{EndpointObserver, Report, ScrapeResult, ScrapeStatus, Update};
pub use feedback::{Feedback, GaugeScope, Placement, ResponseOutcome, ResponseReport};
pub use feedback_batcher::FeedbackBatcher;
pub use follower::{Cursor, Follower, FollowerEffect, FollowerEvent, FromAggregator, FromFollower};
pub use frame::{Frame, Snapshot, SnapshotEntry};
pub use journal::{CatchUp, Journal, JournalBounds};
pub use journaled_replica::JournaledReplica;
pub use outbox::{Outbox, PlacedPrompt};
pub use overlay::Overlay;
pub use pool::{CountedEvent, Pool, PoolConfig, PoolEffect, PoolInput};
pub use pool_role::{
    FollowerPoll, PollReply, PollWant, PoolRole, PoolRoleConfig, RoleEffect, RoleInput, RoleStatus,
};
pub use pool_state::{Diverged, EndpointState, PoolState};
pub use rate_estimator::DecodeObservation;
pub use recent_adapter_sends::RecentAdapterSends;
pub use state_replica::{ApplyOutcome, FrameSource, Gap, StateReplica};
pub use view::{LocalState, PeerLoad, PrefixMatches, View};
