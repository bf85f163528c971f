//! The requests that wait at this replica, each with what it is told when its wait ends.

use std::collections::{BTreeMap, HashMap};

use signalbox_flow::{
    Backlog, DropReason, FlowKey, FlowSettings, PoolPhase, Ticket, Usage, WaitingRequest, WaitingRequests,
};

/// The requests that wait at this replica. Each leaves exactly once, and only then its waiter `W` is handed back.
///
/// A request that was granted a place is *on its way* until it is booked at an endpoint. Meanwhile it is reported as waiting
/// with its grant unused: otherwise it would count nowhere, and its place would be granted once more.
#[derive(Debug)]
pub(crate) struct Queue<W> {
    requests: WaitingRequests,
    waiters: HashMap<Ticket, Waiter<W>>,
    /// Granted requests that are on their way, and their sums.
    leaving: HashMap<Ticket, (FlowKey, Usage)>,
    leaving_flows: BTreeMap<FlowKey, Usage>,
}

/// A request that waits.
#[derive(Debug)]
struct Waiter<W> {
    waiter: W,
    flow: FlowKey,
    usage: Usage,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self {
            requests: WaitingRequests::default(),
            waiters: HashMap::new(),
            leaving: HashMap::new(),
            leaving_flows: BTreeMap::new(),
        }
    }
}

impl<W> Queue<W> {
    /// Adds a request, if the limits leave room for it. `elsewhere` is what waits at other replicas, in the request's band
    /// and in all.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(crate) fn enqueue(
        &mut self,
        settings: &FlowSettings,
        request: WaitingRequest,
        elsewhere: (Usage, Usage),
        waiter: W,
    ) -> Result<Ticket, DropReason> {
        let usage = Usage { requests: 1, bytes: request.bytes, tokens: request.tokens };
        let ticket = self.requests.enqueue(settings, request, elsewhere)?;
        // It may share a flow with others.
        let flow = self.requests.flow(ticket).cloned().ok_or(DropReason::Cancelled)?;
        self.waiters.insert(ticket, Waiter { waiter, flow, usage });
        Ok(ticket)
    }

    /// Checks whether a request of `flow` that is worth `more` may wait. `elsewhere` is what waits at other replicas, in the
    /// request's band and in all.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(crate) fn check(
        &self,
        settings: &FlowSettings,
        flow: &FlowKey,
        more: Usage,
        elsewhere: (Usage, Usage),
    ) -> Result<(), DropReason> {
        self.requests.check(settings, flow, more, elsewhere)
    }

    /// Removes a request that waits, or that was on its way and is booked or has ended. Returns whether it did either.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> bool {
        if let Some((flow, usage)) = self.leaving.remove(&ticket) {
            let sum = self.leaving_flows.entry(flow.clone()).or_default();
            *sum = *sum - usage;
            if sum.requests == 0 {
                self.leaving_flows.remove(&flow);
            }
            return true;
        }
        self.requests.cancel(ticket);
        self.waiters.remove(&ticket).is_some()
    }

    /// Lets requests of a flow go until `up_to` have gone in all, and returns their waiters in order.
    pub(crate) fn grant(&mut self, flow: &FlowKey, up_to: u64) -> Vec<W> {
        let granted = self.requests.grant(flow, up_to);
        let mut waiters = Vec::new();
        for ticket in granted {
            let Some(Waiter { waiter, flow, usage }) = self.waiters.remove(&ticket) else { continue };
            *self.leaving_flows.entry(flow.clone()).or_default() += usage;
            self.leaving.insert(ticket, (flow, usage));
            waiters.push(waiter);
        }
        waiters
    }

    /// Drops the requests that have waited for as long as they may.
    pub(crate) fn expire(&mut self, settings: &FlowSettings, now_ms: u64) -> Vec<(W, DropReason)> {
        let dropped = self.requests.expire(settings, now_ms);
        dropped.into_iter().filter_map(|of| Some((self.take_waiter(of.ticket)?, of.reason))).collect()
    }

    /// Drops all requests, because the replica shuts down.
    pub(crate) fn drain(&mut self) -> Vec<(W, DropReason)> {
        let dropped = self.requests.drain();
        dropped.into_iter().filter_map(|of| Some((self.take_waiter(of.ticket)?, of.reason))).collect()
    }

    /// Records whether the pool has endpoints.
    pub(crate) fn set_phase(&mut self, now_ms: u64, phase: PoolPhase) {
        self.requests.set_phase(now_ms, phase);
    }

    /// Returns what waits of each flow, with the requests on their way. Flows of which nothing waits may be listed.
    pub(crate) fn backlogs(&self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        let with_leaving = |(flow, backlog): (&FlowKey, Backlog)| {
            let leaving = self.leaving_flows.get(flow).copied().unwrap_or_default();
            let released = backlog.released.saturating_sub(leaving.requests);
            (flow.clone(), Backlog { usage: backlog.usage + leaving, released, ..backlog })
        };
        self.requests.backlogs(now_ms).map(with_leaving).collect()
    }

    /// Returns what waits of each flow, to be reported. Those of flows of which nothing waits any more are returned once.
    pub(crate) fn take_backlogs(&mut self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        let backlogs = self.backlogs(now_ms);
        let leaving = &self.leaving_flows;
        self.requests.forget_empty_unless(|flow| leaving.contains_key(flow));
        backlogs
    }

    /// Returns the highest priority of which requests wait; `None` if none waits.
    pub(crate) fn highest_waiting(&self) -> Option<i32> {
        self.requests.highest_waiting()
    }

    /// Returns what waits of `priority` and of higher ones, with the requests on their way.
    pub(crate) fn waiting_from(&self, priority: i32) -> Usage {
        let leaving = self.leaving_flows.iter().filter(|(flow, _)| flow.priority >= priority);
        leaving.fold(self.requests.waiting_from(priority), |sum, (_, usage)| sum + *usage)
    }

    /// Returns all that waits.
    pub(crate) fn total(&self) -> Usage {
        self.requests.total()
    }

    fn take_waiter(&mut self, ticket: Ticket) -> Option<W> {
        self.waiters.remove(&ticket).map(|waiter| waiter.waiter)
    }
}

#[cfg(test)]
mod tests;
