//! Protobuf to domain types and back.
//!
//! Conversions name every field of both sides, so that a new one breaks the build here and nowhere else.

mod collect;
mod error;
mod feed;
mod frame;
mod parts;
mod run;

pub use collect::{assigned, collector_message, directive, reports};
pub use error::WireError;
pub use feed::{Reply, feedback, feedback_batch, feedback_reply, reply};
pub use frame::{cursor, frame, frame_message, version};
