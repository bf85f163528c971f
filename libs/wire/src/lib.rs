//! Converts between protobuf messages and domain types.
//!
//! Conversions name every field of both sides, so that a new field breaks the build here and nowhere else.

mod collector;
mod engine;
mod error;
mod feedback;
mod fleet;
mod flow_bounds;
mod flow_settings;
mod flows;
mod follower;
mod frame;
mod hello;
mod learned;
mod models;
mod no_op;
mod request_ends;
mod revocable;
mod runs;
mod shared;
mod signal;
mod stored_responses;

pub use collector::{decode_assignment, decode_reports, encode_assignment, encode_reports};
pub use error::WireError;
pub use feedback::{decode_feedback, decode_feedback_reply, encode_feedback, encode_feedback_reply};
pub use fleet::{FleetState, ServedPool, decode_fleet_state, encode_fleet_state};
pub use follower::{
    decode_aggregator_message, decode_follower_message, encode_aggregator_message, encode_follower_message,
    encode_rejection,
};
pub use frame::{decode_frame, encode_frame};
pub use hello::Hello;
pub use request_ends::{decode_request_ends, encode_request_ends};
pub use signal::{decode_signal, encode_signal};

/// Returns the size of a message in bytes.
pub fn message_bytes(message: &impl prost::Message) -> usize {
    message.encoded_len()
}
