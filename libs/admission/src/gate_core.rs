//! The requests of one pool that wait at a replica, and what ends their wait: grants of the owner, grants of the replica itself
//! while it hears no owner, and time.

use signalbox_flow::{
    Backlog, DropReason, FlowKey, FlowSettings, PoolPhase, Saturation, Ticket, Usage, WaitingRequest,
};

use crate::local_grants::LocalGrants;
use crate::owner_news::OwnerNews;
use crate::owner_silence::{OWNER_SILENCE_MS, highest_waiting};
use crate::queue::Queue;
use crate::retry_after::retry_after_s;

/// How often [`GateCore::tick`] is due while any requests wait, in milliseconds.
pub const TICK_MS: u64 = 5;

/// A request that has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its flow.
    pub flow: FlowKey,
    /// Uncached prompt tokens and expected output tokens.
    pub tokens: u64,
    /// Bytes of the body that is kept for it.
    pub bytes: u64,
    /// The client's goal for the time to the first token, in milliseconds.
    pub ttft_goal_ms: Option<u32>,
    /// What waits at other replicas, in the request's band and in all.
    pub elsewhere: (Usage, Usage),
    /// How long the owner has been silent, in milliseconds.
    pub owner_silence_ms: u64,
}

/// What a request waited behind when it arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// The highest priority of which requests waited at any replica; `None` if none waited.
    pub priority: Option<i32>,
    /// Requests that waited at this replica.
    pub requests: u64,
}

/// The waiters of the requests whose wait has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<W> {
    /// Those that may go, in order.
    pub granted: Vec<W>,
    /// Those that leave without an endpoint, and why.
    pub dropped: Vec<(W, DropReason)>,
}

/// The requests of one pool that wait at a replica. Each leaves exactly once, and only then its waiter `W` is handed back.
#[derive(Debug)]
pub struct GateCore<W> {
    queue: Queue<W>,
    /// The highest priority of which requests wait at other replicas, as the owner said.
    highest_elsewhere: Option<i32>,
    /// Requests per second that go from the queues of all replicas.
    requests_per_second: f64,
    /// This replica's place among those that share the pool, from 0 to less than 1.
    turn: f64,
    /// Grants of this replica while the owner is silent.
    local: Option<LocalGrants>,
    /// Whether the owner knows this replica's flow control, and when it last did or needed not.
    owner_knows: bool,
    known_at_ms: u64,
    is_closed: bool,
}

/// The gate of a pool without endpoints.
impl<W> Default for GateCore<W> {
    fn default() -> Self {
        let mut queue = Queue::default();
        queue.set_phase(0, PoolPhase::Empty);
        Self {
            queue,
            highest_elsewhere: None,
            requests_per_second: 0.0,
            turn: 0.0,
            local: None,
            owner_knows: false,
            known_at_ms: 0,
            is_closed: false,
        }
    }
}

impl<W> GateCore<W> {
    /// Lets a request wait. `waiter` is returned when its wait has ended.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub fn enqueue(
        &mut self,
        settings: &FlowSettings,
        now_ms: u64,
        arrival: Arrival,
        waiter: W,
    ) -> Result<(Ticket, Behind), DropReason> {
        if self.is_closed {
            return Err(DropReason::ShuttingDown);
        }
        let Arrival { flow, tokens, bytes, ttft_goal_ms, elsewhere, owner_silence_ms } = arrival;
        let behind = self.behind(owner_silence_ms);
        if behind.requests == 0 && self.local.is_none() {
            // There was nothing to know.
            self.known_at_ms = now_ms;
        }
        let request = WaitingRequest { flow, tokens, bytes, arrived_ms: now_ms, ttft_goal_ms };
        let ticket = self.queue.enqueue(settings, request, elsewhere, waiter)?;
        Ok((ticket, behind))
    }

    /// Returns what a request that arrives now would wait behind.
    ///
    /// # Errors
    /// Why it could not wait.
    pub fn expect(&self, settings: &FlowSettings, arrival: &Arrival) -> Result<Behind, DropReason> {
        if self.is_closed {
            return Err(DropReason::ShuttingDown);
        }
        let more = Usage { requests: 1, bytes: arrival.bytes, tokens: arrival.tokens };
        self.queue.check(settings, &arrival.flow, more, arrival.elsewhere)?;
        Ok(self.behind(arrival.owner_silence_ms))
    }

    fn behind(&self, owner_silence_ms: u64) -> Behind {
        let priority = self.highest_waiting(owner_silence_ms);
        Behind { priority, requests: self.queue.total().requests }
    }

    /// Gives up the place of a request that still waits, or has been booked or refused since it was granted. Returns whether it
    /// did either.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.queue.remove(ticket)
    }

    /// Applies what a new view says.
    pub fn apply(&mut self, now_ms: u64, news: &OwnerNews) -> Ended<W> {
        self.requests_per_second = news.requests_per_second;
        self.turn = news.turn;
        self.highest_elsewhere = news.highest_elsewhere;
        self.owner_knows = news.knows_replica;
        self.queue.set_phase(now_ms, news.phase);
        let grants = news.grants.iter();
        let granted = grants.flat_map(|(flow, up_to)| self.queue.grant(flow, *up_to)).collect();
        Ended { granted, dropped: Vec::new() }
    }

    /// Returns whether the owner was not heard for so long, or does not know this replica's flow control for so long, that the
    /// replica has to grant by itself.
    pub fn is_owner_silent(&mut self, now_ms: u64, owner_silence_ms: u64) -> bool {
        if self.owner_knows {
            self.known_at_ms = now_ms;
        }
        owner_silence_ms >= OWNER_SILENCE_MS || now_ms.saturating_sub(self.known_at_ms) >= OWNER_SILENCE_MS
    }

    /// While the owner is silent, grants to what waits here: in this replica's share of the pool, whose saturation is `local`,
    /// if it has endpoints. Then drops what has waited for too long: first, so that what has waited for the first endpoint gets
    /// it.
    pub fn tick(
        &mut self,
        settings: &FlowSettings,
        now_ms: u64,
        is_owner_silent: bool,
        local: Option<Saturation>,
    ) -> Ended<W> {
        let mut granted = Vec::new();
        if !is_owner_silent {
            self.local = None;
        } else if let Some(saturation) = local {
            // Forgets flows that are gone: there may be no owner to whom the uplink reports them.
            let backlogs = self.queue.take_backlogs(now_ms);
            let local = self.local.get_or_insert_with(|| LocalGrants::new(self.turn));
            let grants = local.grant(settings, &saturation, &backlogs, now_ms);
            granted.extend(grants.iter().flat_map(|grant| self.queue.grant(&grant.flow, grant.up_to)));
        }
        Ended { granted, dropped: self.queue.expire(settings, now_ms) }
    }

    /// Drops all that waits and refuses all that will come: the pool is served no longer.
    pub fn close(&mut self) -> Ended<W> {
        self.is_closed = true;
        Ended { granted: Vec::new(), dropped: self.queue.drain() }
    }

    /// Returns all backlogs, to be reported. Those of flows of which nothing waits any more are returned once.
    pub fn take_backlogs(&mut self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        self.queue.take_backlogs(now_ms)
    }

    /// Returns all backlogs of which something waits.
    pub fn backlogs(&self, now_ms: u64) -> Vec<(FlowKey, Backlog)> {
        let mut backlogs = self.queue.backlogs(now_ms);
        backlogs.retain(|(_, backlog)| backlog.usage.requests > 0);
        backlogs
    }

    /// Returns whether any requests wait.
    pub fn waits(&self) -> bool {
        self.queue.total().requests > 0
    }

    /// Returns whether this replica grants by itself, because the owner is silent.
    pub fn grants_locally(&self) -> bool {
        self.local.is_some()
    }

    /// Returns the highest priority of which requests wait for a grant, at any replica.
    pub fn highest_waiting(&self, owner_silence_ms: u64) -> Option<i32> {
        highest_waiting(self.highest_here(), self.highest_elsewhere, owner_silence_ms)
    }

    /// Returns the highest priority of which requests wait here; `None` if none waits.
    pub(crate) fn highest_here(&self) -> Option<i32> {
        self.queue.highest_waiting()
    }

    /// Returns the highest priority of which requests wait at other replicas, as the owner said last.
    pub(crate) fn highest_elsewhere(&self) -> Option<i32> {
        self.highest_elsewhere
    }

    /// Returns after how many seconds a request of `priority` that is refused should come again: `default_s` if nobody knows.
    /// `elsewhere` is what waits at other replicas.
    pub fn retry_after_s(&self, priority: i32, elsewhere: Usage, default_s: u32) -> u32 {
        let ahead = self.queue.waiting_from(priority) + elsewhere;
        // One that may not wait is refused although nothing is ahead of it.
        let least_s = if priority < 0 { default_s } else { 0 };
        retry_after_s(ahead, self.requests_per_second, default_s).max(least_s)
    }
}
