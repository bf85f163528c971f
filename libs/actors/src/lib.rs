//! What ractor lacks, and no domain.
//!
//! ractor's mailboxes are unbounded and its supervisors have no policy. So state travels through a conflating [`Slot`], ticks
//! are armed after the work by a [`Ticker`], slow work is an [`Errand`], and a supervisor asks its [`Restarts`] what to do when a
//! child ends. Ticker, backoff and restarts are values that take time and chance as parameters.

mod backoff;
mod errand;
mod slot;
mod supervise;
mod ticker;

pub use backoff::{Backoff, BackoffPolicy};
pub use errand::{Errand, Panicked};
pub use slot::{Put, Slot};
pub use supervise::{Ended, RestartPolicy, Restarts, Verdict, ended};
pub use ticker::Ticker;
