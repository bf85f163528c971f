//! The owner's replies to one replica's feedback, until its stream has sent them.

use std::collections::BTreeSet;

use signalbox_types::Origin;

/// Maximum of requested chains that queue: more than the owner waits for. A replica that does not read loses the oldest.
const MAX_QUEUED_CHAINS: usize = 4_096;

/// The owner's reply to feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackReply {
    /// Send the whole chain of this placement, because its anchor is unknown.
    NeedChain(u64),
    /// This origin has expired: continue with a new one. The owner replies so to each batch in flight; only
    /// the first reply counts.
    Expired(Origin),
}

/// Replies that wait until the replica reads them. None is dropped when many come at once.
#[derive(Debug, Default)]
pub struct FeedbackReplyQueue {
    /// Only the last one counts.
    expired: Option<Origin>,
    chains: BTreeSet<u64>,
}

impl FeedbackReplyQueue {
    /// Queues a reply.
    pub fn push(&mut self, reply: FeedbackReply) {
        match reply {
            FeedbackReply::Expired(origin) => self.expired = Some(origin),
            FeedbackReply::NeedChain(number) => {
                self.chains.insert(number);
                if self.chains.len() > MAX_QUEUED_CHAINS {
                    self.chains.pop_first();
                }
            }
        }
    }

    /// Takes the next reply.
    pub fn pop(&mut self) -> Option<FeedbackReply> {
        let expired = self.expired.take().map(FeedbackReply::Expired);
        expired.or_else(|| self.chains.pop_first().map(FeedbackReply::NeedChain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_that_does_not_read_loses_the_oldest() {
        let mut replies = FeedbackReplyQueue::default();
        (0..=MAX_QUEUED_CHAINS as u64).for_each(|number| replies.push(FeedbackReply::NeedChain(number)));
        replies.push(FeedbackReply::Expired(Origin(3)));
        assert_eq!(Some(FeedbackReply::Expired(Origin(3))), replies.pop());
        assert_eq!(Some(FeedbackReply::NeedChain(1)), replies.pop());
    }
}
