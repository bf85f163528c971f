//! Building blocks for actors that ractor does not have. They know nothing of Signalbox's domain.
//!
//! ractor's mailboxes are unbounded and its supervisors have no policy. Therefore state travels through a
//! [`ConflatingSlot`], a [`Ticker`] arms each tick after the work of the last one, slow work runs in a
//! [`BackgroundTask`], and a supervisor asks its [`RestartTracker`] what to do when a child ends. Ticker,
//! backoffs and restart tracker are plain values: the caller passes in the time and the randomness.

mod background_task;
mod backoff;
mod conflating_slot;
mod stream_backoff;
mod supervision;
mod ticker;

pub use background_task::BackgroundTask;
pub use backoff::{Backoff, BackoffPolicy};
pub use conflating_slot::{ConflatingSlot, PutOutcome};
pub use stream_backoff::StreamBackoff;
pub use supervision::{ChildExit, RestartDecision, RestartPolicy, RestartTracker, child_exit};
pub use ticker::Ticker;
