//! The state of a pool: what it contains, how it is replicated, who owns it, and what a decision reads.
//!
//! All types are values that take the time as a parameter; nothing here does I/O. The modules build on each
//! other in one direction:
//!
//! - `pool_state`: the replicated state of a pool, and the [`Change`]s that modify it
//! - `replication`: how the state gets from the owner to followers ([`Frame`], [`Journal`], [`StateReplica`],
//!   [`Follower`])
//! - `reports`: what collectors and replicas report to the owner ([`Report`], [`Feedback`])
//! - `pool`: the owner's side ([`Pool`]), which turns reports and feedback into changes
//! - `ownership`: which aggregator owns a pool ([`PoolRole`])
//! - `local`: a replica's own state that the pool state does not contain yet ([`Bookings`], [`Overlay`]), and
//!   the [`View`] that its decisions read

mod local;
mod ownership;
mod pool;
mod pool_state;
mod replication;
mod reports;

pub use local::{
    Arrivals, BacklogReporter, Booking, Bookings, ChangeNotifier, FeedbackBatcher, InFlightGauge, LocalState,
    Outbox, Overlay, PeerLoad, PlacedPrompt, PrefixMatches, RecentAdapterSends, RecentProbes,
    ResponseTracker, ServedDurations, UnservedBooking, View,
};
pub use ownership::{
    BeyondHistory, ClaimResult, FollowerPoll, ObservedOwner, OwnedHistory, PollReply, PollWait, PollWant,
    PoolRole, PoolRoleConfig, RoleEffect, RoleInput, RoleStatus,
};
pub use pool::{
    AssignedEndpoint, CollectorStream, CountedEvent, FeedbackRest, InputLimits, Pool, PoolConfig, PoolEffect,
    PoolInput,
};
pub use pool_state::{
    AdapterLocation, AdapterResidency, Assessment, CacheAccuracy, Change, Circuit, Digest, Diverged,
    DrainRate, EndpointList, EndpointState, FULL_KV_PPM, FlowChange, FlowMeasures, FlowPart, FlowTable,
    LoadTable, ModelCircuit, Observed, OriginFlows, PoolState, ScrapeStatus, StoredResponses,
    UNBOOKED_PROMPT_TOKENS,
};
pub use replication::{
    ApplyOutcome, CatchUp, Changes, Chunk, Cursor, CursorUse, Follower, FollowerEffect, FollowerEvent, Frame,
    FrameSource, FromAggregator, FromFollower, Gap, HeardOwner, Journal, JournalBounds, JournaledReplica,
    SharedHistory, Snapshot, SnapshotCapture, SnapshotEntry, SnapshotPace, StateReplica,
};
pub use reports::{
    DecodeObservation, EndpointObserver, Feedback, FeedbackReply, FeedbackReplyQueue, FlowReport, GaugeScope,
    MessageBudget, MessageKind, MessageLimits, MessageShare, OriginBindings, OriginRefused, Placement,
    Report, ResponseOutcome, ResponseReport, ScrapeResult, Update, UsageReport,
};
