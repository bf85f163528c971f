//! Fuzzes flow control: replicas with their queues and owners that grant, in any interleaving of arrivals, cancellations, grants that
//! are lost, late or sent again, changes of owner, and replicas that restart.

use std::collections::BTreeMap;

use signalbox_flow::{
    BandSettings, Caps, FlowKey, FlowSettings, Grant, Granter, Saturation, Ticket, Usage, WaitingRequest,
    WaitingRequests,
};
use signalbox_types::Origin;

const REPLICAS: usize = 3;
const FLOWS: [(i32, &str); 4] = [(10, "a"), (0, "a"), (0, "b"), (-10, "a")];

/// How many requests of one priority may wait at one replica.
const MAX_WAITING: u64 = 8;

/// Takes two bytes for each step: what happens, and to what. Each request leaves once; no more requests go than places were granted;
/// and all that waits at the end goes when there is room, although the answer to the last grants is lost.
pub(crate) fn run(data: &[u8]) {
    let mut world = World::new();
    for (step, with) in data.chunks_exact(2).map(|bytes| (bytes[0], bytes[1])) {
        world.step(step, usize::from(with));
        world.check();
    }
    world.finish();
}

struct Replica {
    origin: Origin,
    queue: WaitingRequests,
    waiting: BTreeMap<Ticket, Usage>,
}

struct World {
    settings: FlowSettings,
    now_ms: u64,
    owner: Granter,
    replicas: Vec<Replica>,
    /// Grants that were sent and may arrive at any time, or never.
    sent: Vec<Grant>,
    /// How many requests there was room for, and how many went.
    room: u64,
    gone: u64,
}

fn restarted(number: u64) -> Replica {
    Replica { origin: Origin(number), queue: WaitingRequests::default(), waiting: BTreeMap::new() }
}

impl World {
    fn new() -> Self {
        let caps = Caps { requests: MAX_WAITING, ..Caps::NONE };
        let band = BandSettings { caps, ..BandSettings::default() };
        let settings = FlowSettings {
            default_band: band,
            default_negative_band: band,
            sheddable_wait_ms: 500,
            request_ttl_ms: Some(2_000),
            ..FlowSettings::default()
        };
        let replicas = (0..REPLICAS as u64).map(restarted).collect();
        Self { settings, now_ms: 0, owner: Granter::default(), replicas, sent: Vec::new(), room: 0, gone: 0 }
    }

    fn step(&mut self, step: u8, with: usize) {
        let at = with % REPLICAS;
        match step % 9 {
            0 | 1 => self.arrive(at, with / REPLICAS),
            2 => self.cancel(at, with / REPLICAS),
            3 => self.report(at),
            4 => self.grant(with as u64 % 8),
            // A grant arrives, and may do so again.
            5 => {
                if let Some(grant) = self.sent.get(with % self.sent.len().max(1)).cloned() {
                    self.receive(grant);
                }
            }
            6 => self.publish(at),
            // Another owner knows only what is reported from now on.
            7 if with < 128 => self.owner = Granter::default(),
            7 => self.restart(at),
            _ => self.pass(with as u64 * 10),
        }
    }

    fn arrive(&mut self, at: usize, with: usize) {
        let (priority, id) = FLOWS[with % FLOWS.len()];
        let (tokens, bytes) = (1 + with as u64, 10 * with as u64);
        let flow = FlowKey::new(priority, id);
        let request = WaitingRequest { flow, tokens, bytes, arrived_ms: self.now_ms, ttft_goal_ms: None };
        let replica = &mut self.replicas[at];
        let before = replica.queue.total();
        match replica.queue.enqueue(&self.settings, request, Default::default()) {
            Ok(ticket) => {
                let usage = Usage { requests: 1, bytes, tokens };
                assert!(replica.waiting.insert(ticket, usage).is_none(), "two requests have one ticket");
            }
            Err(_) => assert_eq!(before, replica.queue.total(), "a refused request is counted"),
        }
    }

    fn cancel(&mut self, at: usize, with: usize) {
        let replica = &mut self.replicas[at];
        let Some(ticket) = replica.waiting.keys().nth(with).copied() else { return };
        assert!(replica.queue.cancel(ticket), "a request that waits cannot leave");
        assert!(!replica.queue.cancel(ticket), "a request leaves twice");
        replica.waiting.remove(&ticket);
    }

    /// Reports what waits. Flows of which nothing waits are forgotten after that.
    fn report(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        for (flow, backlog) in replica.queue.backlogs(self.now_ms) {
            self.owner.report(self.now_ms, replica.origin, flow, backlog);
            if backlog.usage.requests == 0 {
                self.owner.forget(replica.origin, flow);
            }
        }
        replica.queue.forget_empty();
    }

    /// Grants places to as many requests as there is room for.
    fn grant(&mut self, requests: u64) {
        let per_request = 1.0 / f64::from(1_u32 << 20);
        let value = 1.0 - requests as f64 * per_request;
        let room = Saturation {
            value,
            by_prompts: value,
            per_request,
            per_token: 0.0,
            per_request_limit: f64::INFINITY,
        };
        self.sent.extend(self.owner.grant(&self.settings, &room, self.now_ms));
        self.room += requests;
    }

    fn receive(&mut self, Grant { flow, origin, up_to }: Grant) {
        let Some(replica) = self.replicas.iter_mut().find(|of| of.origin == origin) else { return };
        for ticket in replica.queue.grant(&flow, up_to) {
            assert!(replica.waiting.remove(&ticket).is_some(), "a request goes twice");
            self.gone += 1;
        }
    }

    fn publish(&mut self, at: usize) {
        let origin = self.replicas[at].origin;
        let grants: Vec<_> = self.owner.outstanding_grants().filter(|of| of.origin == origin).collect();
        grants.into_iter().for_each(|grant| self.receive(grant));
    }

    /// The streams of a replica end with it. The one in its place is another origin.
    fn restart(&mut self, at: usize) {
        let gone = self.replicas[at].origin;
        self.owner.expire(gone);
        self.replicas[at] = restarted(gone.0 + REPLICAS as u64);
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for replica in &mut self.replicas {
            for dropped in replica.queue.expire(&self.settings, self.now_ms) {
                assert!(replica.waiting.remove(&dropped.ticket).is_some(), "a request leaves twice");
            }
        }
    }

    fn check(&self) {
        assert!(self.gone <= self.room, "{} requests go, but there was room for {}", self.gone, self.room);
        for replica in &self.replicas {
            let wanted = replica.waiting.values().fold(Usage::default(), |sum, usage| sum + *usage);
            assert_eq!(wanted, replica.queue.total(), "what waits does not add up");
        }
    }

    fn finish(mut self) {
        (0..REPLICAS).for_each(|at| self.report(at));
        self.grant(REPLICAS as u64 * FLOWS.len() as u64 * MAX_WAITING);
        (0..REPLICAS).for_each(|at| self.publish(at));
        let left: usize = self.replicas.iter().map(|replica| replica.waiting.len()).sum();
        assert_eq!(0, left, "requests wait although there is room");
    }
}

/// Returns sequences of steps: requests that go, a lost grant and a new owner, and a replica that restarts.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 0, 0, 1, 0, 5, 3, 0, 3, 1, 4, 2, 5, 0, 5, 1, 6, 0, 3, 0, 4, 7],
        vec![0, 3, 0, 6, 3, 0, 4, 1, 7, 0, 3, 0, 4, 3, 5, 0, 5, 0, 6, 0, 2, 0, 8, 200],
        vec![0, 9, 0, 10, 0, 11, 3, 0, 3, 1, 4, 4, 7, 200, 5, 0, 0, 2, 3, 2, 8, 60, 4, 1, 6, 2],
    ]
}
