//! The ext-proc conversation between a gateway and an endpoint picker, as a pure state machine.
//!
//! A gateway opens one stream per HTTP request. The shell makes a [`Conversation`] per stream, feeds it what arrives,
//! and does what it asks for, in order. [`Action::Pick`] is always the last action of a step: the shell decides and
//! feeds the result back as [`Event::Picked`] before it reads on. When the stream is over, for whatever reason,
//! [`Conversation::outcome`] tells what is to become of the booking.
//!
//! A request's body that comes as `FULL_DUPLEX_STREAMED` is read and sent back; one that comes as `BUFFERED` is read and answered with the
//! destination. One that comes as `STREAMED`, or not at all (`NONE`), comes too late: such a request is picked for by its headers. The
//! response's body may come in any mode. Where it does not come at all, nor its end, that is read of the gateway's access log
//! ([`logged`]).

mod body;
mod buffers;
mod complete;
mod config;
mod controls;
mod conversation;
mod destination;
mod event;
mod guard;
mod head;
mod hint;
mod logged;
mod modes;
mod refusal;
mod reply;
mod request;
mod response;

pub use buffers::Buffers;
pub use config::{Config, SubsetHint};
pub use conversation::Conversation;
pub use destination::{Announcement, Destination};
pub use event::{Action, Actions, Event, Outcome};
pub use head::request_header;
pub use logged::{Logged, logged};
pub use refusal::Refusal;
pub use reply::fault;
