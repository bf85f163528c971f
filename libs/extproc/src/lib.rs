//! The ext-proc conversation between a gateway and an endpoint picker, as a pure state machine.
//!
//! A gateway opens one stream per HTTP request. For each stream, the caller creates a [`Conversation`],
//! passes it every message, and performs the returned actions in order. [`Action::Pick`] is always the last
//! action of a step: the caller picks an endpoint and passes the result back as [`Event::Picked`] before it
//! reads the next message. When the stream ends for any reason, [`Conversation::outcome`] determines what
//! happens to the booking.
//!
//! A request body in mode `FULL_DUPLEX_STREAMED` is read and sent back; one in mode `BUFFERED` is read, and
//! the reply contains the destination. A body that is not read, as that of an upload, is not kept in any mode: the
//! request is routed by its headers, and the body passes as it comes. In mode `STREAMED` the body arrives too late, and in mode `NONE` not
//! at all: such a request is routed by its headers. The response's body may arrive in any mode. If the
//! gateway sends neither the body nor the end of the response, the end is read from the gateway's access log
//! ([`parse_access_log_entry`]).

mod access_log;
mod body;
mod config;
mod conversation;
mod destination;
mod error_format;
mod event;
mod fixed_model;
mod gateway_metadata;
mod headers;
mod panic_guard;
mod refusal;
mod reply;
mod request;
mod response;

pub use access_log::{AccessLogEntry, parse_access_log_entry};
pub use body::budget::BodyBudget;
pub use config::{Config, SubsetHint};
pub use conversation::{Conversation, LARGE_BODY_BYTES};
pub use destination::{Destination, SessionTokens};
pub use event::{Action, Actions, Event, FirstOutput, Outcome};
pub use headers::value::request_header;
pub use refusal::Refusal;
