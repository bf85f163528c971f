//! The endpoint picker: answers a gateway over ext-proc from its own view of the pool.
//!
//! A request takes a straight line through [`exchange`](Epp): the conversation says when to pick, the pick reads the latest
//! view and this replica's own bookings, and answers. The actors beside it keep the view and report what was decided.

mod actors;
mod app;
mod config;
mod desk;
mod exchange;
mod explain;
mod metrics;
mod pick;
mod process;
mod serve;
mod sight;

pub use app::{Epp, PortFlags, StartError, Tally};
pub use config::{EppConfig, ExplainTo, Flags, Output};
pub use process::run;
