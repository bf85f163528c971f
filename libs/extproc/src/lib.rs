//! The ext-proc conversation between a gateway and an endpoint picker, as a pure state machine.
//!
//! A gateway opens one stream per HTTP request. The shell makes a [`Conversation`] per stream, feeds it what arrives,
//! and does what it asks for, in order. [`Action::Pick`] is always the last action of a step: the shell decides and
//! feeds the result back as [`Event::Picked`] before it reads on. When the stream is over, for whatever reason,
//! [`Conversation::outcome`] tells what is to become of the booking.
//!
//! The request's body must come as `FULL_DUPLEX_STREAMED`, or as `NONE`, which hides the prompt: such a request is
//! picked for by its headers. In any other mode a request with a body is refused with a message that names the
//! setting to change. The response's body may come in any mode. Where it does not come at all, nor its end, that is read of
//! the gateway's access log ([`logged`]).

mod body;
mod config;
mod conversation;
mod destination;
mod event;
mod head;
mod hint;
mod logged;
mod modes;
mod refusal;
mod reply;
mod response;

pub use config::Config;
pub use conversation::Conversation;
pub use destination::{Announcement, Destination};
pub use event::{Action, Actions, Event, Outcome};
pub use head::request_header;
pub use logged::{Logged, logged};
pub use refusal::Refusal;
