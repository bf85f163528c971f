//! The requests that wait at one replica.

mod flow_queue;
mod ticket;
mod waiting_requests;

pub use ticket::Ticket;
pub use waiting_requests::{Dropped, PoolPhase, WaitingRequest, WaitingRequests};
