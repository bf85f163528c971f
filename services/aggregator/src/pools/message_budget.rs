//! Lets the messages of streams wait until there is room for them in the queues of a pool's actor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signalbox_state::{MessageBudget, MessageKind, MessageShare};
use tokio::sync::oneshot;

/// What the queued messages of a pool may still take, and the streams that wait for it.
#[derive(Debug, Default)]
struct Admissions {
    budget: MessageBudget,
    streams: u64,
    waiting: BTreeMap<u64, oneshot::Sender<MessagePermit>>,
}

/// What the queued messages of a pool may still take. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolBudget(Arc<Mutex<Admissions>>);

/// What the queued messages of a stream may still take.
#[derive(Debug)]
pub(crate) struct StreamBudget {
    pool: PoolBudget,
    stream: u64,
}

/// A message's part of the budgets. The pool's actor drops it after it has handled the message.
#[derive(Debug)]
pub(crate) struct MessagePermit {
    pool: PoolBudget,
    share: Option<MessageShare>,
}

impl PoolBudget {
    /// Returns the budget of a new stream.
    pub(crate) fn stream(&self) -> StreamBudget {
        let mut admissions = self.lock();
        admissions.streams += 1;
        StreamBudget { pool: self.clone(), stream: admissions.streams }
    }

    // Nothing panics with the lock.
    fn lock(&self) -> MutexGuard<'_, Admissions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(&self, share: MessageShare) -> MessagePermit {
        MessagePermit { pool: self.clone(), share: Some(share) }
    }

    /// Wakes the streams whose messages are admitted.
    fn admit(&self, admitted: Vec<MessageShare>) {
        for share in admitted {
            let waiting = self.lock().waiting.remove(&share.stream());
            let permit = self.permit(share);
            // A stream that has ended gives its permit back, which takes the lock again.
            if let Some(waiting) = waiting {
                let _ = waiting.send(permit);
            }
        }
    }
}

impl StreamBudget {
    /// Waits until the stream and its pool have room for a message of `bytes`.
    pub(crate) async fn admit(&self, bytes: usize) -> MessagePermit {
        self.wait(MessageKind::Content, bytes).await
    }

    /// Waits until the stream has room for a message without content, whatever waits of other streams.
    pub(crate) async fn admit_to_mailbox(&self, bytes: usize) -> MessagePermit {
        self.wait(MessageKind::Control, bytes).await
    }

    /// A stream waits for one message at a time, because it is read in order.
    async fn wait(&self, kind: MessageKind, bytes: usize) -> MessagePermit {
        let admitted = {
            let mut admissions = self.pool.lock();
            if let Some(share) = admissions.budget.request(self.stream, kind, bytes) {
                return self.pool.permit(share);
            }
            let (sender, admitted) = oneshot::channel();
            admissions.waiting.insert(self.stream, sender);
            admitted
        };
        let _cancel = CancelOnDrop(self);
        let unbounded = |_| MessagePermit { pool: self.pool.clone(), share: None };
        // This cannot fail: only what admits the message, or stops to wait for it, removes the sender.
        admitted.await.unwrap_or_else(unbounded)
    }
}

/// Forgets the message that waits when its stream ends.
struct CancelOnDrop<'a>(&'a StreamBudget);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        let Self(StreamBudget { pool, stream }) = self;
        let mut admissions = pool.lock();
        if admissions.waiting.remove(stream).is_some() {
            let admitted = admissions.budget.cancel(*stream);
            drop(admissions);
            pool.admit(admitted);
        }
    }
}

impl Drop for MessagePermit {
    fn drop(&mut self) {
        if let Some(share) = self.share.take() {
            let admitted = self.pool.lock().budget.release(share);
            self.pool.admit(admitted);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signalbox_state::MessageLimits;

    use super::*;

    /// Returns whether a message of `bytes` is admitted, and keeps it in `queue`.
    async fn is_admitted(stream: &StreamBudget, bytes: usize, queue: &mut Vec<MessagePermit>) -> bool {
        let admitted = tokio::time::timeout(Duration::ZERO, stream.admit(bytes)).await;
        admitted.map(|permit| queue.push(permit)).is_ok()
    }

    #[tokio::test]
    async fn stalled_pool_keeps_no_other_pool_out() {
        let MessageLimits { message_bytes, stream_bytes, pool_bytes } = MessageLimits::default();
        let (stalled, other, mut queue) = (PoolBudget::default(), PoolBudget::default(), Vec::new());
        let streams: Vec<_> = (0..8).map(|_| stalled.stream()).collect();
        for stream in &streams {
            while is_admitted(stream, 1, &mut queue).await {}
        }
        assert_eq!(pool_bytes / message_bytes, queue.len());
        assert!(is_admitted(&other.stream(), stream_bytes, &mut queue).await);
        queue.clear();
        assert!(is_admitted(&streams[0], stream_bytes, &mut queue).await);
    }

    #[tokio::test]
    async fn message_that_waits_is_admitted_when_there_is_room() {
        let (pool, mut queue) = (PoolBudget::default(), Vec::new());
        let stream = pool.stream();
        while is_admitted(&stream, 1, &mut queue).await {}
        let waiting = tokio::spawn(async move { stream.admit(1).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        queue.pop();
        let permit = waiting.await.expect("the stream does not panic");
        assert!(permit.share.is_some());
    }

    #[tokio::test]
    async fn stream_that_ends_while_it_waits_leaves_nothing_behind() {
        let (pool, mut queue) = (PoolBudget::default(), Vec::new());
        // Each attempt to admit one more message than there is room for is given up.
        for _ in 0..2 {
            for stream in (0..8).map(|_| pool.stream()) {
                while is_admitted(&stream, 1, &mut queue).await {}
            }
            let MessageLimits { message_bytes, pool_bytes, .. } = MessageLimits::default();
            assert_eq!(pool_bytes / message_bytes, queue.len());
            assert!(pool.lock().waiting.is_empty());
            queue.clear();
        }
    }
}
