//! The state of a pool: folded by its owner, followed by every replica.
//!
//! Everything here is a value and takes time as a parameter. The owner's side is [`Pool`], which turns reports and feedback
//! into [`Change`]s; a follower's side is [`Replica`], which turns [`Frame`]s into the same [`Picture`]. A request reads a
//! [`View`] of it and what this process knows before the pool does: its [`Bookings`] and its [`Overlay`].

mod assessment;
mod assign;
mod bookings;
mod breaker;
mod change;
mod digest;
mod election;
mod estimate;
mod feedback;
mod feeder;
mod follower;
mod following;
mod foreign;
mod frame;
mod heir;
mod journal;
mod observe;
mod origins;
mod outbox;
mod overlay;
mod picture;
mod pool;
mod record;
mod replica;
mod seat;
mod sends;
mod shelf;
mod view;

pub use assessment::{Assessment, Circuit};
pub use assign::{Assigned, CollectorStream};
pub use bookings::{Booking, Bookings, Gauge, Wake};
pub use change::{Change, Observed};
pub use digest::Digest;
pub use election::{Claimed, Seen};
pub use estimate::Pace;
pub use feedback::{Answer, Answered, Feedback, Placement, Scope};
pub use feeder::Feeder;
pub use follower::Follower;
pub use following::{Cursor, Following, FromAggregator, FromFollower, Heard, Todo};
pub use frame::{Entry, Frame, Snapshot};
pub use journal::{Bounds, CatchUp, Journal};
pub use observe::{Endpoint, Reach, Reading, Report, Update};
pub use outbox::{Outbox, Placed};
pub use overlay::Overlay;
pub use picture::{Diverged, Member, Picture};
pub use pool::{Effect, Input, Noted, Pool, PoolConfig};
pub use replica::{Gap, Outcome, Replica, Source};
pub use seat::{Answer as SeatAnswer, Ask, Seat, SeatConfig, SeatEffect, SeatInput, Standing, Want};
pub use sends::AdapterSends;
pub use shelf::{AdapterPlace, Shelf};
pub use view::{Local, Matches, Others, View};
