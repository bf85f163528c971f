//! The endpoint picker: answers a gateway over ext-proc from its own view of the pool.
//!
//! A request takes a straight line through [`exchange`](Epp): the conversation says when to pick, the pick reads the latest
//! view and this replica's own bookings, and answers. The actors beside it keep the view and report what was decided.

mod access_log;
mod actors;
mod app;
mod arguments;
mod booked;
mod config;
mod decision_snapshot;
mod decisions;
mod exchange;
mod explain;
mod go_epp_flags;
mod go_epp_ignored_flags;
mod health;
mod held;
mod http2;
mod metrics;
mod pick;
mod picker;
mod policy_file;
mod process;
mod records;
mod relay;
mod ring;
mod serve;
mod serving;
#[cfg(test)]
mod staged;
mod trace;

pub use app::{Epp, Outlook, PortFlags, StartError, Tally};
pub use arguments::Refused;
pub use config::{EndpointScores, EppConfig, ExplainTo, Flags, Output};
pub use go_epp_flags::{FamiliarFlags, LogLevel, MessageSize, ZapEncoder};
pub use go_epp_ignored_flags::{ForeignFlags, Note};
pub use policy_file::{Chosen, PolicyFlags};
pub use process::run;
pub use serving::ServingFlags;
pub use signalbox_extproc::SubsetHint;
pub use signalbox_intake::Parsers;
