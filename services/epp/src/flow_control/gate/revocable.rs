//! The requests in flight that give up their places to more important ones if the owner orders it.

use std::pin::Pin;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use signalbox_admission::{OwnerNews, RevocableRequests, RevocableTicket};
use signalbox_flow::{Revocable, RevocableClass};
use signalbox_state::GaugeScope;
use tokio::sync::oneshot;

use super::Gate;

/// A request in flight that can be revoked. Dropping it says that the response begins, or that the request has ended. That of
/// a request that was revoked is kept until its booking is released: until then, its order counts as not followed.
#[derive(Debug)]
pub(crate) struct RevocablePlace {
    gate: Arc<Gate>,
    ticket: RevocableTicket,
    revoked: oneshot::Receiver<()>,
    /// The priority of the request.
    pub(crate) priority: i32,
}

impl RevocablePlace {
    /// Returns once the request is to be revoked.
    pub(crate) fn poll_revoked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // The gate keeps the other end until this place is dropped.
        Pin::new(&mut self.revoked).poll(context).map(drop)
    }

    /// Records that the request's prompt is processed.
    pub(crate) fn record_processed(&mut self) {
        self.gate.revocable().record_processed(&mut self.ticket);
        self.gate.feedback_ready.notify_one();
    }
}

impl Drop for RevocablePlace {
    fn drop(&mut self) {
        if self.gate.revocable().remove(self.ticket) {
            self.gate.feedback_ready.notify_one();
        }
    }
}

impl Gate {
    /// Adds a request of `priority` that was sent to an endpoint, with its uncached prompt tokens and expected output tokens.
    /// Returns `None` if it is not revoked whatever waits.
    pub(crate) fn add_revocable(
        self: &Arc<Self>,
        now_ms: u64,
        priority: i32,
        tokens: u64,
    ) -> Option<RevocablePlace> {
        if priority >= 0 || !self.settings().is_some_and(|settings| settings.revokes) {
            return None;
        }
        let (revoke, revoked) = oneshot::channel();
        let ticket = self.revocable().insert(now_ms, priority, tokens, revoke);
        self.feedback_ready.notify_one();
        Some(RevocablePlace { gate: Arc::clone(self), ticket, revoked, priority })
    }

    /// Returns what can be revoked of each class, to be reported.
    pub(crate) fn report_revocable(
        &self,
        now_ms: u64,
        scope: GaugeScope,
    ) -> Vec<(RevocableClass, Revocable)> {
        self.revocable().report(now_ms, scope)
    }

    /// Follows the orders of a new view, which was applied to what waits.
    pub(super) fn revoke(&self, news: &OwnerNews) {
        if news.revocations.is_empty() {
            return;
        }
        let orders = news.revocations.iter().copied();
        let revoked = self.revocable().follow(self.highest_waiting(0), orders);
        self.feedback_ready.notify_one();
        for revoke in revoked {
            // Its response may have just begun.
            let _ = revoke.send(());
        }
    }

    fn revocable(&self) -> MutexGuard<'_, RevocableRequests<oneshot::Sender<()>>> {
        self.revocable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
