//! The endpoint picker: tells a gateway over ext-proc which endpoint serves each request.
//!
//! A request takes a straight path: the gateway's ext-proc exchange (`gateway`) asks the picker (`deciding`),
//! which reads the latest view and this replica's own bookings (`bookings`) and answers; or the request waits
//! while the pool is full (`flow_control`). `settlement` follows
//! the booked request to its end. The actors (`actors`) keep the view current and send feedback to the pool's
//! owner. All this exists once per pool; `pools` decides which are served on which ports, and `replica` is what
//! they share.

mod actors;
mod admin;
mod app;
mod bookings;
mod config;
mod deciding;
mod directory;
mod flags;
mod flow_control;
mod gateway;
mod metrics;
mod pools;
mod process;
mod replica;
mod settlement;
#[cfg(test)]
mod test_support;

pub use app::{DecisionTotals, Epp, PortFlags, QueueStatus, StartError, ViewStatus};
pub use config::{EndpointScores, EppConfig, ExplainAccess};
pub use flags::{
    Flags, FlowSwitch, GoEppFlags, IgnoredFlag, IgnoredGoEppFlags, LoadedPolicy, LogLevel, MediaTokens,
    MessageSize, Output, PolicyFlags, ServingFlags, UsageError, ZapEncoder,
};
pub use process::run;
pub use signalbox_admission::{FlowControl, FlowMode};
pub use signalbox_extproc::SubsetHint;
pub use signalbox_intake::Parsers;
pub use signalbox_peers::FollowedPools;
