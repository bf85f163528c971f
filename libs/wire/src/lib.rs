//! Protobuf to domain types and back.
//!
//! Conversions name every field of both sides, so that a new one breaks the build here and nowhere else.

mod collect;
mod error;
mod feed;
mod follower;
mod frame;
mod hello;
mod models;
mod parts;
mod relay;
mod run;

pub use collect::{assigned, collector_message, directive, reports};
pub use error::WireError;
pub use feed::{Reply, feedback, feedback_batch, feedback_reply, reply};
pub use follower::{follower_message, from_aggregator, from_aggregator_message, from_follower, refusal};
pub use frame::{frame, frame_message};
pub use hello::Hello;
pub use relay::{ended, ended_batch};
