//! The gate of one pool: requests go at once, or wait here until they are granted a place.

mod place;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signalbox_flow::{
    Backlog, Detector, DropReason, FlowKey, FlowSettings, PoolPhase, Saturation, Ticket, Usage,
    WaitingRequest,
};
use tokio::sync::{Notify, oneshot};

use self::place::Behind;
use super::admission::{Verdict, verdict};
use super::local_grants::LocalGrants;
use super::owner_news::OwnerNews;
use super::queue::Queue;
use super::retry_after::retry_after_s;
use crate::config::{FlowControl, FlowMode};

pub(crate) use self::place::{Place, WaitEnd};

/// How long the owner may be silent, or not know this replica's flow control, before the replica grants by itself, in
/// milliseconds.
pub(crate) const OWNER_SILENCE_MS: u64 = 500;

/// Stands for "no band": lower than every priority.
const NONE: i64 = i64::MIN;

/// A request that has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) flow: FlowKey,
    /// Uncached prompt tokens and expected output tokens.
    pub(crate) tokens: u64,
    /// Bytes of the body that is kept for it.
    pub(crate) bytes: u64,
    /// The client's goal for the time to the first token, in milliseconds.
    pub(crate) ttft_goal_ms: Option<u32>,
    /// What waits at other replicas, in the request's band and in all.
    pub(crate) elsewhere: (Usage, Usage),
    /// How long the owner has been silent, in milliseconds.
    pub(crate) owner_silence_ms: u64,
}

/// Where requests wait at this replica while the pool is full. A request that goes at once takes no lock.
#[derive(Debug)]
pub(crate) struct Gate {
    mode: FlowMode,
    settings: Arc<FlowSettings>,
    inside: Mutex<Inside>,
    /// The highest priorities of which requests wait, here and at other replicas, or [`NONE`].
    here: AtomicI64,
    elsewhere: AtomicI64,
    /// Requests per second that go from the queues of all replicas, as the bits of an `f64`.
    drain_rate: AtomicU64,
    default_retry_after_s: u32,
    /// Notified when a request begins to wait.
    pub(crate) begun: Notify,
    /// Notified when there is a backlog to report.
    feedback_ready: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inside {
    queue: Queue<oneshot::Sender<WaitEnd>>,
    /// Grants of this replica while the owner is silent.
    local: Option<LocalGrants>,
    /// Whether the owner knows this replica's flow control, and when it last did or needed not.
    owner_knows: bool,
    known_at_ms: u64,
    is_closed: bool,
}

impl Gate {
    /// Returns the gate of a pool without endpoints.
    pub(crate) fn new(control: FlowControl, default_retry_after_s: u32, feedback_ready: Arc<Notify>) -> Self {
        let mut inside = Inside::default();
        inside.queue.set_phase(0, PoolPhase::Empty);
        Self {
            mode: control.mode,
            settings: control.settings,
            inside: Mutex::new(inside),
            here: AtomicI64::new(NONE),
            elsewhere: AtomicI64::new(NONE),
            drain_rate: AtomicU64::new(0),
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

    /// Returns what happens to a request of `priority` at this saturation of its endpoint and of the pool.
    pub(crate) fn verdict(
        &self,
        priority: i32,
        owner_silence_ms: u64,
        saturation: f64,
        pool: impl FnOnce() -> f64,
    ) -> Verdict {
        let highest_waiting = self.highest_waiting(owner_silence_ms);
        verdict(self.mode, &self.settings, (priority, highest_waiting), saturation, pool)
    }

    /// Returns whether a request that finds the pool without endpoints waits for the first one.
    pub(crate) fn is_waiting_room(&self) -> bool {
        self.mode == FlowMode::On
    }

    /// Returns the highest priority of which requests wait for a grant, at any replica. What an owner said that is silent now
    /// does not count: it would hold up requests until an owner is heard again.
    pub(crate) fn highest_waiting(&self, owner_silence_ms: u64) -> Option<i32> {
        let is_heard = owner_silence_ms < OWNER_SILENCE_MS;
        let elsewhere = if is_heard { self.elsewhere.load(Ordering::Relaxed) } else { NONE };
        i32::try_from(self.here.load(Ordering::Relaxed).max(elsewhere)).ok()
    }

    /// Lets a request wait.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(crate) fn enqueue(self: &Arc<Self>, now_ms: u64, arrival: Arrival) -> Result<Place, DropReason> {
        let Arrival { flow, tokens, bytes, ttft_goal_ms, elsewhere, owner_silence_ms } = arrival;
        let priority = self.highest_waiting(owner_silence_ms);
        let request = WaitingRequest { flow: flow.clone(), tokens, bytes, arrived_ms: now_ms, ttft_goal_ms };
        let (end, ended) = oneshot::channel();
        let (ticket, behind) = {
            let mut inside = self.lock();
            if inside.is_closed {
                return Err(DropReason::ShuttingDown);
            }
            let behind = Behind { priority, requests: inside.queue.total().requests };
            if behind.requests == 0 && inside.local.is_none() {
                // There was nothing to know.
                inside.known_at_ms = now_ms;
            }
            let ticket = inside.queue.enqueue(&self.settings, request, elsewhere, end)?;
            self.update(&inside);
            (ticket, behind)
        };
        self.begun.notify_one();
        self.feedback_ready.notify_one();
        Ok(Place::new(Arc::clone(self), ticket, ended, (flow, behind)))
    }

    /// Gives up the place of a request that still waits, or has been booked or refused since it was granted.
    pub(super) fn leave(&self, ticket: Ticket) {
        let mut inside = self.lock();
        if inside.queue.remove(ticket) {
            self.update(&inside);
            drop(inside);
            self.feedback_ready.notify_one();
        }
    }

    /// Applies what a new view says.
    pub(crate) fn apply(&self, now_ms: u64, news: &OwnerNews) {
        self.drain_rate.store(news.requests_per_second.to_bits(), Ordering::Relaxed);
        self.elsewhere.store(news.highest_elsewhere.map_or(NONE, i64::from), Ordering::Relaxed);
        let mut inside = self.lock();
        inside.owner_knows = news.knows_replica;
        inside.queue.set_phase(now_ms, news.phase);
        let grants = news.grants.iter();
        let granted = grants.flat_map(|(flow, up_to)| inside.queue.grant(flow, *up_to)).collect();
        self.finish(inside, granted, Vec::new());
    }

    /// While the owner is silent, grants to what waits here; `local` tells the saturation of this replica's share of the pool,
    /// if it has endpoints. Then drops what has waited for too long: first, so that what has waited for the first endpoint
    /// gets it. Returns whether anything waits.
    pub(crate) fn tick(
        &self,
        now_ms: u64,
        owner_silence_ms: u64,
        local: impl FnOnce() -> Option<Saturation>,
    ) -> bool {
        let is_owner_silent = self.lock().is_owner_silent(now_ms, owner_silence_ms);
        // It reads all endpoints: requests that arrive need not wait for that.
        let saturation = is_owner_silent.then(local).flatten();
        let mut inside = self.lock();
        let mut granted = Vec::new();
        if !is_owner_silent {
            inside.local = None;
        } else if let Some(saturation) = saturation {
            // Forgets flows that are gone: there may be no owner to whom the uplink reports them.
            let backlogs = inside.queue.take_backlogs(now_ms);
            let local = inside.local.get_or_insert_default();
            let grants = local.grant(&self.settings, &saturation, &backlogs, now_ms);
            granted.extend(grants.iter().flat_map(|grant| inside.queue.grant(&grant.flow, grant.up_to)));
        }
        let expired = inside.queue.expire(&self.settings, now_ms);
        let waits = inside.queue.total().requests > 0;
        self.finish(inside, granted, expired);
        waits
    }

    /// Refuses all that waits and all that will come: the pool is served no longer.
    pub(crate) fn close(&self) {
        let mut inside = self.lock();
        inside.is_closed = true;
        let dropped = inside.queue.drain();
        self.finish(inside, Vec::new(), dropped);
    }

    /// Returns all backlogs, to be reported. Those of flows of which nothing waits any more are returned once.
    pub(crate) fn take_backlogs(&self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        self.lock().queue.take_backlogs(now_ms)
    }

    /// Returns all backlogs of which something waits.
    pub(crate) fn backlogs(&self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        let mut backlogs = self.lock().queue.backlogs(now_ms);
        backlogs.retain(|(_, backlog)| backlog.usage.requests > 0);
        backlogs
    }

    /// Returns whether this replica grants by itself, because the owner is silent.
    pub(crate) fn grants_locally(&self) -> bool {
        self.lock().local.is_some()
    }

    /// Returns after how many seconds a request of `priority` that is refused should come again. `elsewhere` is what waits
    /// at other replicas.
    pub(crate) fn retry_after_s(&self, priority: i32, elsewhere: Usage) -> u32 {
        let ahead = self.lock().queue.waiting_from(priority) + elsewhere;
        let rate = f64::from_bits(self.drain_rate.load(Ordering::Relaxed));
        // One that may not wait is refused although nothing is ahead of it.
        let least_s = if priority < 0 { self.default_retry_after_s } else { 0 };
        retry_after_s(ahead, rate, self.default_retry_after_s).max(least_s)
    }

    /// Tells requests how their wait has ended.
    fn finish(
        &self,
        inside: MutexGuard<'_, Inside>,
        granted: Vec<oneshot::Sender<WaitEnd>>,
        dropped: Vec<(oneshot::Sender<WaitEnd>, DropReason)>,
    ) {
        self.update(&inside);
        drop(inside);
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

    /// Publishes what waits here to requests that arrive.
    fn update(&self, inside: &Inside) {
        self.here.store(inside.queue.highest_waiting().map_or(NONE, i64::from), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Returns whether the owner was not heard for so long, or does not know this replica's flow control for so long, that the
    /// replica has to grant by itself.
    fn is_owner_silent(&mut self, now_ms: u64, owner_silence_ms: u64) -> bool {
        if self.owner_knows {
            self.known_at_ms = now_ms;
        }
        owner_silence_ms >= OWNER_SILENCE_MS || now_ms.saturating_sub(self.known_at_ms) >= OWNER_SILENCE_MS
    }
}

#[cfg(test)]
mod tests;
