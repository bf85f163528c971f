//! The messages between the engine's task and its handles.

use tokio::sync::watch;

use super::faults::EngineFault;
use crate::engine::{Arrival, Rejection, RequestId, Usage};

/// A message to the engine's task.
pub(super) enum Command {
    /// Submits a request and registers the channel for its progress.
    Submit(Arrival, watch::Sender<Progress>),
    /// Cancels a request. Unknown and finished requests are ignored.
    Cancel(RequestId),
    /// Sets the engine's fault.
    SetFault(EngineFault),
}

/// The stage that a request has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Submitted,
    Accepted,
    Finished(Usage),
    Rejected(Rejection),
}

/// The progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) produced_tokens: u32,
    pub(crate) stage: Stage,
}
