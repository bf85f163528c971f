//! Registers processes, and elects the owner of each pool.
//!
//! A [`Coordinator`] knows the live processes and the owner of each pool. It is etcd, or in-process if
//! there is only one aggregator. Both behave the same: `integration/tests/lease` runs one test suite against
//! both. No request depends on the coordinator: while it is unavailable, what it last reported stays in use.

mod coordinator;
mod discovery;
mod error;
mod etcd;
mod flags;
mod local;
mod membership;
mod ownership;
mod registry;
mod session;

pub use coordinator::Coordinator;
pub use discovery::discover_aggregators;
pub use error::Unavailable;
pub use etcd::{EtcdSettings, Login, TlsFiles};
pub use flags::{CoordinatorFlags, CoordinatorUrlError};
pub use membership::{Member, Role};
pub use ownership::{Claim, ClaimError, Owner, RegisteredOwner};
pub use session::Session;
