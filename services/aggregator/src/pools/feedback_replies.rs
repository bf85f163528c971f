//! The owner's replies to one replica's feedback, on their way to its stream.

use std::sync::{Arc, Mutex, PoisonError};

use signalbox_state::{FeedbackReply, FeedbackReplyQueue};
use tokio::sync::Notify;

/// Replies that wait until the replica reads them. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct FeedbackReplies(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queued: Mutex<FeedbackReplyQueue>,
    added: Notify,
}

impl FeedbackReplies {
    /// Queues a reply.
    pub(crate) fn push(&self, reply: FeedbackReply) {
        self.0.queued.lock().unwrap_or_else(PoisonError::into_inner).push(reply);
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
        self.0.queued.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::Origin;

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
}
