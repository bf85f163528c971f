//! Messages with content, which wait in the pool's bulk queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signalbox_peers::StreamEvent;
use signalbox_state::{
    FeedbackReply, FollowerEvent, FromFollower, PoolEffect, PoolInput, RoleEffect, RoleInput,
};

use super::State;
use crate::pools::{BulkMessage, CollectorReports, FeedbackReplies, MessagePermit, PoolOwnerRef};

/// How long messages of the bulk queue are handled before those of the mailbox get their turn.
const BULK_SLICE: Duration = Duration::from_millis(2);

impl State {
    /// Handles messages of the bulk queue for a short time.
    pub(super) fn handle_bulk(&mut self, myself: &PoolOwnerRef) {
        let (handle, started) = (Arc::clone(&self.setup.handle), Instant::now());
        while let Some(message) = handle.bulk.next() {
            self.handle_bulk_message(myself, message);
            handle.progress.record();
            if started.elapsed() >= BULK_SLICE {
                return handle.bulk.continue_later(myself);
            }
        }
    }

    fn handle_bulk_message(&mut self, myself: &PoolOwnerRef, message: BulkMessage) {
        match message {
            BulkMessage::Reports(reports, _permit) => self.handle_reports(myself, reports),
            BulkMessage::Feedback { feedback, replies, permit } => {
                self.handle_feedback(myself, PoolInput::Feedback(feedback), replies, permit);
            }
            BulkMessage::FeedbackRest { rest, replies, permit } => {
                self.handle_feedback(myself, PoolInput::FeedbackRest(rest), replies, permit);
            }
            BulkMessage::FetchReply { follower, frame, permit: _permit } => {
                let reply = FromFollower::FetchReply(frame);
                self.apply(myself, RoleInput::FollowerMessage(follower, reply));
            }
            BulkMessage::FollowerLeft(follower) => self.apply(myself, RoleInput::FollowerLeft(follower)),
            BulkMessage::Continue => {
                self.is_continuing = false;
                self.apply(myself, RoleInput::Pool(PoolInput::Continue));
            }
            BulkMessage::StreamEvent(event) => self.handle_stream_event(myself, event),
        }
    }

    /// Handles a batch of feedback, or what is left of it. What is still left then is handled next, because placements are
    /// handled in order.
    fn handle_feedback(
        &mut self,
        myself: &PoolOwnerRef,
        feedback: PoolInput,
        replies: FeedbackReplies,
        permit: MessagePermit,
    ) {
        let mut left = None;
        for effect in self.role.handle(self.now_ms(), RoleInput::Pool(feedback)) {
            let reply = match effect {
                RoleEffect::Pool(PoolEffect::NeedChain(_, number)) => {
                    self.setup.metrics.chains_requested.inc();
                    FeedbackReply::NeedChain(number)
                }
                RoleEffect::Pool(PoolEffect::Expired(origin)) => FeedbackReply::Expired(origin),
                RoleEffect::Pool(PoolEffect::FeedbackLeft(rest)) => {
                    left = Some(rest);
                    continue;
                }
                effect => {
                    self.perform(myself, effect);
                    continue;
                }
            };
            replies.push(reply);
        }
        if let Some(rest) = left {
            self.setup.handle.bulk.push_first(BulkMessage::FeedbackRest { rest, replies, permit });
        }
    }

    fn handle_reports(&mut self, myself: &PoolOwnerRef, reports: CollectorReports) {
        let CollectorReports { stream, epoch, reports } = reports;
        self.apply(myself, RoleInput::EpochHeard(epoch));
        self.apply(myself, RoleInput::Pool(PoolInput::Reports(stream, reports)));
    }

    fn handle_stream_event(&mut self, myself: &PoolOwnerRef, event: StreamEvent) {
        match event {
            StreamEvent::Opened { stream, sender, .. } => {
                self.aggregators.insert(stream, sender);
                self.apply(myself, RoleInput::PeerEvent(stream, FollowerEvent::Connected));
            }
            StreamEvent::Received { stream, message, permit } => {
                self.apply(myself, RoleInput::PeerEvent(stream, FollowerEvent::Received(message)));
                drop(permit);
            }
            StreamEvent::Closed { stream } => {
                self.aggregators.remove(&stream);
                self.apply(myself, RoleInput::PeerEvent(stream, FollowerEvent::Disconnected));
            }
        }
    }

    /// Lets the pool go on with what it left unfinished, after the messages that wait now.
    pub(super) fn continue_later(&mut self, myself: &PoolOwnerRef) {
        if !self.is_continuing {
            // This fails if the actor has been stopped. Then there is nothing left to do.
            self.is_continuing = self.setup.handle.bulk.push(myself, BulkMessage::Continue).is_ok();
        }
    }
}
