//! Flow control: which requests wait while a pool is full, and in which order they go.
//!
//! Two parts share the work. Each replica keeps the requests that wait at it ([`WaitingRequests`]) and reports how
//! many there are ([`Backlog`]). The owner of the pool, or a replica that hears no owner, runs the [`Granter`] over the
//! backlogs of all replicas. It says how many requests of which flow may go at which replica. A grant is a count that
//! only grows, so that it can be repeated, and another owner goes on from what the replicas have used. One that is lost
//! arrives only if it is sent again: the owner publishes [`Granter::outstanding_grants`].
//!
//! If the pool is full of less important requests, the owner can also take places back: it [`revoke`]s requests in flight.

mod backlog;
mod drop_reason;
mod flow_key;
mod granting;
mod policies;
mod revoking;
mod saturation;
mod settings;
mod waiting;

pub use backlog::{Backlog, PeerBacklog, Usage};
pub use drop_reason::DropReason;
pub use flow_key::FlowKey;
pub use granting::{BandShares, Credit, Grant, Granter, Served, Shortage};
pub use policies::{Ceilings, Fairness, Ordering};
pub use revoking::{PeerRevocable, Revocable, RevocableClass, Revocation, revoke};
pub use saturation::{Detector, EndpointUse, Freshness, Saturation};
pub use settings::{BandSettings, Caps, FlowSettings};
pub use waiting::{Dropped, PoolPhase, Ticket, WaitingRequest, WaitingRequests};
