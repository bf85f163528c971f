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
mod estimate;
mod feedback;
mod foreign;
mod frame;
mod journal;
mod observe;
mod origins;
mod outbox;
mod overlay;
mod picture;
mod pool;
mod record;
mod replica;
mod sends;
mod shelf;
mod view;

pub use assessment::{Assessment, Circuit};
pub use assign::{Assigned, CollectorStream};
pub use bookings::{Booking, Bookings, Gauge, Wake};
pub use change::{Change, Observed};
pub use digest::Digest;
pub use estimate::Pace;
pub use feedback::{Answer, Answered, Feedback, Placement, Scope};
pub use frame::{Entry, Frame, Snapshot};
pub use journal::{Bounds, CatchUp, Journal};
pub use observe::{Endpoint, Reach, Reading, Report, Update};
pub use outbox::{Outbox, Placed};
pub use overlay::Overlay;
pub use picture::{Diverged, Member, Picture};
pub use pool::{Effect, Input, Pool, PoolConfig};
pub use replica::{Gap, Outcome, Replica};
pub use sends::AdapterSends;
pub use shelf::{AdapterPlace, Shelf};
pub use view::{Local, Matches, Others, View};
