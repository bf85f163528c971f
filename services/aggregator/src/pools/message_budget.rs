//! Bounds the messages from other processes that queue for a pool's actor, by number and by bytes: per stream, so that
//! one process does not keep the others of its pool out, and per pool, so that a pool that stalls does not keep the
//! others out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that a message counts for at least. It bounds the number of messages: 256 of a stream and 1,024 of a pool.
const MIN_MESSAGE_BYTES: usize = 64 << 10;

/// Bytes of a stream's messages. A single message may have as many.
const STREAM_BYTES: usize = 16 << 20;

/// Bytes of all messages of a pool.
const POOL_BYTES: usize = 64 << 20;

/// What the queued messages of a pool may still take.
#[derive(Debug)]
pub(crate) struct PoolBudget(Arc<Semaphore>);

/// What the queued messages of a stream may still take.
#[derive(Debug)]
pub(crate) struct StreamBudget {
    stream: Arc<Semaphore>,
    pool: Arc<Semaphore>,
}

/// A message's part of the budgets. The pool's actor drops it after it has handled the message.
#[derive(Debug)]
pub(crate) struct MessagePermit {
    /// `None` if the semaphores were closed, which they never are.
    _parts: [Option<OwnedSemaphorePermit>; 2],
}

impl Default for PoolBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(POOL_BYTES)))
    }
}

impl PoolBudget {
    /// Returns the budget of a new stream.
    pub(crate) fn stream(&self) -> StreamBudget {
        StreamBudget { stream: Arc::new(Semaphore::new(STREAM_BYTES)), pool: Arc::clone(&self.0) }
    }
}

impl StreamBudget {
    /// Waits until the stream and its pool have room for a message of `bytes`.
    pub(crate) async fn admit(&self, bytes: usize) -> MessagePermit {
        let MessagePermit { _parts: [stream, _] } = self.admit_to_mailbox(bytes).await;
        let pool = Arc::clone(&self.pool).acquire_many_owned(counted(bytes)).await.ok();
        MessagePermit { _parts: [stream, pool] }
    }

    /// Waits until the stream has room for a message without content, whatever waits of other streams.
    pub(crate) async fn admit_to_mailbox(&self, bytes: usize) -> MessagePermit {
        let stream = Arc::clone(&self.stream).acquire_many_owned(counted(bytes)).await.ok();
        MessagePermit { _parts: [stream, None] }
    }
}

/// Returns how many bytes a message counts for.
fn counted(bytes: usize) -> u32 {
    bytes.clamp(MIN_MESSAGE_BYTES, STREAM_BYTES) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns whether a message of `bytes` is admitted, and keeps it in `queue`.
    async fn is_admitted(stream: &StreamBudget, bytes: usize, queue: &mut Vec<MessagePermit>) -> bool {
        let admitted = tokio::time::timeout(Duration::ZERO, stream.admit(bytes)).await;
        admitted.map(|permit| queue.push(permit)).is_ok()
    }

    #[tokio::test]
    async fn stalled_pool_keeps_no_other_pool_out() {
        let (stalled, other, mut queue) = (PoolBudget::default(), PoolBudget::default(), Vec::new());
        let streams: Vec<_> = (0..8).map(|_| stalled.stream()).collect();
        for stream in &streams {
            while is_admitted(stream, 1, &mut queue).await {}
        }
        assert_eq!(POOL_BYTES / MIN_MESSAGE_BYTES, queue.len());
        assert!(is_admitted(&other.stream(), STREAM_BYTES, &mut queue).await);
        queue.clear();
        assert!(is_admitted(&streams[0], STREAM_BYTES, &mut queue).await);
    }

    #[tokio::test]
    async fn stream_is_bounded_in_number_and_bytes() {
        let (pool, mut queue) = (PoolBudget::default(), Vec::new());
        let (many, large) = (pool.stream(), pool.stream());
        while is_admitted(&many, 1, &mut queue).await {}
        assert_eq!(STREAM_BYTES / MIN_MESSAGE_BYTES, queue.len());
        // Even a message above the limit, whose size was misjudged, is admitted when it is the only one.
        assert!(is_admitted(&large, STREAM_BYTES + 1, &mut queue).await);
        assert!(!is_admitted(&large, 1, &mut queue).await);
        assert!(is_admitted(&pool.stream(), 1, &mut queue).await, "the streams have used half of the pool's");
    }
}
