//! The gateway's side of ext-proc: connections to the pickers, streams and messages.

pub(super) mod messages;
pub(super) mod pickers;
mod round_robin;
pub(super) mod stream;
