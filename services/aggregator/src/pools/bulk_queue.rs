//! The messages with content that queue for a pool's actor, apart from its mailbox.
//!
//! There can be many of them, and they can take long. The actor handles them in slices between the messages of its
//! mailbox: the time, the coordinator's answers, and who follows.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ractor::ActorRef;
use signalbox_peers::StreamEvent;
use signalbox_state::{Feedback, FeedbackRest, Frame};

use super::feedback_replies::FeedbackReplies;
use super::message::{CollectorReports, PoolOwnerMessage};
use super::message_budget::MessagePermit;

/// A message with content. Those from other processes carry a permit, which bounds the queue.
#[derive(Debug)]
pub(crate) enum BulkMessage {
    Reports(CollectorReports, MessagePermit),
    Feedback {
        feedback: Feedback,
        replies: FeedbackReplies,
        permit: MessagePermit,
    },
    /// What is left of a batch of feedback.
    FeedbackRest {
        rest: FeedbackRest,
        replies: FeedbackReplies,
        permit: MessagePermit,
    },
    /// A part of a follower's reply to a fetch request.
    FetchReply {
        follower: u64,
        frame: Frame,
        permit: MessagePermit,
    },
    /// A follower's stream has ended. It came through the mailbox, so all that the follower sent is handled before.
    FollowerLeft(u64),
    /// The pool has work left, which it does in parts.
    Continue,
    /// An event on one of this aggregator's streams to other aggregators.
    StreamEvent(StreamEvent),
}

#[derive(Debug, Default)]
struct Queue {
    /// The messages, and when each arrived.
    messages: VecDeque<(Instant, BulkMessage)>,
    /// Whether the actor's mailbox contains the message that it must handle a slice.
    is_announced: bool,
}

/// The queue of one pool.
#[derive(Debug, Default)]
pub(crate) struct BulkQueue(Mutex<Queue>);

/// The actor has stopped.
#[derive(Debug)]
pub(crate) struct ActorStopped;

impl BulkQueue {
    /// Adds a message for `actor`.
    pub(crate) fn push(
        &self,
        actor: &ActorRef<PoolOwnerMessage>,
        message: BulkMessage,
    ) -> Result<(), ActorStopped> {
        let mut queue = self.lock();
        if !queue.is_announced {
            actor.cast(PoolOwnerMessage::BulkQueued).map_err(|_| ActorStopped)?;
            queue.is_announced = true;
        }
        queue.messages.push_back((Instant::now(), message));
        Ok(())
    }

    /// Adds a message within a slice, to be handled before all others.
    pub(crate) fn push_first(&self, message: BulkMessage) {
        let mut queue = self.lock();
        // What it is the rest of has arrived before the other messages. How long those wait is what counts.
        let arrived = queue.messages.front().map_or_else(Instant::now, |(arrived, _)| *arrived);
        queue.messages.push_front((arrived, message));
    }

    /// Takes the next message of a slice. The slice has ended if there is none.
    pub(crate) fn next(&self) -> Option<BulkMessage> {
        let mut queue = self.lock();
        let next = queue.messages.pop_front().map(|(_, message)| message);
        queue.is_announced = next.is_some();
        next
    }

    /// Returns for how long the oldest message has waited.
    pub(crate) fn waiting(&self) -> Duration {
        self.lock().messages.front().map_or(Duration::ZERO, |(arrived, _)| arrived.elapsed())
    }

    /// Ends a slice although there may be more messages, for which `actor` gets another slice after what is in its
    /// mailbox.
    pub(crate) fn continue_later(&self, actor: &ActorRef<PoolOwnerMessage>) {
        let mut queue = self.lock();
        queue.is_announced = !queue.messages.is_empty() && actor.cast(PoolOwnerMessage::BulkQueued).is_ok();
    }

    /// Removes what was sent to an actor that has been restarted.
    pub(crate) fn clear(&self) {
        *self.lock() = Queue::default();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ractor::{Actor, ActorProcessingErr, ActorRef};
    use tokio::sync::mpsc;

    use super::*;

    /// An actor that takes one message with content in each slice, and reports what it handles.
    struct Slow(Arc<BulkQueue>, mpsc::UnboundedSender<String>);

    impl Actor for Slow {
        type Msg = PoolOwnerMessage;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<PoolOwnerMessage>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(
            &self,
            myself: ActorRef<PoolOwnerMessage>,
            message: PoolOwnerMessage,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            let handled = match message {
                PoolOwnerMessage::BulkQueued => {
                    let next = self.0.next();
                    self.0.continue_later(&myself);
                    next.map(|message| format!("{message:?}"))
                }
                message => Some(format!("{message:?}")),
            };
            handled.into_iter().for_each(|handled| drop(self.1.send(handled)));
            Ok(())
        }
    }

    /// A message that is not handled by then was lost.
    const DEADLINE: Duration = Duration::from_secs(60);

    fn closed(stream: u64) -> BulkMessage {
        BulkMessage::StreamEvent(StreamEvent::Closed { stream })
    }

    #[tokio::test]
    async fn what_is_in_the_mailbox_waits_for_one_slice() {
        let (queue, (handled, mut reports)) = (Arc::new(BulkQueue::default()), mpsc::unbounded_channel());
        // The runtime has one thread: nothing is handled before this test waits.
        let slow = Slow(Arc::clone(&queue), handled);
        let (actor, ended) = Actor::spawn(None, slow, ()).await.unwrap();
        (1..=50).for_each(|stream| queue.push(&actor, closed(stream)).unwrap());
        actor.cast(PoolOwnerMessage::Tick).unwrap();
        let mut order = Vec::new();
        let all_handled = async {
            for _ in 0..51 {
                order.push(reports.recv().await.unwrap());
            }
        };
        let is_in_time = tokio::time::timeout(DEADLINE, all_handled).await.is_ok();
        assert!(is_in_time, "of 51 messages, only {} were handled: {order:?}", order.len());
        let is_tick = |handled: &String| handled.contains("Tick");
        assert_eq!(Some(1), order.iter().position(is_tick), "{order:?}");
        order.retain(|handled| !is_tick(handled));
        let expected: Vec<_> = (1..=50).map(|stream| format!("{:?}", closed(stream))).collect();
        assert_eq!(expected, order, "nothing is lost or overtaken");

        queue.push(&actor, closed(51)).unwrap();
        assert!(reports.recv().await.unwrap().contains("51"), "it is told of what comes later");
        [52, 53].into_iter().for_each(|stream| queue.push(&actor, closed(stream)).unwrap());
        let begun = queue.next().map(|message| format!("{message:?}"));
        queue.push_first(closed(54));
        queue.continue_later(&actor);
        assert_eq!(Some(format!("{:?}", closed(52))), begun);
        for next in [54, 53] {
            assert_eq!(
                Some(format!("{:?}", closed(next))),
                reports.recv().await,
                "the rest of it comes first"
            );
        }
        actor.stop(None);
        ended.await.unwrap();
        queue.clear();
        assert!(queue.push(&actor, closed(55)).is_err());
        assert!(queue.next().is_none());
    }
}
