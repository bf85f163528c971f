//! The requests that wait at this replica, each with what it is told when its wait ends.

use std::collections::HashMap;

use signalbox_flow::{
    Backlog, DropReason, FlowKey, FlowSettings, PoolPhase, Ticket, Usage, WaitingRequest, WaitingRequests,
};

/// The requests that wait at this replica. Each leaves exactly once, and only then its waiter `W` is handed back.
#[derive(Debug)]
pub(super) struct Queue<W> {
    requests: WaitingRequests,
    waiters: HashMap<Ticket, W>,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { requests: WaitingRequests::default(), waiters: HashMap::new() }
    }
}

impl<W> Queue<W> {
    /// Adds a request, if the limits leave room for it. `elsewhere` is what waits at other replicas, in the request's band
    /// and in all.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(super) fn enqueue(
        &mut self,
        settings: &FlowSettings,
        request: WaitingRequest,
        elsewhere: (Usage, Usage),
        waiter: W,
    ) -> Result<Ticket, DropReason> {
        let ticket = self.requests.enqueue(settings, request, elsewhere)?;
        self.waiters.insert(ticket, waiter);
        Ok(ticket)
    }

    /// Removes a request whose client has gone. Returns its waiter if it waited.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<W> {
        self.requests.cancel(ticket);
        self.waiters.remove(&ticket)
    }

    /// Lets requests of a flow go until `up_to` have gone in all, and returns their waiters in order.
    pub(super) fn grant(&mut self, flow: &FlowKey, up_to: u64) -> Vec<W> {
        let granted = self.requests.grant(flow, up_to);
        granted.into_iter().filter_map(|ticket| self.waiters.remove(&ticket)).collect()
    }

    /// Drops the requests that have waited for as long as they may.
    pub(super) fn expire(&mut self, settings: &FlowSettings, now_ms: u64) -> Vec<(W, DropReason)> {
        let dropped = self.requests.expire(settings, now_ms);
        dropped.into_iter().filter_map(|of| Some((self.waiters.remove(&of.ticket)?, of.reason))).collect()
    }

    /// Drops all requests, because the replica shuts down.
    pub(super) fn drain(&mut self) -> Vec<(W, DropReason)> {
        let dropped = self.requests.drain();
        dropped.into_iter().filter_map(|of| Some((self.waiters.remove(&of.ticket)?, of.reason))).collect()
    }

    /// Records whether the pool has endpoints.
    pub(super) fn set_phase(&mut self, now_ms: u64, phase: PoolPhase) {
        self.requests.set_phase(now_ms, phase);
    }

    /// Returns what waits of each flow. Flows of which nothing waits may be listed.
    pub(super) fn backlogs(&self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        self.requests.backlogs(now_ms).map(|(flow, backlog)| (flow.clone(), backlog)).collect()
    }

    /// Returns what waits of each flow, to be reported. Those of flows of which nothing waits any more are returned once.
    pub(super) fn take_backlogs(&mut self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        let backlogs = self.backlogs(now_ms);
        self.requests.forget_empty();
        backlogs
    }

    /// Returns the highest priority of which requests wait; `None` if none waits.
    pub(super) fn highest_waiting(&self) -> Option<i32> {
        self.requests.highest_waiting()
    }

    /// Returns all that waits.
    pub(super) fn total(&self) -> Usage {
        self.requests.total()
    }
}

#[cfg(test)]
mod tests;
