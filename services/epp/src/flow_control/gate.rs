//! The gate of one pool: requests go at once, or wait here until they are granted a place.

mod place;
mod revocable;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signalbox_admission::{
    Admitter, Arrival, Behind, Ended, FlowControl, FlowMode, GateCore, HighestWaiting, OwnerNews,
    RevocableRequests,
};
use signalbox_flow::{Backlog, Detector, DropReason, FlowKey, FlowSettings, Saturation, Ticket, Usage};
use tokio::sync::{Notify, oneshot};

pub(crate) use self::place::{Place, WaitEnd};
pub(crate) use self::revocable::RevocablePlace;

/// Where requests wait at this replica while the pool is full. A request that goes at once takes no lock, unless it
/// can be revoked.
#[derive(Debug)]
pub(crate) struct Gate {
    mode: FlowMode,
    settings: Arc<FlowSettings>,
    core: Mutex<GateCore<oneshot::Sender<WaitEnd>>>,
    /// The requests in flight that can be revoked.
    revocable: Mutex<RevocableRequests<oneshot::Sender<()>>>,
    /// As in the core, for requests that arrive.
    highest_waiting: HighestWaiting,
    default_retry_after_s: u32,
    /// Notified when a request begins to wait.
    pub(crate) begun: Notify,
    /// Notified when there is a backlog to report.
    feedback_ready: Arc<Notify>,
}

impl Gate {
    /// Returns the gate of a pool without endpoints.
    pub(crate) fn new(control: FlowControl, default_retry_after_s: u32, feedback_ready: Arc<Notify>) -> Self {
        Self {
            mode: control.mode,
            settings: control.settings,
            core: Mutex::default(),
            revocable: Mutex::default(),
            highest_waiting: HighestWaiting::default(),
            default_retry_after_s,
            begun: Notify::new(),
            feedback_ready,
        }
    }

    /// Returns the settings, if requests can wait.
    pub(crate) fn settings(&self) -> Option<&Arc<FlowSettings>> {
        (self.mode == FlowMode::On).then_some(&self.settings)
    }

    /// Returns how saturation is measured.
    pub(crate) fn detector(&self) -> &Detector {
        &self.settings.detector
    }

    /// Returns what decides whether a request goes at once.
    pub(crate) fn admitter(&self, (owner_silence_ms, view_age_ms): (u64, u64)) -> Admitter<'_> {
        let highest_waiting = self.highest_waiting(owner_silence_ms);
        Admitter { mode: self.mode, settings: &self.settings, highest_waiting, view_age_ms }
    }

    /// Returns whether a request that finds the pool without endpoints waits for the first one.
    pub(crate) fn is_waiting_room(&self) -> bool {
        self.mode == FlowMode::On
    }

    /// Returns the highest priority of which requests wait for a grant, at any replica.
    pub(crate) fn highest_waiting(&self, owner_silence_ms: u64) -> Option<i32> {
        self.highest_waiting.at(owner_silence_ms)
    }

    /// Lets a request wait.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(crate) fn enqueue(self: &Arc<Self>, now_ms: u64, arrival: Arrival) -> Result<Place, DropReason> {
        let flow = arrival.flow.clone();
        let (end, ended) = oneshot::channel();
        let mut core = self.lock();
        let (ticket, behind) = core.enqueue(&self.settings, now_ms, arrival, end)?;
        self.highest_waiting.publish(&core);
        drop(core);
        self.begun.notify_one();
        self.feedback_ready.notify_one();
        Ok(Place::new(Arc::clone(self), ticket, ended, (flow, behind)))
    }

    /// Returns what a request that arrives now would wait behind.
    ///
    /// # Errors
    /// Why it could not wait.
    pub(crate) fn expect(&self, arrival: &Arrival) -> Result<Behind, DropReason> {
        self.lock().expect(&self.settings, arrival)
    }

    /// Gives up the place of a request that still waits, or has been booked or refused since it was granted.
    pub(super) fn leave(&self, ticket: Ticket) {
        let mut core = self.lock();
        if core.leave(ticket) {
            self.highest_waiting.publish(&core);
            drop(core);
            self.feedback_ready.notify_one();
        }
    }

    /// Applies what a new view says.
    pub(crate) fn apply(&self, now_ms: u64, news: &OwnerNews) {
        let mut core = self.lock();
        let ended = core.apply(now_ms, news);
        self.finish(core, ended);
        self.revoke(news);
    }

    /// While the owner is silent, grants to what waits here; `local` tells the saturation of this replica's share of the pool,
    /// if it has endpoints. Drops what has waited for too long. Returns whether anything waits.
    pub(crate) fn tick(
        &self,
        now_ms: u64,
        owner_silence_ms: u64,
        local: impl FnOnce() -> Option<Saturation>,
    ) -> bool {
        let is_owner_silent = self.lock().is_owner_silent(now_ms, owner_silence_ms);
        // It reads all endpoints: requests that arrive need not wait for that.
        let saturation = is_owner_silent.then(local).flatten();
        let mut core = self.lock();
        let ended = core.tick(&self.settings, now_ms, is_owner_silent, saturation);
        let waits = core.waits();
        self.finish(core, ended);
        waits
    }

    /// Refuses all that waits and all that will come: the pool is served no longer.
    pub(crate) fn close(&self) {
        let mut core = self.lock();
        let ended = core.close();
        self.finish(core, ended);
    }

    /// Returns all backlogs, to be reported. Those of flows of which nothing waits any more are returned once.
    pub(crate) fn take_backlogs(&self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        self.lock().take_backlogs(now_ms)
    }

    /// Returns all backlogs of which something waits.
    pub(crate) fn backlogs(&self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        self.lock().backlogs(now_ms)
    }

    /// Returns whether this replica grants by itself, because the owner is silent.
    pub(crate) fn grants_locally(&self) -> bool {
        self.lock().grants_locally()
    }

    /// Returns after how many seconds a request of `priority` that is refused should come again. `elsewhere` is what waits
    /// at other replicas.
    pub(crate) fn retry_after_s(&self, priority: i32, elsewhere: Usage) -> u32 {
        self.lock().retry_after_s(priority, elsewhere, self.default_retry_after_s)
    }

    /// Tells requests how their wait has ended.
    fn finish(
        &self,
        core: MutexGuard<'_, GateCore<oneshot::Sender<WaitEnd>>>,
        Ended { granted, dropped }: Ended<oneshot::Sender<WaitEnd>>,
    ) {
        self.highest_waiting.publish(&core);
        drop(core);
        if !granted.is_empty() || !dropped.is_empty() {
            self.feedback_ready.notify_one();
        }
        // A request whose client has just gone is told nothing.
        for end in granted {
            let _ = end.send(WaitEnd::Granted);
        }
        for (end, reason) in dropped {
            let _ = end.send(WaitEnd::Dropped(reason));
        }
    }

    fn lock(&self) -> MutexGuard<'_, GateCore<oneshot::Sender<WaitEnd>>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
