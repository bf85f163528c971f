//! Bounds how long a client may take to begin with HTTP/2.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Bytes with which a client begins (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// What a client has yet to send to begin, and until when.
#[derive(Debug)]
pub(crate) struct AwaitedPreface {
    missing_bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

impl AwaitedPreface {
    pub(crate) fn within(limit: Duration) -> Self {
        Self { missing_bytes: PREFACE_BYTES, deadline: Box::pin(sleep(limit)) }
    }

    /// Records what was read. Returns whether the client has begun.
    pub(crate) fn record(&mut self, bytes: usize) -> bool {
        self.missing_bytes = self.missing_bytes.saturating_sub(bytes);
        self.missing_bytes == 0
    }

    /// Polls whether it is too late.
    pub(crate) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().poll(context)
    }
}
