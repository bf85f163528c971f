//! How the request of an exchange gives up its place to a more important one that waits.

use std::task::{Context, Poll, ready};

use signalbox_extproc::Event;
use signalbox_flow::DropReason;

use super::Exchange;

impl Exchange {
    /// Lets a request that was sent to an endpoint be revoked, if its priority is negative and it can be answered until its
    /// response begins.
    pub(super) fn make_revocable(&mut self, priority: i32, tokens: u64) {
        if self.conversation.can_be_revoked() {
            self.revocable = self.picker.gate.add_revocable(self.picker.now_ms(), priority, tokens);
        }
    }

    /// Says that a request whose response has begun, or goes by unseen, is not revoked any more.
    pub(super) fn keep_revocable_if_unanswered(&mut self) {
        if self.revocable.is_some() && !self.conversation.can_be_revoked() {
            self.revocable = None;
        }
    }

    /// Revokes the request, if it is to be.
    pub(super) fn poll_revoked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(place) = &mut self.revocable else { return Poll::Pending };
        ready!(place.poll_revoked(context));
        self.guarded(Self::revoke);
        Poll::Ready(())
    }

    /// Answers the request instead of its endpoint, and releases its booking.
    fn revoke(&mut self) {
        let Some(place) = self.revocable.take() else { return };
        self.picker.metrics.requests.revocations.count_issued(place.priority);
        self.is_revoked = true;
        let refusal = self.picker.refuse_for(DropReason::Revoked, place.priority);
        self.handle(Event::Revoked(refusal));
        // Before the place: until then, the revocation counts as not done.
        self.booked = None;
    }
}
