//! The owner's replies to one replica's feedback, on their way to its stream.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use signalbox_types::Origin;
use signalbox_wire::FeedbackReply;
use tokio::sync::Notify;

/// Maximum of requested chains that queue: more than the owner waits for. A replica that does not read loses the oldest.
const MAX_QUEUED_CHAINS: usize = 4_096;

/// Replies that wait until the replica reads them. None is dropped when many come at once. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct FeedbackReplies(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queued: Mutex<Queued>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Queued {
    /// Only the last one counts.
    expired: Option<Origin>,
    chains: BTreeSet<u64>,
}

impl FeedbackReplies {
    /// Queues a reply.
    pub(crate) fn push(&self, reply: FeedbackReply) {
        let mut queued = self.0.queued.lock().unwrap_or_else(PoisonError::into_inner);
        match reply {
            FeedbackReply::Expired(origin) => queued.expired = Some(origin),
            FeedbackReply::NeedChain(number) => {
                queued.chains.insert(number);
                if queued.chains.len() > MAX_QUEUED_CHAINS {
                    queued.chains.pop_first();
                }
            }
        }
        self.0.added.notify_one();
    }

    /// Waits for the next reply.
    pub(crate) async fn next(&self) -> FeedbackReply {
        loop {
            if let Some(reply) = self.pop() {
                return reply;
            }
            self.0.added.notified().await;
        }
    }

    fn pop(&self) -> Option<FeedbackReply> {
        let mut queued = self.0.queued.lock().unwrap_or_else(PoisonError::into_inner);
        let expired = queued.expired.take().map(FeedbackReply::Expired);
        expired.or_else(|| queued.chains.pop_first().map(FeedbackReply::NeedChain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_requests_for_chains_at_once_are_all_delivered() {
        let replies = FeedbackReplies::default();
        (0..1_024).for_each(|number| replies.push(FeedbackReply::NeedChain(number)));
        replies.push(FeedbackReply::Expired(Origin(3)));
        assert_eq!(FeedbackReply::Expired(Origin(3)), replies.next().await);
        for number in 0..1_024 {
            assert_eq!(FeedbackReply::NeedChain(number), replies.next().await);
        }
        let waiting = tokio::spawn({
            let replies = replies.clone();
            async move { replies.next().await }
        });
        tokio::task::yield_now().await;
        replies.push(FeedbackReply::NeedChain(7));
        assert_eq!(FeedbackReply::NeedChain(7), waiting.await.unwrap());
    }

    #[test]
    fn replica_that_does_not_read_loses_the_oldest() {
        let replies = FeedbackReplies::default();
        (0..=MAX_QUEUED_CHAINS as u64).for_each(|number| replies.push(FeedbackReply::NeedChain(number)));
        assert_eq!(Some(FeedbackReply::NeedChain(1)), replies.pop());
    }
}
