//! Admission at a replica: whether a request goes at once, waits or is refused, and how the wait of one that waits ends. The
//! order in which requests go is the fleet's; see `signalbox_flow`. Also which requests in flight give up their places again.
//!
//! All of it is pure: time is a parameter, and who waits is a type parameter. The replica and the simulations run it.

mod admit;
mod awake;
mod flow_control;
mod flow_view;
mod gate_core;
mod highest_waiting;
mod latest_saturation;
mod local_grants;
mod owner_news;
mod owner_silence;
mod queue;
mod retry_after;
mod revocable_requests;
mod seen;
mod verdict;

pub use admit::{Admission, Admitter, cost_tokens};
pub use awake::Awake;
pub use flow_control::{FlowControl, FlowMode};
pub use flow_view::{ahead_elsewhere, bands_elsewhere};
pub use gate_core::{Arrival, Behind, Ended, GateCore, TICK_MS};
pub use highest_waiting::HighestWaiting;
pub use latest_saturation::LatestSaturation;
pub use owner_news::OwnerNews;
pub use owner_silence::OWNER_SILENCE_MS;
pub use revocable_requests::{RevocableRequests, RevocableTicket};
pub use seen::Seen;
